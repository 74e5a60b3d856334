package mainjob

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/manager"
)

// problemsOnly is the view of the nodes that a person should look at.
func problemsOnly(s *rollcallv1alpha1.NodeRegistrySpec) { s.View = rollcallv1alpha1.ViewProblems }

// showing bounds the view Problems to so many objects, which go soon after the problem is over.
func showing(objects int) func(*rest.Config, *manager.Options) {
	return func(_ *rest.Config, o *manager.Options) {
		o.View.Objects, o.View.Linger = objects, 200*time.Millisecond
	}
}

// setView edits the view of the NodeRegistry catga.
func (r *rig) setView(view rollcallv1alpha1.View) {
	r.Helper()
	registry := &rollcallv1alpha1.NodeRegistry{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "catga"}}
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"view":%q}}`, view))
	if err := r.API.Patch(r.Context(), registry, patch); err != nil {
		r.Fatal(err)
	}
}

// visible returns the IDs of the nodes that have a DiscoveredNode, sorted.
func (r *rig) visible() []string {
	r.Helper()
	ids := []string{}
	for _, dn := range r.nodes() {
		ids = append(ids, dn.Spec.NodeID)
	}
	slices.Sort(ids)
	return ids
}

// shows says whether exactly those nodes have a DiscoveredNode.
func (r *rig) shows(nodes ...int) func() bool {
	want := []string{}
	for _, n := range nodes {
		want = append(want, nodeID(n))
	}
	slices.Sort(want)
	return func() bool { return slices.Equal(r.visible(), want) }
}

// counts returns what the NodeRegistry says of its problems.
func (r *rig) counts() (problems, notShown int32) {
	r.Helper()
	registry := &rollcallv1alpha1.NodeRegistry{}
	if err := r.API.Get(r.Context(), client.ObjectKey{Namespace: r.Namespace, Name: "catga"}, registry); err != nil {
		r.Fatal(err)
	}
	if registry.Status.Nodes == nil {
		return 0, 0
	}
	return registry.Status.Nodes.Problems, registry.Status.Nodes.NotShown
}

func (r *rig) wantCounts(problems, notShown int32) {
	r.Helper()
	r.Within(patience, fmt.Sprintf("%d problems of which %d are not shown", problems, notShown), func() bool {
		p, n := r.counts()
		return p == problems && n == notShown
	})
}

// spoil writes a record that is refused, as a heartbeat.
func (r *rig) spoil(n int) {
	r.Helper()
	if _, err := r.kv.PutString(r.Context(), "node."+nodeID(n), `{"NodeId":"`+nodeID(n)+`"}`); err != nil {
		r.Fatal(err)
	}
}

// apply writes the DiscoveredNode of a node as a person does who has none to edit.
func (r *rig) apply(n int, cordoned bool) {
	r.Helper()
	dn := &rollcallv1alpha1.DiscoveredNode{
		TypeMeta:   metav1.TypeMeta{APIVersion: rollcallv1alpha1.GroupVersion.String(), Kind: "DiscoveredNode"},
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "catga." + nodeID(n)},
		Spec:       rollcallv1alpha1.DiscoveredNodeSpec{RegistryName: "catga", Key: "node." + nodeID(n), NodeID: nodeID(n), Cordoned: cordoned},
	}
	r.Create(dn)
}

func (r *rig) uncordon(n int) {
	r.Helper()
	dn := &rollcallv1alpha1.DiscoveredNode{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "catga." + nodeID(n)}}
	if err := r.API.Patch(r.Context(), dn, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"cordoned":false}}`))); err != nil {
		r.Fatal(err)
	}
}

// endpoints watches the slices of the Service web and knows which addresses were not ready at some moment, after they had been.
type endpoints struct {
	mu     sync.Mutex
	slices map[string][]string
	lost   map[string]bool
	err    error
}

// watchEndpoints watches until the test ends.
func (r *rig) watchEndpoints() *endpoints {
	r.Helper()
	clients, err := kubernetes.NewForConfig(env.Config)
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.Context())
	w, err := clients.DiscoveryV1().EndpointSlices(r.Namespace).Watch(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=web"})
	if err != nil {
		r.Fatal(err)
	}
	e := &endpoints{slices: map[string][]string{}, lost: map[string]bool{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range w.ResultChan() {
			e.see(event)
		}
	}()
	r.Cleanup(func() { cancel(); w.Stop(); <-done })
	return e
}

func (e *endpoints) see(event watch.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	slice, is := event.Object.(*discoveryv1.EndpointSlice)
	if !is {
		e.err = fmt.Errorf("the watch says %+v", event.Object)
		return
	}
	before := e.slices[slice.Name]
	delete(e.slices, slice.Name)
	if event.Type != watch.Deleted {
		for _, endpoint := range slice.Endpoints {
			if ptr.Deref(endpoint.Conditions.Ready, true) {
				e.slices[slice.Name] = append(e.slices[slice.Name], endpoint.Addresses...)
			}
		}
	}
	now := map[string]bool{}
	for addresses := range maps.Values(e.slices) {
		for _, address := range addresses {
			now[address] = true
		}
	}
	for _, address := range before {
		if !now[address] {
			e.lost[address] = true
		}
	}
}

// take returns who was lost since it was last called.
func (e *endpoints) take(t *testing.T) []string {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		t.Fatal(e.err)
	}
	lost := slices.Sorted(maps.Keys(e.lost))
	e.lost = map[string]bool{}
	return lost
}

func (r *rig) wantNoneLost(e *endpoints, while string) {
	r.Helper()
	if lost := e.take(r.T); len(lost) > 0 {
		r.Errorf("%s %d endpoints left: %v", while, len(lost), lost)
	}
}

// A fleet that is well has full slices and not one object.
func TestAViewOfProblemsIsEmpty(t *testing.T) {
	const many = 3000
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry(problemsOnly)
	r.service("web")
	m := r.startReady()
	r.beatAll(0, many)
	r.Within(patience, "all endpoints", r.serves(0, many))
	m.Quiet(patience)
	if shown := r.visible(); len(shown) > 0 {
		t.Errorf("%d nodes have an object", len(shown))
	}
	r.wantCounts(0, 0)
	r.beatAll(0, many)
	m.Quiet(patience)
	if shown := r.visible(); len(shown) > 0 {
		t.Errorf("after a heartbeat %d nodes have an object", len(shown))
	}
}

// An object comes with a node's problem and goes after it.
func TestProblemsComeAndGo(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry(problemsOnly)
	r.service("web")
	r.startReady(showing(5))
	r.beatAll(0, 20)
	r.Within(patience, "all endpoints", r.serves(0, 20))
	seen := r.watchEndpoints()
	r.spoil(3)
	r.Within(patience, "the object of the node that is refused", r.shows(3))
	r.wantCounts(1, 0)
	if dn := r.node(3); dn.Spec.Addresses[0] != address(3) || dn.Status.Phase != rollcallv1alpha1.NodeReady {
		t.Errorf("the last good record is %+v", dn)
	}
	for n := 10; n < 20; n++ {
		r.spoil(n)
	}
	r.wantCounts(11, 6)
	r.Within(patience, "five objects", func() bool { return len(r.nodes()) == 5 && r.node(3) != nil })
	five := r.visible()
	for n := 4; n < 10; n++ {
		r.spoil(n)
	}
	r.wantCounts(17, 12)
	if now := r.visible(); !slices.Equal(now, five) {
		t.Errorf("with more problems %v are shown in the place of %v", now, five)
	}
	r.beatAll(3, 20)
	r.wantCounts(0, 0)
	r.Within(patience, "no object", r.shows())
	r.wantNoneLost(seen, "while records were refused")
	r.unregister(0)
	r.Within(patience, "nodes to leave as always", r.serves(1, 20))
}

// Who wants to cordon a node that has no object creates it; who is cordoned is shown, however many there are.
func TestCordonByCreating(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry(problemsOnly)
	r.service("web")
	m := r.startReady(showing(2))
	r.beatAll(0, 6)
	r.Within(patience, "all endpoints", r.serves(0, 6))
	r.spoil(5)
	r.Within(patience, "its object", r.shows(5))
	for n := range 3 {
		r.apply(n, true)
	}
	r.Within(patience, "those that are not cordoned", r.serves(3, 6))
	r.Within(patience, "the objects of those that are", r.shows(0, 1, 2))
	r.wantCounts(4, 1)
	r.Within(patience, "the objects to say so", func() bool {
		dn := r.node(0)
		return dn.Status.Phase == rollcallv1alpha1.NodeReady && len(dn.OwnerReferences) == 1 && dn.Spec.Addresses[0] == address(0)
	})
	r.apply(4, false)
	r.Within(patience, "an object that says nothing to go", r.shows(0, 1, 2))

	// The cordon outlives the object, and the manager.
	if err := r.API.Delete(r.Context(), r.node(1)); err != nil {
		t.Fatal(err)
	}
	r.Within(patience, "the object to be back", r.shows(0, 1, 2))
	m.Stop()
	m = r.startReady(showing(2))
	r.beatAll(0, 3)
	m.Quiet(patience)
	if !r.serves(3, 6)() || !r.shows(0, 1, 2)() {
		t.Errorf("after a restart %v are served and %v shown", r.ready("web"), r.visible())
	}
	r.uncordon(0)
	r.uncordon(1)
	r.uncordon(2)
	r.Within(patience, "those that are uncordoned", r.serves(0, 6))
	r.Within(patience, "their objects to go", r.shows(5))

	// Nobody has that key yet.
	r.apply(6, true)
	r.beat(7)
	r.Within(patience, "another node", func() bool { return slices.Contains(r.ready("web"), address(7)) })
	m.Quiet(patience)
	if dn := r.node(6); dn == nil || !dn.Spec.Cordoned {
		t.Fatalf("the object of a node that is to come is %+v", dn)
	}
	r.beat(6)
	r.Within(patience, "the node that was cordoned before it came", func() bool {
		dn := r.node(6)
		return dn.Status.Phase == rollcallv1alpha1.NodeReady && len(dn.Spec.Addresses) == 1
	})
	if slices.Contains(r.ready("web"), address(6)) {
		t.Error("it takes traffic")
	}
	r.uncordon(6)
	r.Within(patience, "all endpoints", r.serves(0, 8))
}

// Another view moves no endpoint and takes no cordon back.
func TestAnotherView(t *testing.T) {
	const many = 60
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web")
	r.startReady(showing(5))
	r.beatAll(0, many)
	r.Within(patience, "all objects", func() bool { return len(r.nodes()) == many })
	for n := range 7 {
		r.cordon(n)
	}
	r.Within(patience, "those that are not cordoned", r.serves(7, many))
	seen := r.watchEndpoints()
	for range 2 {
		r.setView(rollcallv1alpha1.ViewProblems)
		r.Within(patience, "the cordoned nodes alone", r.shows(0, 1, 2, 3, 4, 5, 6))
		r.wantCounts(7, 0)
		r.setView(rollcallv1alpha1.ViewAll)
		r.Within(patience, "all objects", func() bool { return len(r.nodes()) == many })
		r.wantCounts(0, 0)
	}
	r.wantNoneLost(seen, "with another view")
	if !r.serves(7, many)() {
		t.Errorf("%d endpoints are ready, want %d", len(r.ready("web")), many-7)
	}
}

// keepAlive has some nodes heartbeat until the test ends.
func (r *rig) keepAlive(from, to int) {
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(500 * time.Millisecond)
		defer ticker.Stop()
		for {
			for n := from; n < to; n++ {
				// One that fails is followed by another.
				_, _ = r.kv.PutString(ctx, "node."+nodeID(n), fmt.Sprintf(`{"NodeId":%q,"Endpoint":"http://%s:8080","Metadata":{"role":"web"}}`, nodeID(n), address(n)))
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
	r.Cleanup(func() { cancel(); <-done })
}

// A restart with no objects to remember by costs no endpoint, nor does a record that is refused meanwhile, for as long as there may
// have been a better one.
func TestARestartWithoutObjects(t *testing.T) {
	const many, ttl, grace = 30, 10 * time.Second, 2 * time.Second
	r := newRig(t)
	r.bucket(ttl)
	r.registry(problemsOnly, func(s *rollcallv1alpha1.NodeRegistrySpec) {
		s.Liveness.ReconnectGrace = &metav1.Duration{Duration: grace}
	})
	r.service("web")
	m := r.startReady(showing(3))
	r.keepAlive(2, many)
	r.beatAll(0, 2)
	r.Within(patience, "all endpoints", r.serves(0, many))
	seen := r.watchEndpoints()
	m.Stop()
	r.spoil(0)
	r.unregister(1)
	began := time.Now()
	r.startReady(showing(3))
	r.Within(patience, "the object of the node that is refused", r.shows(0))
	// It heartbeats, but says nothing that can be read: TTL + grace at most.
	r.Within(patience+ttl+grace, "the nodes to leave that are gone or can't be read", func() bool {
		r.spoil(0)
		return r.serves(2, many)()
	})
	if lasted := time.Since(began); lasted < ttl+grace {
		t.Errorf("whose record is refused had its endpoint for %s, want %s", lasted, ttl+grace)
	}
	r.wantOnly(seen.take(t), 0, 1)
	r.beat(0)
	r.Within(patience, "it to be back", func() bool { return slices.Contains(r.ready("web"), address(0)) })
}

// wantOnly checks that nobody was lost but those nodes.
func (r *rig) wantOnly(lost []string, nodes ...int) {
	r.Helper()
	for _, n := range nodes {
		lost = slices.DeleteFunc(lost, func(a string) bool { return a == address(n) })
	}
	if len(lost) > 0 {
		r.Errorf("these left as well: %v", lost)
	}
}
