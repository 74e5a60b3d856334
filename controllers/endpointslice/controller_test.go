package endpointslice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/internal/fixture"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

func TestServiceFollows(t *testing.T) {
	o := startWith(t, fixture.Node("catga", "a", "10.0.0.1"), fixture.Node("catga", "b", "10.0.0.2"))
	service := o.service()
	o.hasAddresses("10.0.0.1", "10.0.0.2")
	o.hasReason(rollcallv1alpha1.ReasonSynced)

	o.set(in(o.namespace, fixture.Node("catga", "c", "10.0.0.3")))
	o.hasAddresses("10.0.0.1", "10.0.0.2", "10.0.0.3")
	o.set(fixture.But(o.Node("", "catga.a"), fixture.Phase(rollcallv1alpha1.NodeStale)))
	o.hasAddresses("10.0.0.2", "10.0.0.3")
	o.remove("catga.b")
	o.hasAddresses("10.0.0.3")

	o.edit(service, func() { service.Annotations[rollcallv1alpha1.AnnotationNodeSelector] = "role=db" })
	o.hasAddresses()
	o.set(fixture.But(in(o.namespace, fixture.Node("catga", "d", "10.0.0.4")), func(n *mirror.Node) { n.Labels = map[string]string{"role": "db"} }))
	o.hasAddresses("10.0.0.4")

	o.edit(service, func() { delete(service.Annotations, rollcallv1alpha1.AnnotationNodeSelector) })
	eventually(t, func() error {
		if n := len(o.slices()); n > 0 {
			return fmt.Errorf("%d slices are left", n)
		}
		if condition := o.condition("web"); condition != nil {
			return fmt.Errorf("the condition is left: %v", condition)
		}
		return nil
	})

	o.edit(service, func() {
		service.Annotations = map[string]string{rollcallv1alpha1.AnnotationNodeSelector: "role in (web, db)"}
	})
	o.hasAddresses("10.0.0.3", "10.0.0.4")
	if err := o.client.Delete(t.Context(), service); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if n := len(o.slices()); n > 0 {
			return fmt.Errorf("%d slices are left", n)
		}
		return nil
	})
	o.service()
	o.hasAddresses("10.0.0.3")
}

func TestStoredSlices(t *testing.T) {
	o := startWith(t, fixture.But(fixture.Node("catga", "a", "10.0.0.1", "fd00::1"), func(n *mirror.Node) { n.Zone = "eu-1a" }))
	o.service(fixture.Headless, func(s *corev1.Service) {
		s.Spec.IPFamilyPolicy = new(corev1.IPFamilyPolicyRequireDualStack)
		s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
		s.Spec.TrafficDistribution = new(corev1.ServiceTrafficDistributionPreferClose)
	})
	o.hasAddresses("10.0.0.1", "fd00::1")
	for _, slice := range o.slices() {
		if len(slice.ManagedFields) != 1 || slice.ManagedFields[0].Manager != rollcallv1alpha1.FieldOwner {
			t.Errorf("managed fields: %v", slice.ManagedFields)
		}
	}
	o.hasReason(rollcallv1alpha1.ReasonSynced)
	o.writes.take()
	o = o.restart()
	o.set(fixture.But(o.Node("", "catga.a"), fixture.Phase(rollcallv1alpha1.NodeStale)))
	o.hasAddresses()
	if got := o.writes.ofSlices(); got["PUT endpointslices"] != 2 || len(got) != 1 {
		t.Errorf("a restart and a change in two families cost %v, want two updates", got)
	}
}

// TestEditsByHand: whatever somebody does to a slice is undone, without more writes than that takes.
func TestEditsByHand(t *testing.T) {
	o := startWith(t, fixture.Node("catga", "a", "10.0.0.1"))
	o.service()
	o.hasAddresses("10.0.0.1")
	o.hasReason(rollcallv1alpha1.ReasonSynced)
	o.writes.take()
	tests := []struct {
		name   string
		change func(*discoveryv1.EndpointSlice)
		want   string
	}{
		{"address", func(s *discoveryv1.EndpointSlice) { s.Endpoints[0].Addresses = []string{"10.9.9.9"} }, "PUT endpointslices"},
		{"ports", func(s *discoveryv1.EndpointSlice) { s.Ports = nil }, "PUT endpointslices"},
		{"service label", func(s *discoveryv1.EndpointSlice) { s.Labels[discoveryv1.LabelServiceName] = "other" }, "PUT endpointslices"},
		{"our label", func(s *discoveryv1.EndpointSlice) { delete(s.Labels, discoveryv1.LabelManagedBy) }, "PUT endpointslices"},
		{"owner", func(s *discoveryv1.EndpointSlice) { s.OwnerReferences = nil }, "PUT endpointslices"},
		{"deletion", nil, "POST endpointslices"},
	}
	for _, test := range tests {
		before := o.slices()[0]
		if test.change == nil {
			if err := o.client.Delete(t.Context(), &before); err != nil {
				t.Fatal(err)
			}
		} else {
			o.edit(&before, func() { test.change(&before) })
		}
		eventually(t, func() error {
			list := o.slices()
			if len(list) != 1 || len(list[0].Endpoints) != 1 || len(list[0].Ports) != 1 || len(list[0].OwnerReferences) != 1 ||
				list[0].Endpoints[0].Addresses[0] != "10.0.0.1" || list[0].Labels[discoveryv1.LabelServiceName] != "web" ||
				list[0].Labels[discoveryv1.LabelManagedBy] != rollcallv1alpha1.ManagedBy {
				return fmt.Errorf("%s: %+v", test.name, list)
			}
			return nil
		})
		if got := o.writes.take(); got[test.want] != 1 || len(got) != 1 {
			t.Errorf("%s: it costs %v, want one %s", test.name, got, test.want)
		}
	}
}

// TestLostWhileStopped: a slice that loses our label while nobody looks is found again instead of being doubled.
func TestLostWhileStopped(t *testing.T) {
	o := startWith(t, fixture.Node("catga", "a", "10.0.0.1"))
	o.service()
	o.hasAddresses("10.0.0.1")
	o.stop()
	slice := o.slices()[0]
	o.edit(&slice, func() { delete(slice.Labels, discoveryv1.LabelManagedBy) })
	o = o.restart()
	eventually(t, func() error {
		list := o.slices()
		if len(list) != 1 || list[0].Labels[discoveryv1.LabelManagedBy] != rollcallv1alpha1.ManagedBy {
			return fmt.Errorf("%+v", list)
		}
		return nil
	})
}

func TestForeignSlicesAreLeftAlone(t *testing.T) {
	o := startWith(t, fixture.Node("catga", "a", "10.0.0.1"))
	foreign := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: o.namespace, Name: "web-manual",
			Labels: map[string]string{discoveryv1.LabelServiceName: "web", discoveryv1.LabelManagedBy: "a-person"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.9"}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}}},
	}
	if err := o.client.Create(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	service := o.service()
	o.hasAddresses("10.0.0.1", "10.0.0.9")
	o.edit(service, func() { delete(service.Annotations, rollcallv1alpha1.AnnotationNodeSelector) })
	o.hasAddresses("10.0.0.9")
}

func TestConditions(t *testing.T) {
	o := startWith(t, fixture.Node("catga", "a", "10.0.0.1"))
	service := o.service()
	o.hasReason(rollcallv1alpha1.ReasonSynced)
	annotate := func(value string) {
		o.edit(service, func() { service.Annotations[rollcallv1alpha1.AnnotationNodeSelector] = value })
	}
	for _, invalid := range []string{"", "a=b=c", "!", "a in"} {
		annotate(invalid)
		o.hasReason(rollcallv1alpha1.ReasonInvalidSelector)
		o.hasAddresses("10.0.0.1")
		annotate("role=web")
		o.hasReason(rollcallv1alpha1.ReasonSynced)
	}

	o.set(in(o.namespace, fixture.But(fixture.Node("catga", "b", "10.0.0.2"), func(n *mirror.Node) { n.Ports = nil })))
	o.says("1 ready, of 2 selected: 1 lacks port http (catga.b).")
	o.hasAddresses("10.0.0.1")
	o.set(in(o.namespace, fixture.But(fixture.Node("catga", "a", "10.0.0.1"), func(n *mirror.Node) { n.Ports = nil })))
	o.hasReason(rollcallv1alpha1.ReasonPortNotFound)
	o.set(in(o.namespace, fixture.Node("catga", "a", "10.0.0.1")))
	o.hasReason(rollcallv1alpha1.ReasonSynced)
	o.set(in(o.namespace, fixture.Node("catga", "b", "10.0.0.2")))
	o.hasReason(rollcallv1alpha1.ReasonSynced)

	o.edit(service, func() { service.Spec.Selector = map[string]string{"app": "web"} })
	o.hasReason(rollcallv1alpha1.ReasonUnsupportedService)
	o.hasAddresses()
	o.edit(service, func() { service.Spec.Selector = nil })
	o.hasReason(rollcallv1alpha1.ReasonSynced)
	o.hasAddresses("10.0.0.1", "10.0.0.2")
	o.edit(service, func() { service.Spec.Type, service.Spec.ExternalName = corev1.ServiceTypeExternalName, "example.com" })
	o.hasReason(rollcallv1alpha1.ReasonUnsupportedService)
	o.hasAddresses()
}

// TestConditionIsWrittenLast: nodes that come, go and change cost no write of the Service until they have done so, and then one.
func TestConditionIsWrittenLast(t *testing.T) {
	o := startWith(t, fixture.Fleet(1)...)
	o.service()
	o.hasReason(rollcallv1alpha1.ReasonSynced)
	o.writes.take()
	nodes := fixture.Fleet(30)
	began := time.Now()
	for i, node := range nodes[1:] {
		o.set(in(o.namespace, node))
		o.hasEndpoints(i + 2)
	}
	took := time.Since(began)
	o.says("30 ready, of 30 selected.")
	got := o.writes.take()
	if most := 1 + int(took/textPause); got["PATCH services/status"] > most || got["PUT endpointslices"] != 29 || len(got) != 2 {
		t.Errorf("29 nodes, one by one in %s, cost %v, want at most %d patches of the status", took, got, most)
	}
}

func TestCost(t *testing.T) {
	o := startWith(t, fixture.Fleet(500)...)
	o.service()
	o.hasEndpoints(500)
	o.hasReason(rollcallv1alpha1.ReasonSynced)
	if got := o.writes.take(); got["POST endpointslices"] != 5 || got["PATCH services/status"] != 1 || len(got) != 2 {
		t.Errorf("500 nodes cost %v, want 5 creates and the condition", got)
	}
	if got := o.fullPasses(); got != 1 {
		t.Errorf("%d full passes, want 1: the controller takes its own writes for somebody else's", got)
	}

	o.set(fixture.But(o.Node("", "catga.web-00123"), fixture.Phase(rollcallv1alpha1.NodeStale)))
	o.hasEndpoints(499)
	if got := o.writes.take(); got["PUT endpointslices"] != 1 || len(got) != 1 {
		t.Errorf("one node's change costs %v, want one update", got)
	}

	o.stop()
	o.writes.take()
	o = o.restart()
	eventually(t, func() error {
		if o.fullPasses() == 0 {
			return errors.New("nothing was looked at after the restart")
		}
		return nil
	})
	o.set(fixture.But(o.Node("", "catga.web-00123"), fixture.Phase(rollcallv1alpha1.NodeReady)))
	o.hasEndpoints(500)
	if got := o.writes.take(); got["PUT endpointslices"] != 1 || len(got) != 1 {
		t.Errorf("a restart and one node's change cost %v, want one update", got)
	}
	if got := o.fullPasses(); got != 1 {
		t.Errorf("%d full passes, want 1", got)
	}
}

// TestOutage: writes that fail are made up for, and the latency that is told is that of the change.
func TestOutage(t *testing.T) {
	o := startWith(t)
	for _, node := range fixture.Fleet(250) {
		o.set(in(o.namespace, node))
	}
	o.service()
	o.hasEndpoints(250)
	o.writes.fail(func(r *http.Request) error { return errors.New("the wire is cut") })
	o.set(fixture.But(o.Node("", "catga.web-00001"), func(n *mirror.Node) { n.Phase, n.Changed = rollcallv1alpha1.NodeStale, fixture.Epoch.Add(time.Hour) }))
	o.remove("catga.web-00200")
	eventually(t, func() error {
		if got := o.writes.take(); len(got) == 0 {
			return errors.New("nothing was tried")
		}
		return nil
	})
	o.writes.fail(nil)
	o.hasEndpoints(248)
	eventually(t, func() error {
		if !o.told(fixture.Epoch.Add(time.Hour)) {
			return errors.New("the change's time was not told")
		}
		return nil
	})
}

// TestRefusedAddition: the API server refuses the slice that a node moves to. The node stays where it was, and one that is
// gone or silent is taken out all the same.
func TestRefusedAddition(t *testing.T) {
	o := startWith(t, fixture.Fleet(100)...)
	o.service()
	o.hasEndpoints(100)
	o.writes.fail(func(r *http.Request) error {
		if r.Method == http.MethodPost {
			return errors.New("no slice more")
		}
		return nil
	})
	o.mu.Lock()
	nodes := o.nodes
	o.mu.Unlock()
	moved, stale := fixture.But(nodes["catga.web-00000"], fixture.Port(81)), fixture.But(nodes["catga.web-00001"], fixture.Stale)
	o.set(moved, stale)
	o.hasEndpoints(99)
	o.remove("catga.web-00002")
	o.hasEndpoints(98)
	if !slices.Contains(o.addresses(), "10.0.0.0") {
		t.Error("the node that moves is gone")
	}
	o.writes.fail(nil)
	eventually(t, func() error {
		if n := len(o.slices()); n != 2 {
			return fmt.Errorf("%d slices", n)
		}
		return nil
	})
	o.hasEndpoints(98)
}

// TestSharedAddress: two services behind one proxy are both in their Services; in one Service there is room for one, until it
// is silent.
func TestSharedAddress(t *testing.T) {
	role := func(value string) func(*mirror.Node) {
		return func(n *mirror.Node) { n.Labels = map[string]string{"role": value} }
	}
	orders, users := fixture.But(fixture.Node("catga", "orders", "10.0.0.9"), fixture.Older), fixture.But(fixture.Node("catga", "users", "10.0.0.9"), role("db"))
	o := startWith(t, orders, users)
	web := o.service()
	o.service(func(s *corev1.Service) {
		s.Name = "db"
		s.Annotations = map[string]string{rollcallv1alpha1.AnnotationNodeSelector: "role=db"}
	})
	o.hasAddresses("10.0.0.9", "10.0.0.9")

	o.edit(web, func() { web.Annotations[rollcallv1alpha1.AnnotationNodeSelector] = "role in (web, db)" })
	o.hasReason(rollcallv1alpha1.ReasonAddressShared)
	condition := o.condition("web")
	if want := "10.0.0.9:8080/TCP is shown for catga.orders and not for catga.users"; condition.Status != metav1.ConditionTrue ||
		!strings.Contains(condition.Message, want) {
		t.Errorf("the condition is %v, want True and %q", condition, want)
	}
	o.hasAddresses("10.0.0.9", "10.0.0.9")
	o.set(in(o.namespace, fixture.But(orders, fixture.Silent)))
	o.hasReason(rollcallv1alpha1.ReasonSynced)
	o.set(in(o.namespace, fixture.But(fixture.Node("catga", "last", "10.0.0.8"), func(n *mirror.Node) { n.Ports = nil })), in(o.namespace, orders))
	o.hasReason(rollcallv1alpha1.ReasonAddressShared)
}

// TestAmbiguousCreate: a create that succeeded, but whose answer got lost, does not double its endpoints.
func TestAmbiguousCreate(t *testing.T) {
	o := startWith(t, fixture.Fleet(250)...)
	var once sync.Once
	o.writes.fail(func(r *http.Request) (err error) {
		if r.Method == http.MethodPost {
			once.Do(func() {
				response, e := o.writes.next.RoundTrip(r)
				if e == nil {
					_ = response.Body.Close()
				}
				err = errors.New("the answer got lost")
			})
		}
		return err
	})
	o.service()
	o.hasReason(rollcallv1alpha1.ReasonSynced)
	eventually(t, func() error {
		if n := len(o.slices()); n != 3 {
			return fmt.Errorf("%d slices, want 3", n)
		}
		return nil
	})
	o.hasEndpoints(250)
}

func TestTerminatingNamespace(t *testing.T) {
	o := startWith(t)
	o.service()
	o.hasReason(rollcallv1alpha1.ReasonNoNodes)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: o.namespace}}
	if err := o.client.Delete(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b"} {
		o.set(in(o.namespace, fixture.Node("catga", id, "10.0.0.1")))
		eventually(t, func() error {
			if got := o.writes.take(); got["POST endpointslices"] == 0 {
				return fmt.Errorf("no create was tried: %v", got)
			}
			return nil
		})
	}
	// Had the first create been taken for a failure, the Service would have said so before the second.
	if got := o.condition("web").Reason; got != rollcallv1alpha1.ReasonNoNodes {
		t.Errorf("reason is %s", got)
	}
}

// TestRefused: what the API server will not have is in the condition.
func TestRefused(t *testing.T) {
	o := startWith(t, fixture.Node("catga", "a", "10.0.0.1"))
	o.writes.fail(func(r *http.Request) error {
		if r.Method == http.MethodPost {
			return apierrors.NewForbidden(discoveryv1.Resource("endpointslices"), "x", errors.New("quota exceeded"))
		}
		return nil
	})
	o.service()
	o.hasReason(rollcallv1alpha1.ReasonEndpointsRefused)
	if message := o.condition("web").Message; !strings.Contains(message, "quota exceeded") {
		t.Errorf("message is %q", message)
	}
	o.writes.fail(nil)
	o.hasReason(rollcallv1alpha1.ReasonSynced)
	o.hasAddresses("10.0.0.1")
}

// TestStorm changes nodes, the Service and the slices at the same time, from several sides.
func TestStorm(t *testing.T) {
	nodes := fixture.Fleet(300)
	o := startWith(t, nodes...)
	service := o.service()
	o.hasEndpoints(300)
	var sides sync.WaitGroup
	for side := range 3 {
		sides.Go(func() {
			for i := range 100 {
				node := in(o.namespace, nodes[side*100+i])
				o.set(fixture.But(node, fixture.Phase(rollcallv1alpha1.NodeStale)))
				if i%2 == 0 {
					o.remove(node.Name)
				}
				o.set(fixture.But(node, fixture.Port(int32(8000+i%3))))
			}
		})
	}
	sides.Go(func() {
		for i := range 20 {
			list := o.slices()
			edited := list[i%len(list)]
			patch, _ := json.Marshal(map[string]any{"endpoints": []any{}})
			if err := o.client.Patch(t.Context(), &edited, client.RawPatch(types.MergePatchType, patch)); client.IgnoreNotFound(err) != nil {
				t.Errorf("edit: %v", err)
			}
		}
	})
	sides.Go(func() {
		for i := range 10 {
			o.edit(service, func() { service.Labels = map[string]string{"round": strconv.Itoa(i)} })
		}
	})
	sides.Wait()
	eventually(t, func() error {
		got := map[string]int{}
		for _, slice := range o.slices() {
			if slice.Labels["round"] != "9" {
				return fmt.Errorf("%s has the labels %v", slice.Name, slice.Labels)
			}
			for _, endpoint := range slice.Endpoints {
				got[fmt.Sprintf("catga.%s %s %d %t", *endpoint.Hostname, endpoint.Addresses[0], *slice.Ports[0].Port, *endpoint.Conditions.Ready)]++
			}
		}
		for i, node := range nodes {
			want := fmt.Sprintf("%s %s %d true", node.Name, node.Addresses[0], 8000+i%100%3)
			if got[want] != 1 {
				return fmt.Errorf("%q is there %d times", want, got[want])
			}
		}
		if len(got) != len(nodes) {
			return fmt.Errorf("%d endpoints, want %d", len(got), len(nodes))
		}
		return nil
	})
}

// TestDeletedMeanwhile: a slice that is gone by the time it is to be deleted is no reason to look at everything.
func TestDeletedMeanwhile(t *testing.T) {
	o := startWith(t, fixture.Node("catga", "a", "10.0.0.1"))
	o.service()
	o.hasAddresses("10.0.0.1")
	slice := o.slices()[0]
	o.writes.fail(func(r *http.Request) error {
		if r.Method == http.MethodDelete {
			return o.client.Delete(r.Context(), &slice)
		}
		return nil
	})
	o.remove("catga.a")
	o.hasAddresses()
	o.set(in(o.namespace, fixture.Node("catga", "b", "10.0.0.2")))
	o.hasAddresses("10.0.0.2")
	if got := o.fullPasses(); got != 1 {
		t.Errorf("%d full passes, want 1", got)
	}
}

// TestReportBehindCache: a condition that the cache does not show yet is not written again.
func TestReportBehindCache(t *testing.T) {
	o := startWith(t)
	service := o.service(func(s *corev1.Service) { s.Annotations = nil })
	behind := service.DeepCopy()
	st := &state{}
	for _, seen := range []*corev1.Service{service, behind} {
		if _, err := o.controller.report(t.Context(), seen, st, compose("3 ready.", nil)); err != nil {
			t.Fatal(err)
		}
		if got := o.writes.take()["PATCH services/status"]; got != map[*corev1.Service]int{service: 1}[seen] {
			t.Errorf("it costs %d writes", got)
		}
	}
}

// noServices is a client whose cache has not seen any Service yet.
type noServices struct{ client.Client }

func (c noServices) Get(ctx context.Context, key client.ObjectKey, object client.Object, o ...client.GetOption) error {
	if _, is := object.(*corev1.Service); is {
		return apierrors.NewNotFound(corev1.Resource("services"), key.Name)
	}
	return c.Client.Get(ctx, key, object, o...)
}

// TestServiceBehindCache: no slice is deleted because the cache has not seen the Service yet.
func TestServiceBehindCache(t *testing.T) {
	o := startWith(t, fixture.Node("catga", "a", "10.0.0.1"))
	service := o.service()
	o.hasAddresses("10.0.0.1")
	o.stop()
	clk := clock.RealClock{}
	c := New(noServices{o.client}, o.client, o.fakeMirror, mirror.NewCursor(), NewProgress(clk), o, clk, o.controller.options)
	for _, slice := range o.slices() {
		c.states.observe(serviceOf(&slice), &slice)
	}
	request := ctrl.Request{NamespacedName: client.ObjectKeyFromObject(service)}
	if result, err := c.Reconcile(t.Context(), request); err != nil || result.RequeueAfter == 0 {
		t.Errorf("reconcile: %v, %v", result, err)
	}
	o.hasAddresses("10.0.0.1")
	if err := o.client.Delete(t.Context(), service); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Reconcile(t.Context(), request); err != nil {
		t.Errorf("reconcile: %v", err)
	}
	o.hasAddresses()
}

// TestNothingIsTakenBeforeItArrived: while an endpoint can't be written where it moves to, it stays where it is; what just
// goes is not held up by that.
func TestNothingIsTakenBeforeItArrived(t *testing.T) {
	o := startWith(t, fixture.Node("catga", "a", "10.0.0.1"), fixture.Node("catga", "b", "10.0.0.2"))
	o.service()
	o.hasAddresses("10.0.0.1", "10.0.0.2")
	o.hasReason(rollcallv1alpha1.ReasonSynced)
	o.writes.take()
	o.writes.fail(func(r *http.Request) error {
		if r.Method == http.MethodPost {
			return errors.New("the wire is cut")
		}
		return nil
	})
	o.set(fixture.But(o.Node("", "catga.a"), fixture.Port(81)))
	eventually(t, func() error {
		if got := o.writes.take(); got["PUT endpointslices"] > 0 {
			t.Fatal("the endpoint was taken from its slice")
		} else if got["POST endpointslices"] == 0 {
			return errors.New("nothing was tried")
		}
		return nil
	})
	if got := o.addresses(); len(got) != 2 {
		t.Errorf("addresses are %v", got)
	}
	o.set(in(o.namespace, fixture.But(fixture.Node("catga", "c", "10.0.0.3"), fixture.Port(82))))
	o.remove("catga.b")
	o.hasAddresses("10.0.0.1")
	o.writes.fail(nil)
	o.hasAddresses("10.0.0.1", "10.0.0.3")
}

func TestTenThousand(t *testing.T) {
	nodes := fixture.Fleet(10_000)
	o := startWith(t, nodes...)
	o.service()
	o.hasEndpoints(len(nodes))
	o.hasReason(rollcallv1alpha1.ReasonSynced)
	if got := o.writes.take(); got["POST endpointslices"] != 100 || got["PATCH services/status"] != 1 || len(got) != 2 {
		t.Errorf("10,000 nodes at once cost %v, want 100 creates and the condition", got)
	}
	o.stop()

	o = startWith(t)
	o.service()
	o.hasReason(rollcallv1alpha1.ReasonNoNodes)
	for _, node := range nodes {
		o.set(in(o.namespace, node))
	}
	o.hasEndpoints(len(nodes))
	if got := len(o.slices()); got > 110 {
		t.Errorf("10,000 nodes one by one are in %d slices, want at most 110", got)
	}
}
