package endpointslice

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/internal/fixture"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/internal/testenv"
	"github.com/rollcall-dev/rollcall/internal/todo"
)

var env *testenv.Env

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	testenv.Main(m, &env)
}

// fakeMirror is a Nodes that tells its observers as the Mirror does.
type fakeMirror struct {
	mu        sync.Mutex
	nodes     map[string]*mirror.Node
	unsettled map[string]bool
	looks     int
	revision  uint64
	// cursor is that of the controller.
	cursor *mirror.Cursor
	// written has the times of the changes that slices show.
	written []time.Time
}

// SliceWritten implements Metrics.
func (f *fakeMirror) SliceWritten(_ string, changed time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.written = append(f.written, changed)
}

func (f *fakeMirror) Node(_, name string) *mirror.Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes[name]
}

func (f *fakeMirror) Select(_ string, selector labels.Selector) iter.Seq[*mirror.Node] {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !selector.Empty() { // What the condition asks for is no pass.
		f.looks++
	}
	all := slices.Collect(maps.Values(f.nodes))
	return func(yield func(*mirror.Node) bool) {
		for _, node := range all {
			if selector.Matches(labels.Set(node.Labels)) && !yield(node) {
				return
			}
		}
	}
}

func (f *fakeMirror) Settled(_, name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.unsettled[record.RegistryOf(name)]
}

func (f *fakeMirror) Unsettled(string, labels.Selector) sets.Set[string] {
	f.mu.Lock()
	defer f.mu.Unlock()
	return sets.KeySet(f.unsettled)
}

func (f *fakeMirror) fullPasses() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.looks
}

func (f *fakeMirror) set(nodes ...*mirror.Node) {
	f.mu.Lock()
	var changes []mirror.Change
	for _, node := range nodes {
		changes = append(changes, mirror.Change{Old: f.nodes[node.Name], New: node})
		f.nodes[node.Name] = node
	}
	f.revision++
	f.cursor.Put(f.revision, changes)
	f.mu.Unlock()
}

func (f *fakeMirror) remove(names ...string) {
	f.mu.Lock()
	var changes []mirror.Change
	for _, name := range names {
		changes = append(changes, mirror.Change{Old: f.nodes[name]})
		delete(f.nodes, name)
	}
	f.revision++
	f.cursor.Put(f.revision, changes)
	f.mu.Unlock()
}

func (f *fakeMirror) settle(namespace, registry string) {
	f.mu.Lock()
	delete(f.unsettled, registry)
	f.revision++
	f.cursor.Put(f.revision, nil, types.NamespacedName{Namespace: namespace, Name: registry})
	f.mu.Unlock()
}

// told returns true if a slice shows a change of that time.
func (f *fakeMirror) told(changed time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.written, changed.Equal)
}

// writes counts what goes to the API server, as "POST endpointslices".
type writes struct {
	mu     sync.Mutex
	count  map[string]int
	inject func(*http.Request) error
	next   http.RoundTripper
}

func (w *writes) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		parts := strings.Split(r.URL.Path, "/")
		resource := "services/status"
		if slices.Contains(parts, "endpointslices") {
			resource = "endpointslices"
		}
		w.mu.Lock()
		w.count[r.Method+" "+resource]++
		inject := w.inject
		w.mu.Unlock()
		if inject != nil {
			if err := inject(r); err != nil {
				return nil, err
			}
		}
	}
	return w.next.RoundTrip(r)
}

// take returns the counts since the last time.
func (w *writes) take() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.count
	w.count = map[string]int{}
	return taken
}

// ofSlices returns those of them that are of slices.
func (w *writes) ofSlices() map[string]int {
	taken := w.take()
	delete(taken, "PATCH services/status")
	return taken
}

func (w *writes) fail(inject func(*http.Request) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inject = inject
}

// operator is a running manager with the controller, over one namespace.
type operator struct {
	*fakeMirror
	t          *testing.T
	controller *Controller
	client     client.Client
	namespace  string
	writes     *writes
	events     *events.FakeRecorder
	stop       func()
}

func start(t *testing.T, namespace string, f *fakeMirror) *operator {
	t.Helper()
	return startFailing(t, namespace, f, nil)
}

// startFailing starts a manager whose writes fail with what inject returns.
func startFailing(t *testing.T, namespace string, f *fakeMirror, inject func(*http.Request) error) *operator {
	t.Helper()
	o := &operator{fakeMirror: f, t: t, namespace: namespace, writes: &writes{count: map[string]int{}, inject: inject}, events: events.NewFakeRecorder(100)}
	var err error
	if o.client, err = client.New(env.Config, client.Options{}); err != nil {
		t.Fatalf("make a client: %v", err)
	}
	counted := rest.CopyConfig(env.Config)
	counted.Wrap(func(next http.RoundTripper) http.RoundTripper { o.writes.next = next; return o.writes })
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), rollcallv1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatalf("make a scheme: %v", err)
	}
	mgr, err := ctrl.NewManager(counted, ctrl.Options{
		Scheme:     scheme,
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
		Cache: cache.Options{
			DefaultNamespaces: map[string]cache.Config{namespace: {}},
			ByObject: map[client.Object]cache.ByObject{&discoveryv1.EndpointSlice{}: {
				Label: labels.SelectorFromSet(labels.Set{discoveryv1.LabelManagedBy: rollcallv1alpha1.ManagedBy}),
			}},
		},
	})
	if err != nil {
		t.Fatalf("make a manager: %v", err)
	}
	clk := clock.RealClock{}
	f.cursor = mirror.NewCursor()
	o.controller = New(mgr.GetClient(), mgr.GetAPIReader(), f, f.cursor, NewProgress(clk), f, clk, Options{
		FieldOwner: rollcallv1alpha1.FieldOwner, Recorder: o.events, Disputes: NewDisputes(todo.New()),
	})
	if err := o.controller.SetupWithManager(mgr); err != nil {
		t.Fatalf("set up: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	o.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the manager stopped: %v", err)
		}
	})
	t.Cleanup(o.stop)
	return o
}

// restart stops the manager and starts a new one over the same nodes.
func (o *operator) restart() *operator {
	o.t.Helper()
	o.stop()
	return start(o.t, o.namespace, &fakeMirror{nodes: o.nodes, unsettled: o.unsettled})
}

func startWith(t *testing.T, nodes ...*mirror.Node) *operator {
	t.Helper()
	f := &fakeMirror{nodes: map[string]*mirror.Node{}, unsettled: map[string]bool{}}
	ns := env.Namespace(t)
	for _, node := range nodes {
		f.nodes[node.Name] = in(ns, node)
	}
	return start(t, ns, f)
}

func in(namespace string, node *mirror.Node) *mirror.Node {
	return fixture.But(node, func(n *mirror.Node) { n.Namespace = namespace })
}

// service creates a Service over the nodes with role=web.
func (o *operator) service(change ...func(*corev1.Service)) *corev1.Service {
	o.t.Helper()
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: o.namespace, Name: "web",
			Annotations: map[string]string{rollcallv1alpha1.AnnotationNodeSelector: "role=web"},
		},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}}},
	}
	for _, c := range change {
		c(service)
	}
	if err := o.client.Create(o.t.Context(), service); err != nil {
		o.t.Fatalf("create the service: %v", err)
	}
	return service
}

func (o *operator) edit(object client.Object, change func()) {
	o.t.Helper()
	before := object.DeepCopyObject().(client.Object)
	change()
	if err := o.client.Patch(o.t.Context(), object, client.MergeFrom(before)); err != nil {
		o.t.Fatalf("edit %s: %v", object.GetName(), err)
	}
}

// slices returns the slices of the namespace, by name, whoever manages them.
func (o *operator) slices() []discoveryv1.EndpointSlice {
	o.t.Helper()
	list := &discoveryv1.EndpointSliceList{}
	if err := o.client.List(o.t.Context(), list, client.InNamespace(o.namespace)); err != nil {
		o.t.Fatalf("list the slices: %v", err)
	}
	return list.Items
}

// addresses returns the sorted addresses in the slices that a consumer would use.
func (o *operator) addresses() []string {
	var all []string
	for _, slice := range o.slices() {
		for _, endpoint := range slice.Endpoints {
			if *endpoint.Conditions.Ready {
				all = append(all, endpoint.Addresses...)
			}
		}
	}
	slices.Sort(all)
	return all
}

func (o *operator) condition(name string) *metav1.Condition {
	o.t.Helper()
	service := &corev1.Service{}
	if err := o.client.Get(o.t.Context(), types.NamespacedName{Namespace: o.namespace, Name: name}, service); err != nil {
		o.t.Fatalf("get the service: %v", err)
	}
	return meta.FindStatusCondition(service.Status.Conditions, rollcallv1alpha1.ConditionEndpointsSynced)
}

// eventually waits until the check finds nothing to complain of.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("it stays like this: %v", err)
		case <-tick.C:
		}
	}
}

func (o *operator) hasAddresses(want ...string) {
	o.t.Helper()
	eventually(o.t, func() error {
		if got := o.addresses(); !slices.Equal(got, want) {
			return fmt.Errorf("ready addresses are %v, want %v", got, want)
		}
		return nil
	})
}

func (o *operator) hasEndpoints(want int) {
	o.t.Helper()
	eventually(o.t, func() error {
		if got := len(o.addresses()); got != want {
			return fmt.Errorf("%d ready endpoints, want %d", got, want)
		}
		return nil
	})
}

func (o *operator) hasReason(want string) {
	o.t.Helper()
	eventually(o.t, func() error {
		got := ""
		if condition := o.condition("web"); condition != nil {
			got = condition.Reason
		}
		if got != want {
			return fmt.Errorf("reason is %q, want %q", got, want)
		}
		return nil
	})
}

// says waits for the message of the condition: it may take as long as a condition waits that only words its reason otherwise.
func (o *operator) says(want string) {
	o.t.Helper()
	eventually(o.t, func() error {
		if condition := o.condition("web"); condition == nil || condition.Message != want {
			return fmt.Errorf("the condition is %+v, want %q", condition, want)
		}
		return nil
	})
}
