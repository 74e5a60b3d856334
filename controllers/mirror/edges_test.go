package mirror

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// beats lets the nodes heartbeat.
func (f *fleet) beats(ids ...int) {
	for _, n := range ids {
		f.beat(n)
	}
}

// seq returns the numbers from..to-1.
func seq(from, to int) (all []int) {
	for n := from; n < to; n++ {
		all = append(all, n)
	}
	return all
}

// TestGuardReleasesByLateHeartbeats: two nodes were only late; when they heartbeat again, the guard lets go of the dead.
func TestGuardReleasesByLateHeartbeats(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beats(seq(0, 20)...)
	f.pass(10 * time.Second)
	f.beats(9, 10)
	for range 5 {
		f.pass(10 * time.Second)
		f.beats(seq(0, 9)...)
	}
	// at 60 s: 11..19 are dead, 9 and 10 late.
	f.wantGuard(true)
	for range 18 {
		f.beats(seq(0, 11)...)
		f.pass(10 * time.Second)
	}
	f.wantGuard(false)
	f.wantAll(11, 20, gone)
}

// TestGuardForgetsOldLosses: those that lost their traffic longer ago than a TTL do not keep the guard going.
func TestGuardForgetsOldLosses(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 20, 30*time.Second)
	f.beatAll(0, 14, testTTL/2)
	f.beatAll(0, 8, testTTL/2+15*time.Second)
	f.wantAll(14, 20, rollcallv1alpha1.NodeExpired)
	f.beatAll(0, 8, testTTL/2)
	f.wantGuard(true)
	f.beatAll(0, 8, 4*testTTL)
	f.wantGuard(false)
	f.wantAll(8, 14, gone)
}

// TestGuardLeavesGraceToTheSilent: nodes that are silent and not held yet when the guard lets go get the grace, too.
func TestGuardLeavesGraceToTheSilent(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beats(seq(0, 20)...)
	f.pass(15 * time.Second)
	f.beats(seq(10, 20)...)
	f.pass(45 * time.Second)
	f.wantGuard(true)
	f.beats(seq(0, 10)...)
	f.pass(time.Second)
	f.wantGuard(false)
	f.pass(10 * time.Second)
	f.beats(seq(0, 10)...)
	f.pass(15 * time.Second)
	f.wantAll(10, 20, rollcallv1alpha1.NodeReady)
}

// TestAnOldAnswerIsNoConfirmation: an answer of before the deadline moved confirms nothing.
func TestAnOldAnswerIsNoConfirmation(t *testing.T) {
	for name, move := range map[string]func(f *fleet){
		"gap": func(f *fleet) { f.list(kv.CauseReconnect) },
		"ttl": func(f *fleet) { f.Bucket(f.bucket(3 * testTTL)) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, testPolicy)
			f.beat(1)
			f.mute = true
			f.pass(testTTL - 500*time.Millisecond)
			if len(f.asked) == 0 {
				t.Fatal("not asked")
			}
			move(f)
			f.mute = false
			f.pass(time.Second) // answered
			f.mute, f.asked = true, nil
			f.pass(4 * testTTL)
			f.want(1, rollcallv1alpha1.NodeReady)
		})
	}
}

// TestAHeldNodeThatIsSupersededGoes: a node that the guard protects no longer goes as others do.
func TestAHeldNodeThatIsSupersededGoes(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beats(seq(0, 20)...)
	alive := func(d time.Duration, more func()) {
		for at := time.Duration(0); at < d; at += 10 * time.Second {
			f.beats(seq(0, 4)...)
			more()
			f.pass(10 * time.Second)
		}
	}
	alive(70*time.Second, func() {})
	f.wantGuard(true)
	alive(5*testTTL, func() { f.beatAt("new", 19) })
	f.wantGuard(true)
	f.want(19, gone)
}

func TestAnotherBucketHasItsOwnRevisions(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beat(1)
	rev := f.revision
	f.pass(testTTL - 10*time.Second)
	f.Listing(kv.CauseRecreated)
	f.revision = rev - 1
	f.put("node.n1", `{"NodeId":"n1","Endpoint":"http://10.0.0.2:80","Draining":true}`)
	f.Synced(f.bucket(testTTL))
	f.want(1, rollcallv1alpha1.NodeDraining)
}

func TestANewMirrorIsComplete(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beat(1)
	dn := written(f.Node("reg.n1"), f.clock.Now())
	m := newMirror(types.NamespacedName{Namespace: "ns", Name: "reg"}, testPolicy, nil, []*rollcallv1alpha1.DiscoveredNode{dn}, clocktesting.NewFakeClock(time.Now()), f)
	for _, n := range m.Nodes() { // as Store.Select does, which may come between the Store's map and start
		if n == nil {
			t.Fatal("a Mirror that others can see has a nil Node")
		}
	}
}

func TestAnAbsentKeyAlwaysHasTime(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.Bucket(f.bucket(0))
	f.beat(1)
	f.Absent([]string{"node.n1"})
	f.pass(2 * time.Second)
	f.want(1, rollcallv1alpha1.NodeReady)
}

func TestStaleNodesThatWereReplacedDoNotCount(t *testing.T) {
	p := testPolicy
	p.StaleAfter = 20 * time.Second
	f := newFleet(t, p)
	for range 3 {
		f.beats(seq(0, 12)...)
		f.pass(10 * time.Second)
	}
	// 0..5 stop, and are stale; 5 of them are replaced right afterwards.
	for range 2 {
		f.pass(5 * time.Second)
		f.beats(seq(6, 12)...)
		f.pass(5 * time.Second)
	}
	f.wantAll(0, 6, rollcallv1alpha1.NodeStale)
	for n := range 5 {
		f.beatAt(fmt.Sprintf("new-%d", n), n)
	}
	f.pass(2 * time.Second)
	for n := range 5 {
		f.wantReason("reg."+id(n), rollcallv1alpha1.ReasonSuperseded)
	}
}

func TestAcceptingStalenessIsNoExpiry(t *testing.T) {
	p := testPolicy
	p.StaleAfter = 8 * time.Second
	f := newFleet(t, p)
	f.beats(seq(0, 20)...)
	f.pass(15 * time.Second)
	f.wantGuard(true)
	if _, ok := f.AcceptExpiry(f.State().Held.Since.Truncate(time.Second)); !ok {
		t.Fatal("not accepted")
	}
	f.wantAll(0, 20, rollcallv1alpha1.NodeStale)
}

func TestACordonStaysWithTheName(t *testing.T) {
	f := newFleet(t, foreignPolicy())
	f.say("k1", "web", 1)
	f.SetCordoned("reg.web", true)
	f.pass(testTTL / 2)
	f.say("k2", "web", 1)
	f.pass(testTTL/2 + time.Second)
	n := f.Node("reg.web")
	if n == nil || n.Key != "k2" || !n.Cordoned {
		t.Errorf("expired holder, duplicate takes over: %+v", n)
	}
	f.pass(testTTL/2 + 5*time.Second)
	f.say("k3", "web", 1)
	if n := f.Node("reg.web"); n == nil || n.Key != "k3" || !n.Cordoned {
		t.Errorf("came back under another key: %+v", n)
	}
}
