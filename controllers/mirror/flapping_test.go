package mirror

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

const flapper = "node.n1"

// say writes the record of the node that flaps.
func say(f *fleet, host, port, rest string) {
	f.put(flapper, fmt.Sprintf(`{"NodeId":"n1","Endpoint":"http://%s:%s"%s}`, host, port, rest))
}

// web is what follows in a record of a node with the role web.
const web = `,"Metadata":{"role":"web"}`

// flaps are what a node may do all the time: on and off in turn.
var flaps = []struct {
	name    string
	on, off func(f *fleet)
	// lost is true if n has nothing that off takes away.
	lost func(n *Node) bool
	// kept is true if the node must not lose its traffic.
	kept bool
}{
	{
		name: "registers", on: func(f *fleet) { say(f, "10.0.0.1", "80", web) }, off: func(f *fleet) { f.unregister(1) },
		lost: func(n *Node) bool { return n == nil },
	},
	{
		name: "drains", on: func(f *fleet) { say(f, "10.0.0.1", "80", web) }, off: func(f *fleet) { say(f, "10.0.0.1", "80", web+`,"Draining":true`) },
		lost: func(n *Node) bool { return n.Traffic() <= TrafficTerminating },
	},
	{
		name: "moves", on: func(f *fleet) { say(f, "10.0.0.1", "80", web) }, off: func(f *fleet) { say(f, "10.0.0.2", "80", web) },
		lost: func(n *Node) bool { return !shows(n, "10.0.0.1", 80) },
	},
	{
		name: "changes its port", on: func(f *fleet) { say(f, "10.0.0.1", "80", web) }, off: func(f *fleet) { say(f, "10.0.0.1", "81", web) },
		lost: func(n *Node) bool { return !shows(n, "10.0.0.1", 80) },
	},
	{
		name: "gives an address that is refused", on: func(f *fleet) { say(f, "10.0.0.1", "80", web) }, off: func(f *fleet) { say(f, "127.0.0.1", "80", web) },
		lost: func(n *Node) bool { return n.Traffic() == TrafficNone },
	},
	{
		name: "is cordoned", on: func(f *fleet) { say(f, "10.0.0.1", "80", web); f.SetCordoned("reg.n1", false) },
		off: func(f *fleet) { f.SetCordoned("reg.n1", true) }, lost: func(n *Node) bool { return n.Traffic() <= TrafficNotReady },
	},
	{
		name: "changes a label", on: func(f *fleet) { say(f, "10.0.0.1", "80", web) }, off: func(f *fleet) { say(f, "10.0.0.1", "80", `,"Metadata":{"role":"db"}`) },
		lost: func(n *Node) bool { return n.Labels["role"] == "db" }, kept: true,
	},
	{
		name: "writes what is refused", on: func(f *fleet) { say(f, "10.0.0.1", "80", web) }, off: func(f *fleet) { f.put(flapper, "?") },
		lost: func(n *Node) bool { return n.Refusal.Reason != "" }, kept: true,
	},
	{
		name: "changes its zone", on: func(f *fleet) { say(f, "10.0.0.1", "80", web+`,"Zone":"a"`) }, off: func(f *fleet) { say(f, "10.0.0.1", "80", web+`,"Zone":"b"`) },
		lost: func(*Node) bool { return true }, kept: true,
	},
}

// shows returns true if a Service may have an endpoint of the node there.
func shows(n *Node, address string, port int32) bool {
	return n.Traffic() != TrafficNone && n.Addresses[0].String() == address &&
		slices.ContainsFunc(n.Ports, func(p record.Port) bool { return p.Port == port })
}

// TestFlapping: what a node loses counts at once, however often that is; what it gains has a budget; and in the end it is what its
// record says.
func TestFlapping(t *testing.T) {
	for _, tt := range flaps {
		for _, last := range []string{"on", "off"} {
			t.Run(tt.name+", in the end "+last, func(t *testing.T) {
				f := newFleet(t, testPolicy)
				tt.on(f)
				f.take()
				// The burst, and what comes after it, hundreds of times a second.
				flip(f, 400*time.Millisecond, tt.on, tt.off, tt.lost, tt.kept)
				f.take()
				const steady = 20
				flip(f, steady*time.Second, tt.on, tt.off, tt.lost, tt.kept)
				published := f.take()
				if most := steady + 2; told(published) > most {
					t.Errorf("changed %d times in %d s, want at most %d", told(published), steady, most)
				}
				if told(published) < steady/2 {
					t.Errorf("changed %d times in %d s: it never gets what it gains", told(published), steady)
				}
				if r := f.State().Records; r.Flapping != 1 || r.Flaps != flapper {
					t.Errorf("%d keys flap, such as %q", r.Flapping, r.Flaps)
				}
				tt.on(f)
				if last == "off" {
					tt.off(f)
				}
				f.pass(3 * time.Second)
				if got, want := f.Node("reg.n1"), steadily(t, tt.on, tt.off, last); !alikeBut(got, want) {
					t.Errorf("is %+v, want %+v", got, want)
				}
				f.pass((maxChanges + 2) * time.Second)
				if r := f.State().Records; r.Flapping != 0 || len(f.table.budget.accounts) > 0 {
					t.Errorf("%d keys flap, %d accounts are kept", r.Flapping, len(f.table.budget.accounts))
				}
			})
		}
	}
}

// steadily returns what a node is that only does what another one does last.
func steadily(t *testing.T, on, off func(*fleet), last string) *Node {
	t.Helper()
	f := newFleet(t, testPolicy)
	on(f)
	if last == "off" {
		off(f)
	}
	return f.Node("reg.n1")
}

// alikeBut returns true if both nodes look the same, but for the remark that two writers seem to write the key.
func alikeBut(a, b *Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	shared := *b
	shared.Shared, shared.Remarks = a.Shared, a.Remarks
	return a.same(&shared)
}

// flip has a node change hundreds of times a second.
func flip(f *fleet, d time.Duration, on, off func(*fleet), lost func(*Node) bool, kept bool) {
	f.Helper()
	for began := f.clock.Now(); f.clock.Since(began) < d; {
		on(f)
		f.clock.Step(2 * time.Millisecond)
		f.Arrived(f.clock.Now())
		f.read()
		off(f)
		n := f.Node("reg.n1")
		if !lost(n) {
			f.Fatalf("what it lost is shown: %+v", n)
		}
		if kept && (n == nil || n.Traffic() != TrafficReady) {
			f.Fatalf("it lost its traffic: %+v", n)
		}
		f.clock.Step(2 * time.Millisecond)
	}
}

// told counts the changes that are more than one of labels alone.
func told(changes []Change) (n int) {
	for _, c := range changes {
		if c.Old == nil || c.New == nil || !c.Old.Flapping || !c.New.Flapping || !c.Old.reaches(c.New) {
			n++
		}
	}
	return n
}

// TestFlappingSays: a node that waits says why, and what it waits with.
func TestFlappingSays(t *testing.T) {
	f := newFleet(t, testPolicy)
	for n := range maxChanges + 1 {
		say(f, fmt.Sprintf("10.0.0.%d", n+1), "80", web)
	}
	f.wantReason("reg.n1", rollcallv1alpha1.ReasonHeartbeating)
	say(f, "10.0.0.100", "80", web)
	f.wantReason("reg.n1", rollcallv1alpha1.ReasonFlapping)
	if n := f.Node("reg.n1"); n.Traffic() != TrafficNone || n.Message != flapping {
		t.Errorf("is %+v", n)
	}
	f.beat(2)
	f.want(2, rollcallv1alpha1.NodeReady) // Nobody else pays.
	f.pass(2 * time.Second)
	f.wantReason("reg.n1", rollcallv1alpha1.ReasonHeartbeating)
	if n := f.Node("reg.n1"); !shows(n, "10.0.0.100", 80) {
		t.Errorf("is %+v", n)
	}
}

// TestAHeldNodeKeepsItsTraffic: that it is over its budget when it heartbeats again is no reason to lose it.
func TestAHeldNodeKeepsItsTraffic(t *testing.T) {
	held := &Node{Phase: rollcallv1alpha1.NodeStale, Reason: rollcallv1alpha1.ReasonHeld, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}
	back := &Node{Phase: rollcallv1alpha1.NodeReady, Reason: rollcallv1alpha1.ReasonHeartbeating, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}
	if n := back.within(held); n.Traffic() != TrafficReady || n.Phase != rollcallv1alpha1.NodeReady {
		t.Errorf("is %+v", n)
	}
}

// TestFlappingKeepsTheRest: of several addresses and ports only the one that is new waits.
func TestFlappingKeepsTheRest(t *testing.T) {
	f := newFleet(t, testPolicy)
	both := func(four, port string) string {
		return fmt.Sprintf(`{"NodeId":"n1","Addresses":[%q,"2001:db8::1"],"Ports":[{"Name":"http","Port":80},{"Name":"admin","Port":%s}]}`, four, port)
	}
	for n := range maxChanges + 1 {
		f.put(flapper, both(fmt.Sprintf("10.0.0.%d", n+1), strconv.Itoa(9000+n)))
	}
	f.put(flapper, both("10.0.0.100", "9100"))
	n := f.Node("reg.n1")
	if n == nil || n.Traffic() != TrafficReady || len(n.Addresses) != 1 || !n.Addresses[0].Is6() || len(n.Ports) != 1 || n.Ports[0].Port != 80 {
		t.Errorf("is %+v", n)
	}
	f.pass(3 * time.Second)
	if n := f.Node("reg.n1"); len(n.Addresses) != 2 || len(n.Ports) != 2 || n.Addresses[0].String() != "10.0.0.100" {
		t.Errorf("is %+v", n)
	}
}

// TestOrdinaryLifeMeetsNoBudget: what happens to nodes in ordinary operation counts at once.
func TestOrdinaryLifeMeetsNoBudget(t *testing.T) {
	draining := func(f *fleet) { say(f, "10.0.0.1", "80", web+`,"Draining":true`) }
	up := func(f *fleet) { say(f, "10.0.0.1", "80", web) }
	down := func(f *fleet) { f.unregister(1) }
	elsewhere := func(f *fleet) { say(f, "10.0.0.2", "81", web) }
	for _, tt := range []struct {
		name  string
		steps []func(*fleet)
		times int
		each  time.Duration
	}{
		{"three rolling restarts at once", []func(*fleet){draining, down, up}, 3, 0},
		{"a restart every four seconds", []func(*fleet){draining, down, up}, 100, 4 * time.Second},
		{"a deployment that moves between two places", []func(*fleet){up, elsewhere}, 4, 0},
		{"Draining toggled every two seconds", []func(*fleet){draining, up}, 100, 2 * time.Second},
		{"registered again, in vain, by KeepAlive", []func(*fleet){up}, 1000, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFleet(t, testPolicy)
			for range tt.times {
				for _, step := range tt.steps {
					step(f)
					if n := f.Node("reg.n1"); n != nil && n.Flapping {
						t.Fatalf("is %+v", n)
					}
				}
				if n := f.Node("reg.n1"); n == nil || n.Traffic() != TrafficReady {
					t.Fatalf("is %+v", n)
				}
				f.pass(tt.each)
			}
		})
	}
	t.Run("a counter in the load, three times a second", func(t *testing.T) {
		f := newFleet(t, testPolicy)
		for n := range 1000 {
			say(f, "10.0.0.1", "80", fmt.Sprintf(`%s,"Load":%d`, web, n))
			f.pass(333 * time.Millisecond)
		}
		if len(f.table.budget.accounts) > 0 {
			t.Error("it spent some of its budget")
		}
	})
}

// TestListingSpendsNothing: nodes that join, or are remembered, take no memory for a budget.
func TestListingSpendsNothing(t *testing.T) {
	f := newFleet(t, testPolicy)
	for n := range 100 {
		f.beat(n)
	}
	if len(f.table.budget.accounts) > 0 {
		t.Errorf("%d accounts", len(f.table.budget.accounts))
	}
}

// TestReadShowsWhatWaited: the goroutine that reads shows a node once its budget has refilled, though no message comes.
func TestReadShowsWhatWaited(t *testing.T) {
	f := newFleet(t, testPolicy)
	for n := range maxChanges + 2 {
		say(f, fmt.Sprintf("10.0.0.%d", n+1), "80", web)
	}
	f.wantReason("reg.n1", rollcallv1alpha1.ReasonFlapping)
	go f.Read(t.Context())
	deadline := time.Now().Add(20 * time.Second)
	for f.Node("reg.n1").Flapping {
		if time.Now().After(deadline) {
			t.Fatalf("is %+v", f.Node("reg.n1"))
		}
		if f.clock.HasWaiters() {
			f.clock.Step(100 * time.Millisecond)
		}
	}
}

// TestFlappingModel has entries flap that name their nodes, with IDs that are given twice and cordons, far beyond their budgets: at any
// time the projections know what the Mirror says, and in the end it says what is in the bucket.
func TestFlappingModel(t *testing.T) {
	for seed := range uint64(100) {
		w := &world{t: t, r: rand.New(rand.NewPCG(seed, 3)), bkt: map[string]*stored{}, known: map[string]uint64{}, view: map[string]*Node{}}
		w.clk = clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		w.p = foreignPolicy()
		w.p.Record.KeyPrefix = ""
		w.m = newMirror(types.NamespacedName{Namespace: "ns", Name: "reg"}, w.p, nil, nil, w.clk, w)
		w.list(kv.CauseStart, false)
		keys := []string{"k1", "k2", "k3", "k4"}
		for range 400 {
			key := keys[w.r.IntN(len(keys))]
			switch op := w.r.IntN(8); op {
			case 0:
				w.del(key)
			case 1:
				w.m.SetCordoned(fmt.Sprintf("reg.n%d", w.r.IntN(3)), w.r.IntN(2) == 0)
			case 2:
				w.put(key, "?")
			default:
				w.put(key, fmt.Sprintf(`{"id":"n%d","ip":"10.0.0.%d"}`, w.r.IntN(3), w.r.IntN(3)+1))
			}
			w.drain()
			w.clk.Step(time.Millisecond)
			shown := 0
			for _, n := range w.m.Nodes() {
				if w.view[n.Name] == nil || !w.view[n.Name].same(n) || !n.same(w.m.Node(n.Name)) {
					t.Fatalf("seed %d: the projections have %+v, want %+v", seed, w.view[n.Name], n)
				}
				shown++
			}
			if shown != len(w.view) {
				t.Fatalf("seed %d: the projections have %d nodes, want %d", seed, len(w.view), shown)
			}
		}
		w.pass(testTTL / 4)
		w.drain()
		w.check(false)
		for key, s := range w.bkt {
			if e := w.m.table.entries[key]; !s.deleted && !e.shown() {
				t.Fatalf("seed %d: %s is %+v", seed, key, e.node)
			}
		}
	}
}
