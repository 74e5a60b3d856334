package pods

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
)

// entry returns a node's record and its revision; the revision is 0 if there is none.
func (r *rig) entry(id string) (discovery.Node, uint64) {
	r.Helper()
	e, err := r.kv.Get(r.Context(), "node."+id)
	if err != nil {
		return discovery.Node{}, 0
	}
	n, _, err := discovery.Decode(e.Value())
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
		r.Within(patience, "a heartbeat of "+id, func() bool { return r.revision(id) > last })
		last = r.revision(id)
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
	if err := r.API.Get(r.Context(), client.ObjectKey{Namespace: r.Namespace, Name: name}, p); err != nil {
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
	if err := r.API.List(r.Context(), list, client.InNamespace(r.Namespace)); err != nil {
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
	r.Within(patience, fmt.Sprintf("an Event about %s with %q", pod, texts), func() bool {
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
	if err := r.API.Get(r.Context(), client.ObjectKey{Namespace: r.Namespace, Name: name}, o); err != nil {
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
	r.Create(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "web", Annotations: map[string]string{
			rollcallv1alpha1.AnnotationNodeSelector: "rollcall.dev/registry=catga",
		}},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}}},
	})
}

// endpoints returns the addresses of the endpoints of the Service web, sorted.
func (r *rig) endpoints() []string {
	r.Helper()
	list := &discoveryv1.EndpointSliceList{}
	if err := r.API.List(r.Context(), list, client.InNamespace(r.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: "web"}); err != nil {
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
	err := r.API.Get(r.Context(), client.ObjectKey{Namespace: r.Namespace, Name: "catga." + id}, dn)
	if client.IgnoreNotFound(err) != nil {
		r.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return dn
}
