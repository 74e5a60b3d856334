package discoverednode

import (
	"context"
	"iter"
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/internal/todo"
)

// one is a Mirror with one node.
type one struct{ node *mirror.Node }

func (o *one) Node(string, string) *mirror.Node { return o.node }

func (o *one) Select(string, labels.Selector) iter.Seq[*mirror.Node] {
	return func(func(*mirror.Node) bool) {}
}

func (o *one) Settled(string, string) bool { return true }

func (o *one) Revision() uint64 { return 1 }

// Wait implements Slices.
func (o *one) Wait(context.Context, uint64, time.Duration) {}

// NodeWritten implements Metrics.
func (o *one) NodeWritten(*mirror.Node) {}

// rig is a controller over one node, whose DiscoveredNode exists.
type rig struct {
	*testing.T
	*Controller
	nodes  *one
	clock  *testclock.FakeClock
	writes int
	events *events.FakeRecorder
}

func newRig(t *testing.T, interval time.Duration) *rig {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := rollcallv1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, nodes: &one{healthy()}, clock: testclock.NewFakeClock(began), events: events.NewFakeRecorder(100)}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(registryOf(interval)).WithInterceptorFuncs(interceptor.Funcs{
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			r.writes++
			return c.Update(ctx, o, opts...)
		},
	}).Build()
	r.Controller = New(&API{Client: c, Live: c, FieldOwner: "rollcall"}, r.events, r.nodes, mirror.NewCursor(), r.nodes, r.nodes, r.clock, Limits{}, todo.New())
	r.reconcile()
	return r
}

func (r *rig) reconcile() reconcile.Result {
	r.Helper()
	result, err := r.Reconcile(r.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(r.object())})
	if err != nil {
		r.Fatal(err)
	}
	return result
}

// object returns the DiscoveredNode as it is, or its name if there is none.
func (r *rig) object() *rollcallv1alpha1.DiscoveredNode {
	r.Helper()
	dn := &rollcallv1alpha1.DiscoveredNode{}
	dn.Namespace, dn.Name = "fleet", "catga.web-1"
	if err := r.client.Get(r.Context(), client.ObjectKeyFromObject(dn), dn); client.IgnoreNotFound(err) != nil {
		r.Fatal(err)
	}
	return dn
}

// edit changes the DiscoveredNode as somebody else.
func (r *rig) edit(f func(*rollcallv1alpha1.DiscoveredNode)) {
	r.Helper()
	dn := r.object()
	f(dn)
	if err := r.client.Update(r.Context(), dn); err != nil {
		r.Fatal(err)
	}
	r.writes--
}

// update changes the node; a Node is never changed once it was handed out.
func (r *rig) update(f func(*mirror.Node)) {
	node := *r.nodes.node
	f(&node)
	r.nodes.node = &node
}

func (r *rig) count(counter string) {
	r.update(func(n *mirror.Node) { n.Metadata = map[string]string{"role": "web", "counter": counter} })
}

func (r *rig) wantWrites(n int, after string) {
	r.Helper()
	if r.writes != n {
		r.Errorf("%s there are %d writes, want %d", after, r.writes, n)
	}
}

// A counter in the metadata costs a write an interval, as a heartbeat does.
func TestACounterCostsAWriteAnInterval(t *testing.T) {
	r := newRig(t, time.Minute)
	for i := range 590 {
		r.clock.SetTime(began.Add(time.Duration(i) * time.Second))
		r.count(time.Duration(i).String())
		if rest := r.reconcile().RequeueAfter; rest <= 0 || rest > time.Minute {
			t.Fatalf("it is looked at again after %s", rest)
		}
	}
	r.wantWrites(9, "after ten minutes")
	r.update(func(n *mirror.Node) { n.Zone = "b" })
	r.reconcile()
	r.wantWrites(10, "after a change of the zone")
	if got := r.object().Spec.Metadata["counter"]; got != time.Duration(589).String() {
		t.Errorf("with it the counter %s was written", got)
	}
}

// A shorter statusInterval has all nodes of the registry looked at, and what waits is written within it. Other changes of the
// registry have none looked at.
func TestAShorterStatusInterval(t *testing.T) {
	r := newRig(t, time.Hour)
	r.count("2")
	r.reconcile()
	registry := registryOf(time.Hour)
	passes := func(change func(*rollcallv1alpha1.NodeRegistry)) bool {
		after := registry.DeepCopy()
		change(after)
		return relevant().Update(event.UpdateEvent{ObjectOld: registry, ObjectNew: after})
	}
	shorten := func(registry *rollcallv1alpha1.NodeRegistry) { registry.Spec.StatusInterval.Duration = time.Minute }
	for name, test := range map[string]struct {
		change func(*rollcallv1alpha1.NodeRegistry)
		want   bool
	}{
		"another interval": {shorten, true},
		"the default":      {func(registry *rollcallv1alpha1.NodeRegistry) { registry.Spec.StatusInterval = nil }, true},
		"another object":   {func(registry *rollcallv1alpha1.NodeRegistry) { registry.UID = "v" }, true},
		"another view":     {func(registry *rollcallv1alpha1.NodeRegistry) { registry.Spec.View = rollcallv1alpha1.ViewProblems }, true},
		"another label":    {func(registry *rollcallv1alpha1.NodeRegistry) { registry.Labels = map[string]string{"a": "b"} }, false},
		"another limit":    {func(registry *rollcallv1alpha1.NodeRegistry) { registry.Spec.MaxNodes = new(int32) }, false},
	} {
		if got := passes(test.change); got != test.want {
			t.Errorf("%s: the nodes are looked at: %t", name, got)
		}
	}
	stored := &rollcallv1alpha1.NodeRegistry{}
	if err := r.client.Get(t.Context(), client.ObjectKeyFromObject(registry), stored); err != nil {
		t.Fatal(err)
	}
	shorten(stored)
	if err := r.client.Update(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	r.writes = 0
	rest := r.reconcile().RequeueAfter
	if rest <= 0 || rest > time.Minute {
		t.Fatalf("it is looked at again after %s", rest)
	}
	r.clock.SetTime(began.Add(rest))
	r.reconcile()
	r.wantWrites(1, "within the interval")
}

// What somebody else changes is put back at once, although the node may change the same without a write.
func TestWhatOthersChangeIsPutBackAtOnce(t *testing.T) {
	r := newRig(t, time.Hour)
	r.edit(func(dn *rollcallv1alpha1.DiscoveredNode) { dn.Spec.Metadata["role"] = "db" })
	r.reconcile()
	r.wantWrites(1, "after an edit of the metadata")
	r.edit(func(dn *rollcallv1alpha1.DiscoveredNode) { dn.Spec.DisplayName = "mine" })
	r.reconcile()
	r.wantWrites(2, "after an edit of the display name")
	if spec := r.object().Spec; spec.Metadata["role"] != "web" || spec.DisplayName != "web 1" {
		t.Errorf("the object is %+v", spec)
	}
	// An annotation is nothing to put back, and no reason to write sooner what the node says later.
	r.edit(func(dn *rollcallv1alpha1.DiscoveredNode) { dn.Annotations = map[string]string{"mine": "stays"} })
	r.reconcile()
	r.count("2")
	r.reconcile()
	r.wantWrites(2, "after an annotation")
	// Neither is what was changed while no manager ran.
	r.schedule = newSchedule()
	r.edit(func(dn *rollcallv1alpha1.DiscoveredNode) { dn.Spec.DisplayName = "mine" })
	r.reconcile()
	r.wantWrites(2, "after a restart")
}

// there says whether the DiscoveredNode exists.
func (r *rig) there() bool {
	r.Helper()
	return r.object().ResourceVersion != ""
}

// view edits the view of the registry.
func (r *rig) view(view rollcallv1alpha1.View) {
	r.Helper()
	registry := registryOf(time.Hour)
	if err := r.client.Get(r.Context(), client.ObjectKeyFromObject(registry), registry); err != nil {
		r.Fatal(err)
	}
	registry.Spec.View = view
	if err := r.client.Update(r.Context(), registry); err != nil {
		r.Fatal(err)
	}
}

// change has the controller hear of the node as the Mirror has it.
func (r *rig) change(f func(*mirror.Node)) {
	r.Helper()
	before := r.nodes.node
	r.update(f)
	name := types.NamespacedName{Namespace: "fleet", Name: "catga.web-1"}
	r.views.change(map[types.NamespacedName]mirror.Change{name: {Old: before, New: r.nodes.node}}, r.clock.Now())
}

// With the view Problems the object goes with the problem, but never against a person's word.
func TestTheObjectOfAProblem(t *testing.T) {
	cordon := func(cordoned bool) func(*rollcallv1alpha1.DiscoveredNode) {
		return func(dn *rollcallv1alpha1.DiscoveredNode) { dn.Spec.Cordoned = cordoned }
	}
	r := newRig(t, time.Hour)
	r.view(rollcallv1alpha1.ViewProblems)
	r.edit(cordon(true))
	if r.reconcile(); !r.there() {
		t.Fatal("an object that a person has just cordoned is gone")
	}
	r.change(func(n *mirror.Node) { n.Cordoned = true })
	r.edit(cordon(false))
	if r.reconcile(); !r.there() {
		t.Fatal("the object of a node that is cordoned is gone")
	}
	r.change(func(n *mirror.Node) { n.Cordoned = false })
	rest := r.reconcile().RequeueAfter
	if !r.there() || rest <= 0 || rest > linger {
		t.Fatalf("after its problem the object is there: %t; it is looked at again after %s", r.there(), rest)
	}
	r.clock.SetTime(r.clock.Now().Add(rest))
	if r.reconcile(); r.there() {
		t.Fatal("a minute after its problem the object is there")
	}
	r.change(func(n *mirror.Node) { n.Phase = rollcallv1alpha1.NodeStale })
	if r.reconcile(); !r.there() {
		t.Fatal("there is no object of a node that is stale")
	}
	r.change(func(n *mirror.Node) { n.Phase = rollcallv1alpha1.NodeReady })
	r.clock.SetTime(r.clock.Now().Add(linger))
	r.reconcile()
	r.view(rollcallv1alpha1.ViewAll)
	if r.reconcile(); !r.there() {
		t.Fatal("with the view of all nodes there is no object")
	}
}

// What a person wrote since the cache has seen the object is not deleted with it.
func TestAnObjectIsHiddenAsItWasSeen(t *testing.T) {
	r := newRig(t, time.Hour)
	seen := r.object()
	r.edit(func(dn *rollcallv1alpha1.DiscoveredNode) { dn.Spec.Cordoned = true })
	if result, err := r.hide(t.Context(), client.ObjectKeyFromObject(seen), seen); err != nil || result.RequeueAfter != retry {
		t.Errorf("it ends with %+v, %v", result, err)
	}
	if !r.there() {
		t.Error("it is gone")
	}
}

// An object that a person made for a node that there is not stays as long as it cordons.
func TestAnObjectWithoutANode(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*rollcallv1alpha1.DiscoveredNode)
		stays  bool
	}{
		"a person's cordon": {func(dn *rollcallv1alpha1.DiscoveredNode) {
			dn.Status, dn.Spec.Cordoned = rollcallv1alpha1.DiscoveredNodeStatus{}, true
		}, true},
		"a person's, without": {func(dn *rollcallv1alpha1.DiscoveredNode) {
			dn.Status = rollcallv1alpha1.DiscoveredNodeStatus{}
		}, false},
		"a node that was cordoned": {func(dn *rollcallv1alpha1.DiscoveredNode) { dn.Spec.Cordoned = true }, false},
		"a node that was":          {func(*rollcallv1alpha1.DiscoveredNode) {}, false},
	} {
		r := newRig(t, time.Hour)
		r.edit(test.change)
		r.nodes.node = nil
		if r.reconcile(); r.there() != test.stays {
			t.Errorf("%s: the object is there: %t", name, r.there())
		}
	}
}

// Another view deletes objects one after the other, and those that are needed after all not at all.
func TestObjectsAreHiddenInTurn(t *testing.T) {
	v, now := newViews(Limits{}, todo.New()), began
	name := func(i int) types.NamespacedName { return types.NamespacedName{Name: strconv.Itoa(i)} }
	for i := range 100 {
		if wait := v.turn(name(i), now); wait != time.Duration(i)*hidePace {
			t.Fatalf("the turn of the %d. is after %s", i, wait)
		}
	}
	for i := 1; i < 100; i++ {
		now = now.Add(hidePace)
		if wait := v.turn(name(i), now); wait > 0 {
			t.Fatalf("when its turn has come the %d. waits for %s", i, wait)
		}
	}
	if len(v.turns) > 0 {
		t.Errorf("%d turns are remembered", len(v.turns))
	}
}

// A key that gets a second writer has an Event, once until it has one writer again.
func TestASharedKeyHasAnEvent(t *testing.T) {
	r := newRig(t, time.Hour)
	told := func() int {
		n := len(r.events.Events)
		for range n {
			<-r.events.Events
		}
		return n
	}
	for i, step := range []struct {
		shared bool
		events int
	}{{false, 0}, {true, 1}, {true, 0}, {false, 0}, {true, 1}} {
		r.update(func(n *mirror.Node) { n.Shared = step.shared })
		r.reconcile()
		if got := told(); got != step.events {
			t.Errorf("%d: there are %d Events, want %d", i, got, step.events)
		}
	}
	r.wantWrites(0, "for a shared key")
	// It comes out of the registry's budget.
	all := 0
	for i := range 4 * burst {
		r.update(func(n *mirror.Node) { n.Shared = i%2 == 0 })
		r.reconcile()
		all += told()
	}
	if all > burst {
		t.Errorf("a key that comes and goes has %d Events at once", all)
	}
}
