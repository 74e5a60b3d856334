// Package records tests through the front door what becomes of entries that are bad, odd, foreign or too many: the whole
// manager, on a real API server and a real NATS server, seen through the Kubernetes API.
package records

import (
	"context"
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/manager"
	"github.com/rollcall-dev/rollcall/internal/natstest"
	"github.com/rollcall-dev/rollcall/internal/testenv"
)

var env *testenv.Env

func TestMain(m *testing.M) {
	flag.Parse()
	log := logr.Discard()
	if testing.Verbose() {
		log = zap.New()
	}
	ctrl.SetLogger(log)
	testenv.Main(m, &env)
}

// patience is how long anything may take that is to happen at once; it is generous for the sake of a loaded machine.
const patience = 20 * time.Second

// cluster is the name of this cluster.
const cluster = "here"

// rig is a namespace of its own, a NATS server of its own with one bucket, a NodeRegistry of that bucket, and the managers
// that the test starts.
type rig struct {
	*testing.T
	api       client.Client
	namespace string
	js        jetstream.JetStream
	kv        jetstream.KeyValue
	registry  client.ObjectKey
}

// newRig starts everything but the manager. Every node of the registry is selected by the Service web.
func newRig(t *testing.T, bucket jetstream.KeyValueConfig, change func(*rollcallv1alpha1.NodeRegistrySpec)) *rig {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, rollcallv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	api, err := client.New(env.Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	nats := natstest.Start(t)
	r := &rig{T: t, api: api, namespace: env.Namespace(t)}
	r.registry = client.ObjectKey{Namespace: r.namespace, Name: "fleet"}
	if r.js, err = jetstream.New(nats.Connect(t)); err != nil {
		t.Fatal(err)
	}
	if r.kv, err = r.js.CreateKeyValue(t.Context(), bucket); err != nil {
		t.Fatal(err)
	}
	registry := &rollcallv1alpha1.NodeRegistry{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: r.registry.Name},
		Spec: rollcallv1alpha1.NodeRegistrySpec{
			Connection: rollcallv1alpha1.Connection{Servers: []string{nats.URL()}},
			Bucket:     rollcallv1alpha1.Bucket{Name: bucket.Bucket},
		},
	}
	change(&registry.Spec)
	r.create(registry)
	r.create(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: "web", Annotations: map[string]string{
			rollcallv1alpha1.AnnotationNodeSelector: "rollcall.dev/registry=fleet",
		}},
		Spec: corev1.ServiceSpec{
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}, IPFamilyPolicy: ptr.To(corev1.IPFamilyPolicyPreferDualStack),
			ClusterIP: corev1.ClusterIPNone,
			Ports:     []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(80)}},
		},
	})
	return r
}

func ordinary() jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{Bucket: "catga_nodes", TTL: time.Hour, History: 5, LimitMarkerTTL: time.Hour}
}

func (r *rig) create(o client.Object) {
	r.Helper()
	if err := r.api.Create(r.Context(), o); err != nil {
		r.Fatal(err)
	}
}

// start starts a manager, as main.go would, and returns what stops it. It is stopped when the test ends at the latest.
func (r *rig) start() (stop func()) {
	r.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	m, err := manager.New(ctx, env.Config, manager.Options{
		Namespaces: []string{r.namespace}, ClusterName: cluster, MetricsAddress: "0", ProbeAddress: "0",
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		cancel()
		r.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- m.Start(ctx) }()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.Errorf("the manager ended: %v", err)
		}
		done <- nil
	}
	r.Cleanup(stop)
	return stop
}

// edit changes the spec of the NodeRegistry.
func (r *rig) edit(change func(*rollcallv1alpha1.NodeRegistrySpec)) {
	r.Helper()
	registry := &rollcallv1alpha1.NodeRegistry{}
	if err := r.api.Get(r.Context(), r.registry, registry); err != nil {
		r.Fatal(err)
	}
	before := registry.DeepCopy()
	change(&registry.Spec)
	if err := r.api.Patch(r.Context(), registry, client.MergeFrom(before)); err != nil {
		r.Fatal(err)
	}
}

// put writes an entry. It goes past the client's check of keys, as a client in another language may.
func (r *rig) put(key, value string) {
	r.Helper()
	if _, err := r.js.Publish(r.Context(), "$KV."+r.kv.Bucket()+"."+key, []byte(value)); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) remove(key string) {
	r.Helper()
	if err := r.kv.Delete(r.Context(), key); err != nil {
		r.Fatal(err)
	}
}

// within polls until the condition holds.
func (r *rig) within(limit time.Duration, what string, holds func() bool) {
	r.Helper()
	began := time.Now()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		if time.Since(began) > limit {
			r.Fatalf("waited %s for %s", limit, what)
		}
		<-ticker.C
	}
}

// nodes returns the DiscoveredNodes by key.
func (r *rig) nodes() map[string]rollcallv1alpha1.DiscoveredNode {
	r.Helper()
	list := &rollcallv1alpha1.DiscoveredNodeList{}
	if err := r.api.List(r.Context(), list, client.InNamespace(r.namespace)); err != nil {
		r.Fatal(err)
	}
	nodes := map[string]rollcallv1alpha1.DiscoveredNode{}
	for _, dn := range list.Items {
		nodes[dn.Spec.Key] = dn
	}
	return nodes
}

// says returns reason and message of a node's condition Ready; empty if there is no such node.
func (r *rig) says(key string) (reason, message string) {
	r.Helper()
	dn := r.nodes()[key]
	if ready := meta.FindStatusCondition(dn.Status.Conditions, rollcallv1alpha1.ConditionReady); ready != nil {
		return ready.Reason, ready.Message
	}
	return "", ""
}

// endpoints returns the addresses of the Service's ready endpoints, sorted.
func (r *rig) endpoints() []string {
	r.Helper()
	list := &discoveryv1.EndpointSliceList{}
	if err := r.api.List(r.Context(), list, client.InNamespace(r.namespace), client.MatchingLabels{discoveryv1.LabelServiceName: "web"}); err != nil {
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

func (r *rig) serves(addresses ...string) func() bool {
	slices.Sort(addresses)
	return func() bool { return slices.Equal(r.endpoints(), addresses) }
}

// condition returns a condition of the NodeRegistry as "status/reason", and its message.
func (r *rig) condition(kind string) (state, message string) {
	r.Helper()
	registry := &rollcallv1alpha1.NodeRegistry{}
	if err := r.api.Get(r.Context(), r.registry, registry); err != nil {
		r.Fatal(err)
	}
	c := meta.FindStatusCondition(registry.Status.Conditions, kind)
	if c == nil {
		return "", ""
	}
	return string(c.Status) + "/" + c.Reason, c.Message
}

func (r *rig) is(kind, state string) func() bool {
	return func() bool {
		got, _ := r.condition(kind)
		return got == state
	}
}
