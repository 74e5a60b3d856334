// Package pods tests PodRegistrations through the front door: the whole manager, on a real API server and a real NATS
// server. There is no kubelet, so the tests say in the status of their pods what one would.
package pods

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
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
	child(log)
	testenv.Main(m, &env)
}

const (
	// patience is how long anything may take that is to happen at once; it is generous for the sake of a loaded machine.
	patience = 20 * time.Second
	// here is the name of the cluster of the managers that say nothing else.
	here   = "here"
	bucket = "catga_nodes"
)

// rig is a namespace of its own, a NATS server of its own, and the managers that the test starts.
type rig struct {
	testing.TB
	api       client.Client
	namespace string
	nats      *natstest.Server
	kv        jetstream.KeyValue
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{TB: t, api: newClient(t), namespace: env.Namespace(t), nats: natstest.Start(t)}
	r.kv = r.keyValue(r.nats.Connect(t))
	return r
}

func newClient(t testing.TB) client.Client {
	t.Helper()
	api, err := client.New(env.Config, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func scheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, rollcallv1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// keyValue returns the bucket of the rig, created with a TTL of a minute if it is missing.
func (r *rig) keyValue(nc *nats.Conn) jetstream.KeyValue {
	r.Helper()
	return r.bucket(nc, jetstream.KeyValueConfig{Bucket: bucket, TTL: time.Minute, History: 5, LimitMarkerTTL: time.Minute})
}

func (r *rig) bucket(nc *nats.Conn, c jetstream.KeyValueConfig) jetstream.KeyValue {
	r.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		r.Fatal(err)
	}
	kv, err := js.CreateOrUpdateKeyValue(r.Context(), c)
	if err != nil {
		r.Fatal(err)
	}
	return kv
}

// ttl gives the rig's bucket another TTL.
func (r *rig) ttl(d time.Duration) {
	r.Helper()
	r.kv = r.bucket(r.nats.Connect(r.TB), jetstream.KeyValueConfig{Bucket: bucket, TTL: d, History: 5, LimitMarkerTTL: d})
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
		Namespaces: []string{r.namespace}, MetricsAddress: "0", ProbeAddress: "0", ClusterName: here,
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

func (r *rig) create(o client.Object) {
	r.Helper()
	if err := r.api.Create(r.Context(), o); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) delete(o client.Object) {
	r.Helper()
	if err := r.api.Delete(r.Context(), o, client.GracePeriodSeconds(0)); err != nil {
		r.Fatal(err)
	}
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

// registration creates a PodRegistration for the pods with the label app=<name>, with a heartbeat every second.
func (r *rig) registration(name string, change ...func(*rollcallv1alpha1.PodRegistrationSpec)) *rollcallv1alpha1.PodRegistration {
	r.Helper()
	p := &rollcallv1alpha1.PodRegistration{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: name},
		Spec: rollcallv1alpha1.PodRegistrationSpec{
			RegistryName:      "catga",
			Selector:          metav1.LabelSelector{MatchLabels: map[string]string{"app": name}},
			NodeID:            "pod.metadata.name",
			HeartbeatInterval: seconds(1),
			Metadata:          map[string]string{"role": "pod.metadata.labels['app']"},
		},
	}
	for _, f := range change {
		f(&p.Spec)
	}
	r.create(p)
	return p
}

func seconds(n int) *metav1.Duration {
	return &metav1.Duration{Duration: time.Duration(n) * time.Second}
}

// podOf returns a pod with the label app=web and one port, which does not exist yet.
func (r *rig) podOf(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: name, Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "main", Image: "example.com/web:1", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
		}}},
	}
}

// pod creates a Ready pod with the address 10.2.0.1.
func (r *rig) pod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	r.Helper()
	pod := r.podOf(name)
	for _, f := range change {
		f(pod)
	}
	r.create(pod)
	r.status(pod, running("10.2.0.1"))
	return pod
}

// status changes a pod's status as a kubelet would.
func (r *rig) status(pod *corev1.Pod, change func(*corev1.PodStatus)) {
	r.Helper()
	before := pod.DeepCopy()
	change(&pod.Status)
	if err := r.api.Status().Patch(r.Context(), pod, client.StrategicMergeFrom(before)); err != nil {
		r.Fatal(err)
	}
}

// running returns the status of a pod that runs and is Ready.
func running(ips ...string) func(*corev1.PodStatus) {
	return func(s *corev1.PodStatus) {
		s.Phase, s.PodIP, s.PodIPs = corev1.PodRunning, ips[0], nil
		for _, ip := range ips {
			s.PodIPs = append(s.PodIPs, corev1.PodIP{IP: ip})
		}
		set(s, corev1.ContainersReady, corev1.ConditionTrue)
		set(s, corev1.PodReady, corev1.ConditionTrue)
	}
}

// conditioned returns a change of one condition.
func conditioned(kind corev1.PodConditionType, status corev1.ConditionStatus) func(*corev1.PodStatus) {
	return func(s *corev1.PodStatus) { set(s, kind, status) }
}

func set(s *corev1.PodStatus, kind corev1.PodConditionType, status corev1.ConditionStatus) {
	for i := range s.Conditions {
		if s.Conditions[i].Type == kind {
			s.Conditions[i].Status = status
			return
		}
	}
	s.Conditions = append(s.Conditions, corev1.PodCondition{Type: kind, Status: status, LastTransitionTime: metav1.Now()})
}

// update changes a pod's metadata.
func (r *rig) update(o client.Object, change func()) {
	r.Helper()
	before, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		r.Fatalf("%T is no object", o)
	}
	change()
	if err := r.api.Patch(r.Context(), o, client.MergeFrom(before)); err != nil {
		r.Fatal(err)
	}
}

// entry returns a node's record and its revision; the revision is 0 if there is none.
func (r *rig) entry(id string) (discovery.Node, uint64) {
	r.Helper()
	e, err := r.kv.Get(r.Context(), "node."+id)
	if err != nil {
		return discovery.Node{}, 0
	}
	n, err := discovery.Decode(e.Value())
	if err != nil {
		r.Fatalf("the record of %s: %v", id, err)
	}
	return n, e.Revision()
}

func (r *rig) revision(id string) uint64 {
	r.Helper()
	_, revision := r.entry(id)
	return revision
}

// registered says whether a node has an entry, of that pod.
func (r *rig) registered(id string, pod *corev1.Pod) func() bool {
	return func() bool {
		n, revision := r.entry(id)
		return revision > 0 && n.Owner != nil && n.Owner.UID == string(pod.UID)
	}
}

// gone says whether a node has no entry.
func (r *rig) gone(id string) func() bool {
	return func() bool { return r.revision(id) == 0 }
}

// beats waits until a node has heartbeated so many times.
func (r *rig) beats(id string, n int) {
	r.Helper()
	last := r.revision(id)
	for range n {
		r.within(patience, "a heartbeat of "+id, func() bool { return r.revision(id) > last })
		last = r.revision(id)
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

// outcome returns the status of a PodRegistration as "matched/registered/conflicts status reason".
func (r *rig) outcome(name string) string {
	r.Helper()
	s, c := r.ready(name)
	return fmt.Sprintf("%d/%d/%d %s %s", s.Matched, s.Registered, s.Conflicts, c.Status, c.Reason)
}

func (r *rig) ready(name string) (rollcallv1alpha1.PodRegistrationStatus, metav1.Condition) {
	r.Helper()
	p := &rollcallv1alpha1.PodRegistration{}
	if err := r.api.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: name}, p); err != nil {
		r.Fatal(err)
	}
	if c := meta.FindStatusCondition(p.Status.Conditions, rollcallv1alpha1.ConditionReady); c != nil {
		return p.Status, *c
	}
	return p.Status, metav1.Condition{}
}

// reports waits until the status of a PodRegistration is that, and returns the message.
func (r *rig) reports(name, want string) string {
	r.Helper()
	began := time.Now()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for r.outcome(name) != want {
		if time.Since(began) > patience {
			_, c := r.ready(name)
			r.Fatalf("waited %s for %q, the status is %q: %s", patience, want, r.outcome(name), c.Message)
		}
		<-ticker.C
	}
	_, c := r.ready(name)
	return c.Message
}

// events returns the Events about an object as "type reason: note", sorted.
func (r *rig) events(kind, name string) []string {
	r.Helper()
	list := &eventsv1.EventList{}
	if err := r.api.List(r.Context(), list, client.InNamespace(r.namespace)); err != nil {
		r.Fatal(err)
	}
	var told []string
	for _, e := range list.Items {
		if e.Regarding.Kind == kind && e.Regarding.Name == name {
			told = append(told, fmt.Sprintf("%s %s: %s", e.Type, e.Reason, e.Note))
		}
	}
	slices.Sort(told)
	return told
}

// told waits for an Event about a pod that contains all the texts.
func (r *rig) told(pod string, texts ...string) {
	r.Helper()
	r.within(patience, fmt.Sprintf("an Event about %s with %q", pod, texts), func() bool {
		return slices.ContainsFunc(r.events("Pod", pod), func(e string) bool {
			return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(e, text) })
		})
	})
}

// mentions checks that a text contains all others.
func (r *rig) mentions(text string, all ...string) {
	r.Helper()
	for _, part := range all {
		if !strings.Contains(text, part) {
			r.Errorf("%q does not mention %q", text, part)
		}
	}
}

// keys returns the keys of the bucket that hold a record, sorted.
func (r *rig) keys() []string {
	r.Helper()
	lister, err := r.kv.ListKeys(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	var keys []string
	for key := range lister.Keys() {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// removals begins to note every removal of a key, by whomever, and returns what was noted so far.
func (r *rig) removals() func() []string {
	r.Helper()
	watch, err := r.kv.Watch(r.Context(), ">", jetstream.UpdatesOnly())
	if err != nil {
		r.Fatal(err)
	}
	var mu sync.Mutex
	var noted []string
	go func() {
		for e := range watch.Updates() {
			if e != nil && e.Operation() != jetstream.KeyValuePut {
				mu.Lock()
				noted = append(noted, e.Operation().String()+" "+e.Key())
				mu.Unlock()
			}
		}
	}()
	r.Cleanup(func() { _ = watch.Stop() })
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(noted)
	}
}

func (r *rig) get(name string, o client.Object) {
	r.Helper()
	if err := r.api.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: name}, o); err != nil {
		r.Fatal(err)
	}
}

// message returns a message with headers and nothing else.
func (r *rig) message(subject string, headers map[string]string) *nats.Msg {
	m := nats.NewMsg(subject)
	for name, value := range headers {
		m.Header.Set(name, value)
	}
	return m
}

// service creates the Service web for all nodes of catga.
func (r *rig) service() {
	r.Helper()
	r.create(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: "web", Annotations: map[string]string{
			rollcallv1alpha1.AnnotationNodeSelector: "rollcall.dev/registry=catga",
		}},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}}},
	})
}

// endpoints returns the addresses of the endpoints of the Service web, sorted.
func (r *rig) endpoints() []string {
	r.Helper()
	list := &discoveryv1.EndpointSliceList{}
	if err := r.api.List(r.Context(), list, client.InNamespace(r.namespace), client.MatchingLabels{discoveryv1.LabelServiceName: "web"}); err != nil {
		r.Fatal(err)
	}
	var addresses []string
	for _, slice := range list.Items {
		for _, endpoint := range slice.Endpoints {
			addresses = append(addresses, endpoint.Addresses...)
		}
	}
	slices.Sort(addresses)
	return addresses
}

// node returns the DiscoveredNode of a node, nil if there is none.
func (r *rig) node(id string) *rollcallv1alpha1.DiscoveredNode {
	r.Helper()
	dn := &rollcallv1alpha1.DiscoveredNode{}
	err := r.api.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: "catga." + id}, dn)
	if client.IgnoreNotFound(err) != nil {
		r.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return dn
}

type podSpec = rollcallv1alpha1.PodRegistrationSpec

func clientset(r *rig) *kubernetes.Clientset {
	r.Helper()
	c, err := kubernetes.NewForConfig(env.Config)
	if err != nil {
		r.Fatal(err)
	}
	return c
}

// ready3 returns the three counts of a PodRegistration.
func (r *rig) ready3(name string) (registered, matched, conflicts int) {
	r.Helper()
	s, _ := r.ready(name)
	return int(s.Registered), int(s.Matched), int(s.Conflicts)
}

// many creates so many Ready pods, several at a time.
func (r *rig) many(count int) {
	r.Helper()
	var g errgroup.Group
	g.SetLimit(16)
	for i := range count {
		g.Go(func() error {
			pod := r.podOf(fmt.Sprintf("web-%d", i))
			if err := r.api.Create(r.Context(), pod); err != nil {
				return err
			}
			before := pod.DeepCopy()
			running(fmt.Sprintf("10.2.%d.%d", i/250, i%250+1))(&pod.Status)
			return r.api.Status().Patch(r.Context(), pod, client.StrategicMergeFrom(before))
		})
	}
	if err := g.Wait(); err != nil {
		r.Fatal(err)
	}
}
