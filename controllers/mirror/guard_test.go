package mirror

import (
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
	if got := f.State().Held != nil; got != active {
		f.Fatalf("the guard's activity is %v, want %v", got, active)
	}
}

func TestGuardHoldsAFleetThatGoesSilent(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 20, 30*time.Second)
	f.pass(5 * testTTL)
	f.wantGuard(true)
	f.wantAll(0, 20, rollcallv1alpha1.NodeReady)
	if held := f.State().Held; held.Silent != 20 {
		t.Errorf("%d nodes are held, want 20", held.Silent)
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
	f.wantAll(0, 20, rollcallv1alpha1.NodeReady)
}

func TestGuardCountsWavesWithinOneTTL(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 20, 30*time.Second)
	f.beatAll(0, 14, testTTL/2) // 6 fall silent,
	f.beatAll(0, 8, testTTL/2+15*time.Second)
	f.wantAll(14, 20, rollcallv1alpha1.NodeExpired)
	f.beatAll(0, 8, testTTL) // and 6 more half a TTL later.
	f.wantGuard(true)
	f.wantAll(8, 14, rollcallv1alpha1.NodeReady)
}

func TestGuardIgnoresSmallRegistries(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, testPolicy.MinNodes-1, 10*time.Second)
	f.pass(testTTL)
	f.wantGuard(false)
	f.wantAll(0, testPolicy.MinNodes-1, rollcallv1alpha1.NodeExpired)
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

func TestGuardReleasesByAcceptance(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 20, 30*time.Second)
	f.beatAll(0, 5, 2*testTTL)
	f.wantGuard(true)
	if released, ok := f.AcceptExpiry(f.State().Held.Since); !ok || released != 15 {
		t.Errorf("released %d nodes, want 15", released)
	}
	f.beatAll(0, 5, 2*time.Second)
	f.wantGuard(false)
	f.wantAll(0, 5, rollcallv1alpha1.NodeReady)
	f.wantAll(5, 20, rollcallv1alpha1.NodeExpired)
}

func TestGuardHoldsAfterAWipe(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 20, 30*time.Second)
	keys := f.Keys()
	f.list(kv.CauseRecreated)
	f.Absent(keys)
	f.pass(3 * testTTL)
	f.wantGuard(true)
	f.wantAll(0, 20, rollcallv1alpha1.NodeReady)
	f.beatAll(0, 20, 10*time.Second)
	f.wantGuard(false)
}
