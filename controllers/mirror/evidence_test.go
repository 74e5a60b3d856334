package mirror

import (
	"fmt"
	"testing"
	"time"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

func TestTheLeaderIsAskedBeforeTrafficIsLost(t *testing.T) {
	p := testPolicy
	p.StaleAfter = 20 * time.Second
	f := newFleet(t, p)
	f.beat(1)
	f.mute = true
	f.pass(3 * testTTL)
	f.want(1, rollcallv1alpha1.NodeReady) // No answer: nobody loses anything.
	if len(f.asked) == 0 {
		t.Fatal("the leader was not asked")
	}
	f.mute = false
	f.pass(time.Second)
	f.want(1, rollcallv1alpha1.NodeExpired)

	f.beat(2)
	f.asked = nil
	f.pass(20 * time.Second)
	f.want(2, rollcallv1alpha1.NodeStale)
	f.pass(41 * time.Second)
	f.want(2, rollcallv1alpha1.NodeExpired)
	if len(f.asked) != 2 {
		t.Errorf("the leader was asked for %v, want once for each loss", f.asked)
	}
}

func TestAHeartbeatOutrunsTheQuestion(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beat(1)
	f.mute = true
	f.pass(testTTL)
	f.beat(1)
	f.Silent([]string{"node.n1"})
	f.want(1, rollcallv1alpha1.NodeReady)
}

func TestAFrozenProcessFindsAGap(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 2, 10*time.Second)
	f.clock.Step(10 * testTTL)
	f.pass(arrival)
	f.pass(testTTL - time.Second)
	f.wantAll(0, 2, rollcallv1alpha1.NodeReady)
	f.pass(time.Second)
	f.wantAll(0, 2, rollcallv1alpha1.NodeExpired)
}

func TestGapsDoNotKeepTheDeadAlive(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 4, 10*time.Second)
	for at := time.Duration(0); at < 2*testTTL; at += 20 * time.Second {
		f.beatAll(1, 4, 20*time.Second)
		f.list(kv.CauseReconnect)
	}
	f.beatAll(1, 4, time.Second)
	f.want(0, rollcallv1alpha1.NodeExpired)
	f.wantAll(1, 4, rollcallv1alpha1.NodeReady)
}

func TestTheClockStandsWhileTheStoreTakesNoWrites(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 3, 10*time.Second)
	full := f.bucket(testTTL)
	full.Store = kv.Store{Refusal: kv.StoreFull, Detail: "it is full"}
	f.Bucket(full)
	f.pass(testTTL / 2)
	if h := f.State().Held; h == nil || h.Reason != rollcallv1alpha1.HeldStoreFull || h.Silent != 0 || h.Of != 3 {
		t.Errorf("held is %+v", h)
	}
	f.pass(10 * testTTL)
	f.wantAll(0, 3, rollcallv1alpha1.NodeReady)
	h := f.State().Held
	if h == nil || h.Silent != 3 {
		t.Fatalf("held is %+v", h)
	}
	f.Bucket(f.bucket(testTTL))
	if h := f.State().Held; h != nil {
		t.Errorf("held is %+v", h)
	}
	f.beatAll(1, 3, testTTL-time.Second)
	f.wantAll(0, 3, rollcallv1alpha1.NodeReady)
	f.beatAll(1, 3, time.Second)
	f.want(0, rollcallv1alpha1.NodeExpired)
	f.wantAll(1, 3, rollcallv1alpha1.NodeReady)
}

// TestAPersonAcceptsWhileTheClockStands: the way out of a full bucket that stays so.
func TestAPersonAcceptsWhileTheClockStands(t *testing.T) {
	for _, reason := range []kv.Refusal{kv.StoreFull, kv.Sealed} {
		t.Run(string(reason), func(t *testing.T) {
			f := newFleet(t, testPolicy)
			f.beatAll(0, 3, 10*time.Second)
			b := f.bucket(testTTL)
			b.Store.Refusal = reason
			if reason == kv.Sealed {
				b.TTL = 0 // A server takes it away.
			}
			f.Bucket(b)
			f.pass(testTTL / 2)
			f.beat(2) // A mirror that is cut off, or a key of which old revisions make room, may still bring some.
			f.pass(testTTL * 3 / 4)
			h := f.State().Held
			if h.Silent != 2 {
				t.Errorf("held is %+v, want 2 silent", h)
			}
			if n, ok := f.AcceptExpiry(h.Since.Truncate(time.Second)); n != 2 || !ok {
				t.Errorf("accepted %d, %t, want 2", n, ok)
			}
			f.wantAll(0, 2, rollcallv1alpha1.NodeExpired)
			f.want(2, rollcallv1alpha1.NodeReady)
			if f.State().Held == nil {
				t.Error("the bucket is full still, and nothing says so")
			}
		})
	}
}

func TestWhatStandsIsKeptOverARestart(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 3, 10*time.Second)
	b := f.bucket(testTTL)
	b.Store.Refusal = kv.StoreFull
	f.Bucket(b)
	since := f.State().Held.Since
	f.pass(time.Minute)
	g := restart(f)
	for range 2 {
		if h := g.State().Held; h == nil || h.Reason != rollcallv1alpha1.HeldStoreFull || !h.Since.Equal(since) {
			t.Errorf("held is %+v, want since %v", h, since)
		}
		g.Listing(kv.CauseStart)
		g.Synced(b)
	}
	g.Bucket(g.bucket(testTTL))
	if h := g.State().Held; h != nil {
		t.Errorf("held is %+v", h)
	}
}

// TestAgesOfAListing: a message of a listing is as old as the server's clock says, within bounds.
func TestAgesOfAListing(t *testing.T) {
	for age, life := range map[time.Duration]time.Duration{
		0: testTTL, 30 * time.Second: testTTL, 10 * testTTL: testTTL, -10 * testTTL: testTTL,
	} {
		t.Run(fmt.Sprint(age), func(t *testing.T) {
			p := testPolicy
			p.ReconnectGrace = testTTL
			f := newFleet(t, p)
			f.Listing(kv.CauseReconnect)
			f.Entry(kv.Entry{Key: "node.n1", Value: []byte(`{"NodeId":"n1","Endpoint":"10.0.0.1:80"}`), Revision: 1, Written: f.now().Add(-age), Age: age})
			f.Synced(f.bucket(testTTL))
			f.pass(life - time.Second)
			f.want(1, rollcallv1alpha1.NodeReady)
			f.pass(time.Second)
			f.want(1, rollcallv1alpha1.NodeExpired)
		})
	}
}

// TestWallClocksMoveNothing steps the server's clock by ten minutes, and back.
func TestWallClocksMoveNothing(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beatAll(0, 5, 10*time.Second)
	for _, step := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		b := f.bucket(testTTL)
		b.ServerTime = b.ServerTime.Add(step)
		f.Bucket(b)
		for n := range 5 {
			if step > 0 {
				f.marker(n) // The server takes all keys for old.
			}
		}
		f.pass(testTTL / 3)
		f.wantAll(0, 5, rollcallv1alpha1.NodeReady)
		f.list(kv.CausePurged)
		f.pass(testTTL / 3)
		f.wantAll(0, 5, rollcallv1alpha1.NodeReady)
		f.beatAll(0, 5, 10*time.Second)
	}
}
