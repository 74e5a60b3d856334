package compat

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/natstest"
	"github.com/rollcall-dev/rollcall/internal/testenv"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

var env *testenv.Env

func TestMain(m *testing.M) { testrig.Main(m, &env) }

// patience is how long anything may take; it is generous for the sake of a loaded machine.
const patience = time.Minute

// The fleet that every consumer looks at. Each node is in a zone.
const (
	webA     = "web-a"    // serves on 10.1.0.1, zone a
	webB     = "web-b"    // serves on 10.1.0.2, zone b
	leaving  = "leaving"  // drains on 10.1.0.3, zone a
	cordoned = "cordoned" // was cordoned by a person; 10.1.0.4, zone b
)

// rig is a Rig with a manager that shows the fleet.
type rig struct {
	*testrig.Rig
	manager *testrig.Manager
	kv      jetstream.KeyValue
}

// newRig returns a rig with a manager and the fleet.
func newRig(t *testing.T) *rig {
	t.Helper()
	server := natstest.Start(t)
	js, err := jetstream.New(server.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Rig: testrig.New(t, env)}
	if r.kv, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "catga_nodes", TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	r.Create(&rollcallv1alpha1.NodeRegistry{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "catga"},
		Spec: rollcallv1alpha1.NodeRegistrySpec{
			Connection: rollcallv1alpha1.Connection{Servers: []string{server.URL()}},
			Labels:     map[string]string{"id": "id"},
		},
	})
	r.put(webA, 1, "a", false)
	r.put(webB, 2, "b", false)
	r.put(leaving, 3, "a", true)
	r.put(cordoned, 4, "b", false)
	r.manager = r.Start()
	r.cordon()
	return r
}

// put registers a node on the address 10.1.0.n, with the ports http and metrics.
func (r *rig) put(id string, n int, zone string, draining bool) {
	r.Helper()
	value, err := json.Marshal(map[string]any{
		"NodeId": id, "Addresses": []string{fmt.Sprintf("10.1.0.%d", n)}, "Zone": zone, "Draining": draining,
		"Ports":    []map[string]any{{"Name": "http", "Port": 8080}, {"Name": "metrics", "Port": 9100}},
		"Metadata": map[string]string{"id": id},
	})
	if err != nil {
		r.Fatal(err)
	}
	if _, err := r.kv.Put(r.Context(), "node."+id, value); err != nil {
		r.Fatal(err)
	}
}

// cordon cordons the node of that name, once it is there.
func (r *rig) cordon() {
	r.Helper()
	dn := &rollcallv1alpha1.DiscoveredNode{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "catga." + cordoned}}
	r.Within(patience, "the node that is cordoned", func() bool {
		return r.API.Patch(r.Context(), dn, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"cordoned":true}}`))) == nil
	})
}

// service creates a Service of the fleet, and waits until its slices show it.
func (r *rig) service(name string, change ...func(*corev1.Service)) *corev1.Service {
	r.Helper()
	service := r.createService(name, change...)
	r.shows(name, "10.1.0.1 ready", "10.1.0.2 ready", "10.1.0.3 draining", "10.1.0.4 not ready")
	return service
}

func (r *rig) createService(name string, change ...func(*corev1.Service)) *corev1.Service {
	r.Helper()
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: name, Annotations: map[string]string{
			rollcallv1alpha1.AnnotationNodeSelector: "rollcall.dev/registry=catga",
		}},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "web", Port: 80, TargetPort: intstr.FromString("http")}}},
	}
	for _, f := range change {
		f(service)
	}
	r.Create(service)
	return service
}

func headless(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone }

func publishNotReady(s *corev1.Service) { s.Spec.PublishNotReadyAddresses = true }

func targetRef(s *corev1.Service) { s.Annotations["rollcall.dev/target-ref"] = "DiscoveredNode" }

// only lets a Service select the node of that ID alone.
func only(id string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Annotations[rollcallv1alpha1.AnnotationNodeSelector] = "id=" + id }
}

// shows waits until the slices of a Service show what is wanted, and nothing else.
func (r *rig) shows(service string, want ...string) {
	r.Helper()
	var got []string
	r.Cleanup(func() {
		if r.Failed() {
			r.Logf("the slices of %s showed %q last", service, got)
		}
	})
	r.Within(patience, "the slices of "+service, func() bool {
		got = nil
		for _, slice := range r.slices(service) {
			for _, endpoint := range slice.Endpoints {
				got = append(got, endpoint.Addresses[0]+" "+state(endpoint.Conditions))
			}
		}
		slices.Sort(got)
		return slices.Equal(got, want)
	})
}

func state(c discoveryv1.EndpointConditions) string {
	switch {
	case ptr.Deref(c.Terminating, false):
		return "draining"
	case ptr.Deref(c.Ready, true):
		return "ready"
	}
	return "not ready"
}

// slices returns the slices of a Service, whoever wrote them.
func (r *rig) slices(service string) []discoveryv1.EndpointSlice {
	r.Helper()
	list := &discoveryv1.EndpointSliceList{}
	if err := r.API.List(r.Context(), list, client.InNamespace(r.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: service}); err != nil {
		r.Fatal(err)
	}
	return list.Items
}

// kubeconfig returns the path of a kubeconfig for the API server.
func (r *rig) kubeconfig() string {
	r.Helper()
	path := filepath.Join(r.TempDir(), "kubeconfig")
	if err := env.WriteKubeconfig(path); err != nil {
		r.Fatal(err)
	}
	return path
}
