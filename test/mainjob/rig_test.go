// Package mainjob tests the main job through the front door: the whole manager, on a real API server and a real NATS
// server, seen through the Kubernetes API. The fleet writes JSON to the bucket, as a program in any language would.
package mainjob

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/manager"
	"github.com/rollcall-dev/rollcall/internal/natstest"
	"github.com/rollcall-dev/rollcall/internal/testenv"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

var env *testenv.Env

func TestMain(m *testing.M) { testrig.Main(m, &env) }

// patience is how long anything may take that is to happen at once; it is generous for the sake of a loaded machine.
const patience = time.Minute

// allowance is how much later than promised anything may be here: other tests share the machine.
const allowance = 2 * time.Second

// rig is a Rig with a NATS server of its own.
type rig struct {
	*testrig.Rig
	nats *natstest.Server
	kv   jetstream.KeyValue
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return &rig{Rig: testrig.New(t, env), nats: natstest.Start(t)}
}

// bucket creates the bucket as a fleet without Rollcall would.
func (r *rig) bucket(ttl time.Duration) {
	r.Helper()
	js, err := jetstream.New(r.nats.Connect(r.T))
	if err != nil {
		r.Fatal(err)
	}
	r.kv, err = js.CreateKeyValue(r.Context(), jetstream.KeyValueConfig{Bucket: "catga_nodes", TTL: ttl, History: 5, LimitMarkerTTL: ttl})
	if err != nil {
		r.Fatal(err)
	}
}

// registry creates the NodeRegistry catga.
func (r *rig) registry(change ...func(*rollcallv1alpha1.NodeRegistrySpec)) *rollcallv1alpha1.NodeRegistry {
	r.Helper()
	registry := &rollcallv1alpha1.NodeRegistry{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "catga"},
		Spec: rollcallv1alpha1.NodeRegistrySpec{
			Connection: rollcallv1alpha1.Connection{Servers: []string{r.nats.URL()}},
			Labels:     map[string]string{"role": "role"},
		},
	}
	for _, f := range change {
		f(&registry.Spec)
	}
	r.Create(registry)
	return registry
}

// service creates a Service that selects all nodes of catga with the role web.
func (r *rig) service(name string, change ...func(*corev1.Service)) *corev1.Service {
	r.Helper()
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: name, Annotations: map[string]string{
			rollcallv1alpha1.AnnotationNodeSelector: "rollcall.dev/registry=catga,role=web",
		}},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}}},
	}
	for _, f := range change {
		f(service)
	}
	r.Create(service)
	return service
}

func nodeID(n int) string { return fmt.Sprintf("web-%d", n) }

func address(n int) string { return fmt.Sprintf("10.1.%d.%d", n/250, n%250+1) }

// startReady starts a manager and waits until the bucket has been listed: a TTL that is shorter than a start is over before.
func (r *rig) startReady(change ...func(*rest.Config, *manager.Options)) *testrig.Manager {
	r.Helper()
	m := r.Start(change...)
	r.Within(patience, "the registry to be Ready", func() bool { return r.condition("Ready") == "True/Ready" })
	return m
}

// beat registers a node, or sends its heartbeat.
func (r *rig) beat(n int) {
	r.Helper()
	value, err := json.Marshal(map[string]any{
		"NodeId": nodeID(n), "Endpoint": "http://" + address(n) + ":8080", "Load": float64(time.Now().UnixMicro()%1000) / 1000,
		"LastSeen": time.Now(), "Metadata": map[string]string{"role": "web"},
	})
	if err != nil {
		r.Fatal(err)
	}
	r.insist("a heartbeat", func() error {
		_, err := r.kv.Put(r.Context(), "node."+nodeID(n), value)
		return err
	})
}

// insist tries a write until it is acknowledged: after an outage the connection needs a moment, and a machine outside would try again
// as well.
func (r *rig) insist(what string, write func() error) {
	r.Helper()
	r.Within(patience, what+" to be acknowledged", func() bool {
		err := write()
		if err != nil {
			r.Logf("%s: %v", what, err)
		}
		return err == nil
	})
}

func (r *rig) beatAll(from, to int) {
	r.Helper()
	for n := from; n < to; n++ {
		r.beat(n)
	}
}

func (r *rig) unregister(n int) {
	r.Helper()
	r.insist("an unregistration", func() error { return r.kv.Delete(r.Context(), "node."+nodeID(n)) })
}

// ready returns the addresses of the ready endpoints of a Service, sorted.
func (r *rig) ready(service string) []string {
	r.Helper()
	list := &discoveryv1.EndpointSliceList{}
	if err := r.API.List(r.Context(), list, client.InNamespace(r.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: service}); err != nil {
		r.Fatal(err)
	}
	var addresses []string
	for _, slice := range list.Items {
		for _, endpoint := range slice.Endpoints {
			if ptr.Deref(endpoint.Conditions.Ready, true) {
				addresses = append(addresses, endpoint.Addresses...)
			}
		}
	}
	slices.Sort(addresses)
	return addresses
}

// serves says whether the ready endpoints of the Service web are exactly those of the nodes from..to-1.
func (r *rig) serves(from, to int) func() bool {
	var want []string
	for n := from; n < to; n++ {
		want = append(want, address(n))
	}
	slices.Sort(want)
	return func() bool { return slices.Equal(r.ready("web"), want) }
}

// node returns the DiscoveredNode of a node, nil if there is none.
func (r *rig) node(n int) *rollcallv1alpha1.DiscoveredNode {
	r.Helper()
	dn := &rollcallv1alpha1.DiscoveredNode{}
	err := r.API.Get(r.Context(), client.ObjectKey{Namespace: r.Namespace, Name: "catga." + nodeID(n)}, dn)
	if client.IgnoreNotFound(err) != nil {
		r.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return dn
}

// phase returns a node's phase, "" if it has no DiscoveredNode.
func (r *rig) phase(n int) rollcallv1alpha1.NodePhase {
	if dn := r.node(n); dn != nil {
		return dn.Status.Phase
	}
	return ""
}

func (r *rig) nodes() []rollcallv1alpha1.DiscoveredNode {
	r.Helper()
	list := &rollcallv1alpha1.DiscoveredNodeList{}
	if err := r.API.List(r.Context(), list, client.InNamespace(r.Namespace)); err != nil {
		r.Fatal(err)
	}
	return list.Items
}

// condition returns a condition of the NodeRegistry catga as "status/reason".
func (r *rig) condition(kind string) string {
	r.Helper()
	state, _ := r.Condition("catga", kind)
	return state
}

func seconds(n int) *metav1.Duration {
	return &metav1.Duration{Duration: time.Duration(n) * time.Second}
}
