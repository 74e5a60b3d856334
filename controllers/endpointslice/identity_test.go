package endpointslice

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/internal/fixture"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

// watched is what a consumer sees of the slices of a namespace, from one moment on.
type watched struct {
	mu     sync.Mutex
	slices map[string]*discoveryv1.EndpointSlice
	// least is the least number of addresses that were ready at one time, and events counts what happened to each slice.
	least  int
	events map[string]int
}

// watch begins to watch the slices, which must all be there.
func (o *operator) watch() *watched {
	o.t.Helper()
	list := &discoveryv1.EndpointSliceList{}
	api, err := client.NewWithWatch(env.Config, client.Options{})
	if err == nil {
		err = api.List(o.t.Context(), list, client.InNamespace(o.namespace))
	}
	if err != nil {
		o.t.Fatalf("list the slices: %v", err)
	}
	v := &watched{slices: map[string]*discoveryv1.EndpointSlice{}, events: map[string]int{}}
	for i := range list.Items {
		v.slices[list.Items[i].Name] = &list.Items[i]
	}
	v.least = v.ready()
	ctx, cancel := context.WithCancel(context.Background())
	w, err := api.Watch(ctx, &discoveryv1.EndpointSliceList{}, client.InNamespace(o.namespace),
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})
	if err != nil {
		o.t.Fatalf("watch the slices: %v", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range w.ResultChan() {
			if slice, is := event.Object.(*discoveryv1.EndpointSlice); is {
				v.take(event.Type, slice)
			}
		}
	}()
	o.t.Cleanup(func() { cancel(); <-done })
	return v
}

func (v *watched) take(kind watch.EventType, slice *discoveryv1.EndpointSlice) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.events[slice.Name]++
	if v.slices[slice.Name] = slice; kind == watch.Deleted {
		delete(v.slices, slice.Name)
	}
	v.least = min(v.least, v.ready())
}

// ready returns how many addresses are ready.
func (v *watched) ready() int {
	all := map[string]bool{}
	for _, slice := range v.slices {
		for i := range slice.Endpoints {
			if *slice.Endpoints[i].Conditions.Ready {
				all[slice.Endpoints[i].Addresses[0]] = true
			}
		}
	}
	return len(all)
}

// seen waits until the watch shows targets, or none, on all endpoints, and returns how often each slice was written meanwhile and
// how many addresses were ready all the time.
func (v *watched) seen(t *testing.T, targets bool) (events map[string]int, least int) {
	t.Helper()
	eventually(t, func() error {
		v.mu.Lock()
		defer v.mu.Unlock()
		for name, slice := range v.slices {
			for i := range slice.Endpoints {
				if (slice.Endpoints[i].TargetRef != nil) != targets {
					return fmt.Errorf("%s has an endpoint with the target %v", name, slice.Endpoints[i].TargetRef)
				}
			}
		}
		events, least = v.events, v.least
		v.events = map[string]int{}
		return nil
	})
	return events, least
}

// wroteOnce fails the test unless each of so many slices was written once, and all addresses were ready all the time.
func (v *watched) wroteOnce(t *testing.T, targets bool, slices, addresses int) {
	t.Helper()
	events, least := v.seen(t, targets)
	for name, n := range events {
		if n != 1 {
			t.Errorf("%s was written %d times", name, n)
		}
	}
	if len(events) != slices || least != addresses {
		t.Errorf("%d slices were written, want %d; at least %d of %d addresses were ready", len(events), slices, least, addresses)
	}
}

// TestTargetRefIsAskedFor: whatever the annotation of a live Service becomes, each slice is written once, and no endpoint leaves.
func TestTargetRefIsAskedFor(t *testing.T) {
	const nodes, slices = 520, 6
	o := startWith(t, fixture.Fleet(nodes)...)
	service := o.service()
	o.hasEndpoints(nodes)
	o.hasReason(rollcallv1alpha1.ReasonSynced)
	v := o.watch()
	v.wroteOnce(t, false, 0, nodes)

	o.edit(service, func() { fixture.TargetRef(service) })
	v.wroteOnce(t, true, slices, nodes)
	o.edit(service, func() { service.Annotations[rollcallv1alpha1.AnnotationTargetRef] = "Pod" })
	o.hasReason(rollcallv1alpha1.ReasonInvalidTargetRef)
	v.wroteOnce(t, false, slices, nodes)
	if message := o.condition("web").Message; !strings.Contains(message, `"Pod"`) || !strings.Contains(message, "set it to DiscoveredNode") {
		t.Errorf("the message is %q", message)
	}
	o.edit(service, func() { delete(service.Annotations, rollcallv1alpha1.AnnotationTargetRef) })
	o.hasReason(rollcallv1alpha1.ReasonSynced)
	v.wroteOnce(t, false, 0, nodes)
}

// TestUpgrade: slices of a version that wrote targets lose them with one write each, and no endpoint leaves: whether the nodes are
// known by then or not, and whether or not the manager is killed half way.
func TestUpgrade(t *testing.T) {
	const nodes, slices = 520, 6
	for name, test := range map[string]struct {
		known  func(*mirror.Node) bool
		change func(*mirror.Node)
		killed bool
	}{
		"all are heard of":       {func(*mirror.Node) bool { return true }, func(*mirror.Node) {}, false},
		"all are remembered":     {func(*mirror.Node) bool { return true }, fixture.Remembered, false},
		"half are remembered":    {func(n *mirror.Node) bool { return n.Name < "catga.web-00260" }, fixture.Remembered, false},
		"nobody is known":        {func(*mirror.Node) bool { return false }, nil, false},
		"killed half way":        {func(*mirror.Node) bool { return true }, func(*mirror.Node) {}, true},
		"killed, and remembered": {func(*mirror.Node) bool { return true }, fixture.Remembered, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := startWith(t, fixture.Fleet(nodes)...)
			service := o.service(fixture.TargetRef)
			o.hasEndpoints(nodes)
			o.hasReason(rollcallv1alpha1.ReasonSynced)
			o.stop()
			o.edit(service, func() { delete(service.Annotations, rollcallv1alpha1.AnnotationTargetRef) })
			v := o.watch()
			after := map[string]*mirror.Node{}
			for name, node := range o.nodes {
				if test.known(node) {
					after[name] = fixture.But(node, test.change)
				}
			}
			unsettled := map[string]bool{"catga": true}
			if test.killed {
				killHalfWay(t, o.namespace, &fakeMirror{nodes: maps.Clone(after), unsettled: unsettled}, slices/2)
			}
			o = start(t, o.namespace, &fakeMirror{nodes: after, unsettled: unsettled})
			v.wroteOnce(t, false, slices, nodes)
			for _, node := range fixture.Fleet(nodes) {
				o.set(in(o.namespace, node))
			}
			o.settle(o.namespace, "catga")
			o.hasReason(rollcallv1alpha1.ReasonSynced)
			o.set(fixture.But(o.Node("", "catga.web-00000"), fixture.Stale))
			o.hasEndpoints(nodes - 1)
			if got := o.writes.take()["PUT endpointslices"]; got > slices+1 {
				t.Errorf("%d updates in all, want one a slice, and one for the last change", got)
			}
		})
	}
}

// killHalfWay runs a manager that writes so many slices, and no more.
func killHalfWay(t *testing.T, namespace string, f *fakeMirror, most int) {
	t.Helper()
	var mu sync.Mutex
	written, enough := 0, make(chan struct{})
	o := startFailing(t, namespace, f, func(r *http.Request) error {
		mu.Lock()
		defer mu.Unlock()
		if !strings.Contains(r.URL.Path, "endpointslices") {
			return nil
		}
		if written++; written == most+1 {
			close(enough)
		}
		if written > most {
			return errors.New("killed")
		}
		return nil
	})
	select {
	case <-enough:
	case <-time.After(time.Minute):
		t.Fatal("it writes nothing")
	}
	o.stop()
}

// TestManyPorts: a Service and its nodes may have 1,000 ports, and the API server takes them in one slice.
func TestManyPorts(t *testing.T) {
	node := fixture.But(fixture.Node("catga", "a", "10.0.0.1"), func(n *mirror.Node) { n.Ports = nil })
	var ports []corev1.ServicePort
	for i := range rollcallv1alpha1.MaxPorts {
		name := fmt.Sprintf("p%d", i)
		node.Ports = append(node.Ports, record.Port{Name: name, Port: int32(10_000 + i), Protocol: corev1.ProtocolTCP})
		ports = append(ports, corev1.ServicePort{Name: name, Port: int32(i + 1), TargetPort: intstr.FromString(name)})
	}
	o := startWith(t, node)
	o.service(fixture.Ports(ports...))
	o.hasAddresses("10.0.0.1")
	o.hasReason(rollcallv1alpha1.ReasonSynced)
	if list := o.slices(); len(list) != 1 || len(list[0].Ports) != rollcallv1alpha1.MaxPorts {
		t.Errorf("there are %d slices, the first with %d ports", len(list), len(list[0].Ports))
	}
}

// TestCordoned: an endpoint of a cordoned node is what no consumer sends to, and none takes for one that goes.
func TestCordoned(t *testing.T) {
	o := startWith(t, fixture.Node("catga", "a", "10.0.0.1"), fixture.Node("catga", "b", "10.0.0.2"))
	o.service()
	o.hasAddresses("10.0.0.1", "10.0.0.2")
	for _, also := range []func(*mirror.Node){func(*mirror.Node) {}, fixture.Draining} {
		o.set(fixture.But(o.Node("", "catga.a"), fixture.All(also, fixture.Cordoned)))
		o.hasAddresses("10.0.0.2")
		for _, e := range o.slices()[0].Endpoints {
			if cordoned := e.Addresses[0] == "10.0.0.1"; cordoned && (!*e.Conditions.Serving || *e.Conditions.Terminating) {
				t.Errorf("it is serving %t, terminating %t", *e.Conditions.Serving, *e.Conditions.Terminating)
			}
		}
		o.set(in(o.namespace, fixture.Node("catga", "a", "10.0.0.1")))
		o.hasAddresses("10.0.0.1", "10.0.0.2")
	}
}
