package mirror

import (
	"fmt"
	"testing"
	"time"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// beatAll lets nodes from..to-1 heartbeat every 10 s, spread over the interval, for d.
func (f *fleet) beatAll(from, to int, d time.Duration) {
	for at := time.Duration(0); at < d; at += time.Second {
		for n := from; n < to; n++ {
			if n%10 == int(at/time.Second)%10 {
				f.beat(n)
			}
		}
		f.pass(time.Second)
	}
}

func (f *fleet) wantGuard(active bool) {
	f.Helper()
	if h := f.State().Held; (h != nil) != active || h != nil && h.Reason != rollcallv1alpha1.HeldGuard {
		f.Fatalf("held is %+v, want the guard's activity to be %v", h, active)
	}
}

// wantHeld checks that the nodes are held: they keep their traffic, and say so.
func (f *fleet) wantHeld(from, to int) {
	f.Helper()
	for n := from; n < to; n++ {
		node := f.Node("reg." + id(n))
		if node == nil || node.Phase != rollcallv1alpha1.NodeStale || node.Reason != rollcallv1alpha1.ReasonHeld || node.Traffic() != TrafficReady {
			f.Fatalf("%s is %+v, want it held", id(n), node)
		}
	}
}

func TestGuardHoldsAFleetThatGoesSilent(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 20, 30*time.Second)
	f.pass(5 * testTTL)
	f.wantGuard(true)
	f.wantHeld(0, 20)
	if h := f.State().Held; h.Silent != 20 || h.Of != 20 {
		t.Errorf("held is %+v, want 20 of 20", h)
	}
	if len(f.asked) > 0 {
		t.Errorf("the leader was asked for %v, which nothing depends on", f.asked)
	}
}

// TestGuardSizes has fleets of which so many fall silent.
func TestGuardSizes(t *testing.T) {
	off := testPolicy
	off.MaxSilentPercent = 100
	for _, tt := range []struct {
		name      string
		policy    Policy
		of, stay  int
		wantGuard bool
	}{
		{"all of one", testPolicy, 1, 0, false},
		{"all of two", testPolicy, 2, 0, false},
		{"all of three", testPolicy, 3, 0, true},
		{"all of nine", testPolicy, 9, 0, true},
		{"all but one of nine", testPolicy, 9, 1, false},
		{"half of ten", testPolicy, 10, 5, false},
		{"six of ten", testPolicy, 10, 4, true},
		{"all, with the guard off", off, 20, 0, false},
		{"most, with the guard off", off, 20, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFleet(t, tt.policy)
			f.beatAll(0, tt.of, 30*time.Second)
			f.beatAll(0, tt.stay, testTTL+15*time.Second)
			f.wantGuard(tt.wantGuard)
			if tt.wantGuard {
				f.wantHeld(tt.stay, tt.of)
			} else {
				f.wantAll(tt.stay, tt.of, rollcallv1alpha1.NodeExpired)
			}
			f.wantAll(0, tt.stay, rollcallv1alpha1.NodeReady)
		})
	}
}

func TestGuardLetsTheMinorityGo(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 20, 30*time.Second)
	f.beatAll(0, 10, 2*testTTL)
	f.wantGuard(false)
	f.wantAll(0, 10, rollcallv1alpha1.NodeReady)
	f.wantAll(10, 20, gone)
}

func TestGuardHoldsNoneOfTheMajority(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 20, 30*time.Second)
	f.beatAll(0, 9, 2*testTTL)
	f.wantGuard(true)
	f.wantAll(0, 9, rollcallv1alpha1.NodeReady)
	f.wantHeld(9, 20)
}

func TestGuardCountsWavesWithinOneTTL(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 20, 30*time.Second)
	f.beatAll(0, 14, testTTL/2) // 6 fall silent,
	f.beatAll(0, 8, testTTL/2+15*time.Second)
	f.wantAll(14, 20, rollcallv1alpha1.NodeExpired)
	f.beatAll(0, 8, testTTL/2) // and 6 more half a TTL later.
	f.wantGuard(true)
	f.wantHeld(8, 14)
}

// TestGuardCountsWhatHasTraffic: keys that are no nodes, and such as never had an address, keep no dead node alive.
func TestGuardCountsWhatHasTraffic(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 6, 10*time.Second)
	for n := range 6 {
		f.put("node."+id(n)+".info", `"static"`)
		f.put("node."+id(n)+".addr", fmt.Sprintf(`{"NodeId":"n%d.addr","Endpoint":"127.0.0.1:80"}`, n))
	}
	f.beatAll(0, 5, testTTL)
	f.wantGuard(false)
	f.wantAll(0, 5, rollcallv1alpha1.NodeReady)
	f.want(5, rollcallv1alpha1.NodeExpired)
}

func TestGuardIgnoresUnregistration(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 20, 30*time.Second)
	for n := range 19 {
		f.unregister(n)
	}
	f.pass(testTTL + time.Second)
	f.wantGuard(false)
	f.want(19, rollcallv1alpha1.NodeExpired)
}

// TestGuardCoversStaleness: staleAfter takes traffic as the TTL does.
func TestGuardCoversStaleness(t *testing.T) {
	p := testPolicy
	p.StaleAfter = 8 * time.Second
	f := newFleet(t, p)
	for range 10 {
		for n := range 20 {
			f.beat(n)
		}
		f.pass(2 * time.Second)
	}
	f.take()
	f.pass(4 * testTTL)
	f.wantGuard(true)
	f.wantHeld(0, 20)
	if changes := f.take(); len(changes) != 20 {
		t.Errorf("it told %d changes, want one a node", len(changes))
	}
}

func TestGuardReleasesByReturningHeartbeats(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 20, 30*time.Second)
	f.pass(2 * testTTL)
	f.wantGuard(true)
	f.beatAll(0, 10, 10*time.Second)
	f.wantGuard(false)
	// Those that have not come back get time to do so, ...
	f.beatAll(0, 15, testTTL/2)
	f.wantAll(0, 20, rollcallv1alpha1.NodeReady)
	// ... and go if they do not.
	f.beatAll(0, 15, testTTL/2+time.Second)
	f.wantGuard(false)
	f.wantAll(0, 15, rollcallv1alpha1.NodeReady)
	f.wantAll(15, 20, rollcallv1alpha1.NodeExpired)
}

// TestGuardReleasesByNewNodes: who heartbeats need not be who went.
func TestGuardReleasesByNewNodes(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 20, 30*time.Second)
	f.beatAll(0, 9, testTTL+15*time.Second)
	f.wantGuard(true)
	for n := 100; n < 300; n++ {
		f.beat(n)
	}
	f.beatAll(0, 9, time.Second)
	f.wantGuard(false)
	for range int(testTTL / (20 * time.Second)) {
		for n := 100; n < 300; n++ {
			f.beat(n)
		}
		f.beatAll(0, 9, 20*time.Second)
	}
	f.beatAll(0, 9, 2*time.Second)
	f.wantAll(9, 20, rollcallv1alpha1.NodeExpired)
	f.wantAll(0, 9, rollcallv1alpha1.NodeReady)
}

func TestGuardReleasesByAcceptance(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 20, 30*time.Second)
	f.beatAll(0, 5, 2*testTTL)
	f.wantGuard(true)
	since := f.State().Held.Since.Truncate(time.Second)
	for _, old := range []time.Time{{}, since.Add(-time.Second), since.Add(time.Hour)} {
		if n, ok := f.AcceptExpiry(old); ok || n != 0 {
			t.Errorf("%v accepted %d nodes", old, n)
		}
	}
	f.wantGuard(true)
	if released, ok := f.AcceptExpiry(since); released != 15 || !ok {
		t.Errorf("released %d nodes, %t, want 15", released, ok)
	}
	f.beatAll(0, 5, 2*time.Second)
	f.wantGuard(false)
	f.wantAll(0, 5, rollcallv1alpha1.NodeReady)
	f.wantAll(5, 20, rollcallv1alpha1.NodeExpired)
	// What was accepted once is no standing order.
	f.beatAll(5, 20, 10*time.Second)
	f.pass(2 * testTTL)
	f.wantGuard(true)
	if _, ok := f.AcceptExpiry(since); ok {
		t.Error("an old acceptance was taken for a new one")
	}
}

func TestGuardSurvivesARestart(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 20, 30*time.Second)
	f.beatAll(0, 5, 2*testTTL)
	since := f.State().Held.Since
	f = restart(f)
	f.wantGuard(true)
	f.wantHeld(5, 20)
	f.list(kv.CauseStart, 0, 1, 2, 3, 4)
	f.beatAll(0, 5, 3*testTTL)
	f.wantGuard(true)
	f.wantHeld(5, 20)
	if got := f.State().Held; !got.Since.Equal(since) {
		t.Errorf("held since %v, want %v", got.Since, since)
	}
	f.beatAll(0, 20, 10*time.Second)
	f.wantGuard(false)
	f.wantAll(0, 20, rollcallv1alpha1.NodeReady)
}

func TestGuardHoldsAfterAWipe(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 20, 30*time.Second)
	keys := f.Keys()
	f.list(kv.CauseRecreated)
	f.Absent(keys)
	f.pass(3 * testTTL)
	f.wantGuard(true)
	f.wantHeld(0, 20)
	f.beatAll(0, 20, 10*time.Second)
	f.wantGuard(false)
}

// beatAt lets a node heartbeat under an ID, at the address of another.
func (f *fleet) beatAt(id string, n int) {
	f.put("node."+id, fmt.Sprintf(`{"NodeId":%q,"Endpoint":"http://10.0.%d.%d:80"}`, id, n/200, n%200+1))
}

// TestSuperseded has 13 nodes lose power, and 12 come back at their addresses under new IDs.
func TestSuperseded(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 13, 30*time.Second)
	for range 6 {
		for n := range 12 {
			f.beatAt(fmt.Sprintf("new-%d", n), n)
		}
		f.pass(10 * time.Second)
	}
	f.wantGuard(false)
	for n := range 12 {
		if node := f.Node("reg." + id(n)); node.Phase != rollcallv1alpha1.NodeExpired && node.Reason != rollcallv1alpha1.ReasonSuperseded {
			t.Errorf("%s is %s: %s", node.ID, node.Phase, node.Reason)
		}
		if node := f.Node(fmt.Sprintf("reg.new-%d", n)); node.Traffic() != TrafficReady {
			t.Errorf("%s is %s: %s", node.ID, node.Phase, node.Reason)
		}
	}
	f.pass(15 * time.Second)
	f.want(12, rollcallv1alpha1.NodeExpired)
}

func TestNotSuperseded(t *testing.T) {
	later := map[string]func(f *fleet){
		"the other was there before": func(f *fleet) { f.beatAt("other", 1); f.beat(1); f.pass(time.Second); f.beatAt("other", 1) },
		"the other drains": func(f *fleet) {
			f.beat(1)
			f.pass(time.Second)
			f.put("node.other", `{"NodeId":"other","Endpoint":"http://10.0.0.2:80","Draining":true}`)
		},
		"the other has the address alone": func(f *fleet) {
			f.beat(1)
			f.pass(time.Second)
			f.put("node.other", `{"NodeId":"other","Endpoint":"http://10.0.0.2:81"}`)
		},
		"the other is cordoned": func(f *fleet) {
			f.beat(1)
			f.pass(time.Second)
			f.beatAt("other", 1)
			f.SetCordoned("reg.other", true)
		},
	}
	for name, do := range later {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, testPolicy)
			do(f)
			f.pass(testTTL*2/3 + 2*time.Second)
			f.want(1, rollcallv1alpha1.NodeReady)
		})
	}
}

// TestSupersededInOnePass: the process pauses for a moment, so that those that were replaced are found silent in the pass in which
// the first deadline comes near.
func TestSupersededInOnePass(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beat(12)
	f.pass(testTTL/3 - 700*time.Millisecond)
	f.beats(seq(0, 12)...)
	for range 2 {
		f.pass(testTTL / 4)
		for n := range 12 {
			f.beatAt(fmt.Sprintf("new-%d", n), n)
		}
	}
	f.pass(testTTL/6 - 100*time.Millisecond)
	f.wantGuard(false)
	f.clock.Step(400 * time.Millisecond)
	f.Arrived(f.clock.Now())
	f.wantGuard(false)
}
