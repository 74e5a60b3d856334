package mirror

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// begin returns a Mirror that begins with what is written down.
func begin(t *testing.T, p Policy, h *Held, nodes ...*rollcallv1alpha1.DiscoveredNode) *fleet {
	t.Helper()
	f := &fleet{T: t, clock: clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))}
	f.Mirror = newMirror(types.NamespacedName{Namespace: "ns", Name: "reg"}, p, h, nodes, f.clock, f)
	f.start()
	return f
}

// What nobody knows stays until the bucket is listed and, where not every node had an object, for as long as a node may come back whose
// good record is forgotten, TTL + grace at most.
func TestWhatNobodyKnows(t *testing.T) {
	const most = 2 * testTTL
	partial := testPolicy
	partial.Partial = true
	refusedNow := func(f *fleet) { f.put("node.n1", "{") }
	known := written(&Node{Namespace: "ns", Registry: "reg", Name: "reg.n1", Key: "node.n1", ID: "n1", Phase: rollcallv1alpha1.NodeInvalid}, time.Now())
	known.Status.Conditions[1].Status, known.Status.Conditions[1].Reason = metav1.ConditionFalse, rollcallv1alpha1.ReasonInvalidRecord
	full := func(f *fleet) kv.Bucket {
		b := f.bucket(testTTL)
		b.Store.Refusal = kv.StoreFull
		return b
	}
	for name, test := range map[string]struct {
		policy  Policy
		objects []*rollcallv1alpha1.DiscoveredNode
		// listed is what the first listing shows, then what comes after it.
		listed, then func(*fleet)
		// after is when it may be removed, from the end of that.
		after time.Duration
	}{
		"nothing is refused":        {partial, nil, func(f *fleet) { f.beat(1) }, nil, 0},
		"all have an object":        {testPolicy, nil, refusedNow, nil, 0},
		"it is known to be refused": {partial, []*rollcallv1alpha1.DiscoveredNode{known}, refusedNow, nil, 0},
		"refused":                   {partial, nil, refusedNow, nil, testTTL}, // It does not heartbeat.
		"refused, and heartbeats": {partial, nil, refusedNow, func(f *fleet) {
			for range 4 {
				f.pass(testTTL / 2)
				f.put("node.n1", "{")
			}
		}, 0},
		"refused, and heartbeats for a while": {partial, nil, refusedNow, func(f *fleet) {
			f.pass(testTTL / 2)
			f.put("node.n1", "{")
		}, testTTL},
		"refused, then accepted":     {partial, nil, refusedNow, func(f *fleet) { f.beat(1) }, 0},
		"refused, then unregistered": {partial, nil, refusedNow, func(f *fleet) { f.unregister(1) }, 0},
		"the bucket is full": {partial, nil, func(f *fleet) { f.Synced(full(f)) }, func(f *fleet) {
			f.pass(4 * most)
			f.Bucket(f.bucket(testTTL))
		}, most},
	} {
		t.Run(name, func(t *testing.T) {
			f := begin(t, test.policy, nil, test.objects...)
			if f.Settled("reg.x") {
				t.Fatal("before the listing it may be removed")
			}
			f.Listing(kv.CauseStart)
			f.Arrived(f.clock.Now())
			test.listed(f)
			if !f.State().Listed {
				f.Synced(f.bucket(testTTL))
			}
			told := 1 // With the listing, and once more if it can't be removed then.
			if !f.Settled("reg.x") {
				told++
			}
			if test.then != nil {
				test.then(f)
			}
			if test.after > 0 {
				f.pass(test.after - time.Second)
				if f.Settled("reg.x") || f.settled > 1 {
					t.Fatal("it may be removed too early")
				}
				f.pass(time.Second)
			}
			if !f.Settled("reg.x") || f.settled != told {
				t.Errorf("it may be removed: %t, which was told %d times, want %d", f.Settled("reg.x"), f.settled, told)
			}
		})
	}
}

// While it is not settled what there was, a node that unregisters is gone nevertheless.
func TestWhoLeavesMeanwhileIsGone(t *testing.T) {
	p := testPolicy
	p.Partial = true
	f := begin(t, p, nil)
	f.Listing(kv.CauseStart)
	f.Arrived(f.clock.Now())
	f.put("node.n1", "{")
	f.beat(2)
	f.Synced(f.bucket(testTTL))
	if n := f.Node("reg.n1"); n == nil || !n.Forgotten {
		t.Errorf("of %+v nothing was forgotten", n)
	}
	if n := f.Node("reg.n2"); n == nil || n.Forgotten {
		t.Errorf("of %+v a good record was forgotten", n)
	}
	f.unregister(2)
	if !f.Settled("reg.n2") || f.Settled("reg.n3") {
		t.Errorf("who unregistered may be removed: %t; of whom nothing is known: %t", f.Settled("reg.n2"), f.Settled("reg.n3"))
	}
}

// Who unregistered while no manager ran has its key's delete marker in the listing, and needs no record to be known for it.
func TestWhoLeftBeforeIsGone(t *testing.T) {
	p := testPolicy
	p.Partial = true
	f := begin(t, p, nil)
	f.Listing(kv.CauseStart)
	f.Arrived(f.clock.Now())
	f.put("node.n1", "{")
	f.unregister(2)
	if f.Settled("reg.n2") {
		t.Error("it may be removed before the listing is complete: it may be in it again")
	}
	before := f.settled
	f.Synced(f.bucket(testTTL))
	if !f.Settled("reg.n2") || f.Settled("reg.n3") {
		t.Errorf("who unregistered may be removed: %t; of whom nothing is known: %t", f.Settled("reg.n2"), f.Settled("reg.n3"))
	}
	f.unregister(3)
	if !f.Settled("reg.n3") {
		t.Error("of whom nothing was known may not be removed after it unregistered")
	}
	if f.settled != before+2 {
		t.Errorf("it was said %d times to ask again, not with the listing and for each who left", f.settled-before)
	}
}

// Nodes that were held before a restart are not the only ones: of the others nobody knows.
func TestHeldOverARestart(t *testing.T) {
	p := testPolicy
	p.Partial = true
	f := newFleet(t, p)
	for n := range 12 {
		f.beat(n)
	}
	f.pass(2 * testTTL)
	f.wantGuard(true)
	h := f.State().Held
	g := begin(t, p, h, written(f.Node("reg.n0"), time.Now()), written(f.Node("reg.n1"), time.Now()), written(f.Node("reg.n2"), time.Now()))
	g.list(kv.CauseStart)
	g.pass(4 * testTTL)
	if g.wantGuard(true); g.Settled("reg.n9") {
		t.Error("while the guard holds those that are known, the others may be removed")
	}
	if _, ok := g.AcceptExpiry(h.Since); !ok {
		t.Fatal("the hold can't be accepted")
	}
	g.pass(2 * testTTL)
	if !g.Settled("reg.n9") {
		t.Error("after the acceptance they may not be removed")
	}
}

// A person cordons a node that is to come, and takes that back.
func TestACordonAwaitsItsNode(t *testing.T) {
	object := func(cordoned bool) *rollcallv1alpha1.DiscoveredNode {
		return &rollcallv1alpha1.DiscoveredNode{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "reg.n1"},
			Spec: rollcallv1alpha1.DiscoveredNodeSpec{
				RegistryName: "reg", Key: "node.n1", NodeID: "n1", Addresses: []string{"10.9.9.9"}, Cordoned: cordoned,
			},
		}
	}
	for name, test := range map[string]struct {
		objects []*rollcallv1alpha1.DiscoveredNode
		words   func(*fleet)
		want    bool
	}{
		"nobody":             {nil, func(*fleet) {}, false},
		"cordoned":           {nil, func(f *fleet) { f.SetCordoned("reg.n1", true) }, true},
		"another one":        {nil, func(f *fleet) { f.SetCordoned("reg.n2", true) }, false},
		"taken back":         {nil, func(f *fleet) { f.SetCordoned("reg.n1", true); f.SetCordoned("reg.n1", false) }, false},
		"deleted":            {nil, func(f *fleet) { f.SetCordoned("reg.n1", true); f.ForgetCordon("reg.n1") }, false},
		"before the start":   {[]*rollcallv1alpha1.DiscoveredNode{object(true)}, func(*fleet) {}, true},
		"an object, no word": {[]*rollcallv1alpha1.DiscoveredNode{object(false)}, func(*fleet) {}, false},
	} {
		f := begin(t, testPolicy, nil, test.objects...)
		if n := f.Node("reg.n1"); n != nil {
			t.Errorf("%s: an object that a person made is a node: %+v", name, n)
		}
		test.words(f)
		f.take()
		f.list(kv.CauseStart, 1)
		if n := f.Node("reg.n1"); n == nil || n.Cordoned != test.want {
			t.Errorf("%s: the node is %+v", name, n)
		}
		for _, c := range f.take() {
			if c.New.Cordoned != test.want {
				t.Errorf("%s: the node was told to be cordoned: %t", name, c.New.Cordoned)
			}
		}
		f.ForgetCordon("reg.n1")
		if n := f.Node("reg.n1"); n.Cordoned != test.want {
			t.Errorf("%s: the deletion of its object is an uncordon", name)
		}
	}
}
