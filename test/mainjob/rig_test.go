// Package mainjob tests the main job through the front door: the whole manager, on a real API server and a real NATS
// server, seen through the Kubernetes API. The fleet writes JSON to the bucket, as a program in any language would.
package mainjob

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
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

// rig is a namespace of its own, a NATS server of its own, and the managers that the test starts.
type rig struct {
	*testing.T
	api       client.Client
	namespace string
	nats      *natstest.Server
	kv        jetstream.KeyValue
}

func newRig(t *testing.T) *rig {
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
	return &rig{T: t, api: api, namespace: env.Namespace(t), nats: natstest.Start(t)}
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

// run is a running manager.
type run struct {
	*writes
	cancel context.CancelFunc
	done   chan error
}

// start starts a manager, as main.go would, that works in the rig's namespace alone. It is stopped when the test ends.
func (r *rig) start(change ...func(*rest.Config, *manager.Options)) *run {
	r.Helper()
	counted := &writes{}
	conf := rest.CopyConfig(env.Config)
	conf.Wrap(counted.wrap)
	options := manager.Options{
		Namespaces: []string{r.namespace}, MetricsAddress: "0", ProbeAddress: "0",
		Controller: config.Controller{SkipNameValidation: new(true)},
	}
	for _, f := range change {
		f(conf, &options)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m, err := manager.New(ctx, conf, options)
	if err != nil {
		cancel()
		r.Fatal(err)
	}
	running := &run{writes: counted, cancel: cancel, done: make(chan error, 1)}
	go func() { running.done <- m.Start(ctx) }()
	r.Cleanup(func() { running.stop(r) })
	return running
}

// stop ends the manager and waits until it has ended.
func (m *run) stop(r *rig) {
	r.Helper()
	m.cancel()
	if err := <-m.done; err != nil {
		r.Errorf("the manager ended: %v", err)
	}
	m.done <- nil
}

// writes counts the requests that change something, but for Events and Leases.
type writes struct {
	mu  sync.Mutex
	all []string
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (w *writes) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/events") && !strings.Contains(r.URL.Path, "/leases") {
			w.mu.Lock()
			w.all = append(w.all, r.Method+" "+r.URL.Path)
			w.mu.Unlock()
		}
		return next.RoundTrip(r)
	})
}

// take returns the writes since the last call.
func (w *writes) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.all
	w.all = nil
	return all
}

// registry creates the NodeRegistry catga.
func (r *rig) registry(change ...func(*rollcallv1alpha1.NodeRegistrySpec)) *rollcallv1alpha1.NodeRegistry {
	r.Helper()
	registry := &rollcallv1alpha1.NodeRegistry{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: "catga"},
		Spec: rollcallv1alpha1.NodeRegistrySpec{
			Connection: rollcallv1alpha1.Connection{Servers: []string{r.nats.URL()}},
			Labels:     map[string]string{"role": "role"},
		},
	}
	for _, f := range change {
		f(&registry.Spec)
	}
	r.create(registry)
	return registry
}

// service creates a Service that selects all nodes of catga with the role web.
func (r *rig) service(name string, change ...func(*corev1.Service)) *corev1.Service {
	r.Helper()
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: name, Annotations: map[string]string{
			rollcallv1alpha1.AnnotationNodeSelector: "rollcall.dev/registry=catga,role=web",
		}},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}}},
	}
	for _, f := range change {
		f(service)
	}
	r.create(service)
	return service
}

func (r *rig) create(o client.Object) {
	r.Helper()
	if err := r.api.Create(r.Context(), o); err != nil {
		r.Fatal(err)
	}
}

func nodeID(n int) string { return fmt.Sprintf("web-%d", n) }

func address(n int) string { return fmt.Sprintf("10.1.%d.%d", n/250, n%250+1) }

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
	// After an outage the connection needs a moment; a machine outside would try again as well.
	r.within(patience, "a heartbeat to be acknowledged", func() bool {
		_, err = r.kv.Put(r.Context(), "node."+nodeID(n), value)
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
	if err := r.kv.Delete(r.Context(), "node."+nodeID(n)); err != nil {
		r.Fatal(err)
	}
}

// within polls until the condition holds, and returns how long that took.
func (r *rig) within(limit time.Duration, what string, holds func() bool) time.Duration {
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
	return time.Since(began)
}

// throughout checks again and again that something holds all the time.
func (r *rig) throughout(d time.Duration, what string, holds func() bool) {
	r.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for began := time.Now(); time.Since(began) < d; <-ticker.C {
		if !holds() {
			r.Fatalf("%s did not hold all the time", what)
		}
	}
}

// ready returns the addresses of the ready endpoints of a Service, sorted.
func (r *rig) ready(service string) []string {
	r.Helper()
	list := &discoveryv1.EndpointSliceList{}
	if err := r.api.List(r.Context(), list, client.InNamespace(r.namespace), client.MatchingLabels{discoveryv1.LabelServiceName: service}); err != nil {
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
	err := r.api.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: "catga." + nodeID(n)}, dn)
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
	if err := r.api.List(r.Context(), list, client.InNamespace(r.namespace)); err != nil {
		r.Fatal(err)
	}
	return list.Items
}

// condition returns a condition of the NodeRegistry catga as "status/reason".
func (r *rig) condition(kind string) string {
	r.Helper()
	registry := &rollcallv1alpha1.NodeRegistry{}
	if err := r.api.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: "catga"}, registry); err != nil {
		r.Fatal(err)
	}
	for _, c := range registry.Status.Conditions {
		if c.Type == kind {
			return string(c.Status) + "/" + c.Reason
		}
	}
	return ""
}

func seconds(n int) *metav1.Duration {
	return &metav1.Duration{Duration: time.Duration(n) * time.Second}
}
