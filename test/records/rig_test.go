// Package records tests through the front door what becomes of entries that are bad, odd, foreign or too many: the whole
// manager, on a real API server and a real NATS server, seen through the Kubernetes API.
package records

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
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
const patience = 20 * time.Second

// cluster is the name of this cluster.
const cluster = "here"

// rig is a namespace of its own, a NATS server of its own with one bucket, a NodeRegistry of that bucket, and the managers
// that the test starts.
type rig struct {
	*testrig.Rig
	js       jetstream.JetStream
	kv       jetstream.KeyValue
	registry client.ObjectKey
}

// newRig starts everything but the manager. Every node of the registry is selected by the Service web.
func newRig(t *testing.T, bucket jetstream.KeyValueConfig, change func(*rollcallv1alpha1.NodeRegistrySpec)) *rig {
	t.Helper()
	nats := natstest.Start(t)
	r := &rig{Rig: testrig.New(t, env)}
	var err error
	r.registry = client.ObjectKey{Namespace: r.Namespace, Name: "fleet"}
	if r.js, err = jetstream.New(nats.Connect(t)); err != nil {
		t.Fatal(err)
	}
	if r.kv, err = r.js.CreateKeyValue(t.Context(), bucket); err != nil {
		t.Fatal(err)
	}
	registry := &rollcallv1alpha1.NodeRegistry{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: r.registry.Name},
		Spec: rollcallv1alpha1.NodeRegistrySpec{
			Connection: rollcallv1alpha1.Connection{Servers: []string{nats.URL()}},
			Bucket:     rollcallv1alpha1.Bucket{Name: bucket.Bucket},
		},
	}
	change(&registry.Spec)
	r.Create(registry)
	r.Create(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "web", Annotations: map[string]string{
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

// start starts a manager that knows its cluster's name, and returns what stops it.
func (r *rig) start() (stop func()) {
	r.Helper()
	return r.Start(func(_ *rest.Config, o *manager.Options) { o.ClusterName = cluster }).Stop
}

// edit changes the spec of the NodeRegistry.
func (r *rig) edit(change func(*rollcallv1alpha1.NodeRegistrySpec)) {
	r.Helper()
	registry := &rollcallv1alpha1.NodeRegistry{}
	if err := r.API.Get(r.Context(), r.registry, registry); err != nil {
		r.Fatal(err)
	}
	before := registry.DeepCopy()
	change(&registry.Spec)
	if err := r.API.Patch(r.Context(), registry, client.MergeFrom(before)); err != nil {
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

// nodes returns the DiscoveredNodes by key.
func (r *rig) nodes() map[string]rollcallv1alpha1.DiscoveredNode {
	r.Helper()
	list := &rollcallv1alpha1.DiscoveredNodeList{}
	if err := r.API.List(r.Context(), list, client.InNamespace(r.Namespace)); err != nil {
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
	if err := r.API.List(r.Context(), list, client.InNamespace(r.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: "web"}); err != nil {
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
	return r.Condition(r.registry.Name, kind)
}

func (r *rig) is(kind, state string) func() bool {
	return func() bool {
		got, _ := r.condition(kind)
		return got == state
	}
}
