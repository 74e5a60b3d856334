package discovery

import (
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// clockSkew is how far the server's clock is off the local one.
const clockSkew = time.Hour

const life = time.Minute

func bucketNow(ttl time.Duration) kv.Bucket {
	return kv.Bucket{Name: "b", TTL: ttl, MessageTTL: true, ServerTime: time.Now().Add(clockSkew).Round(0), ReceivedAt: time.Now()}
}

func testCache(ttl time.Duration) *cache {
	return newCache(bucketNow(ttl), "node.", slog.New(slog.DiscardHandler))
}

func nodePut(id string, revision uint64) kv.Entry {
	return kv.Entry{
		Key: "node." + id, Value: fmt.Appendf(nil, `{"NodeId":%q}`, id), Revision: revision,
		Written: time.Now().Add(clockSkew).Round(0), Operation: kv.Put,
	}
}

// inBubble runs f in a bubble with a cache that has synced with the given nodes.
func inBubble(t *testing.T, ttl time.Duration, f func(*testing.T, *cache), ids ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := testCache(ttl)
		defer c.close()
		c.Listing(kv.CauseStart)
		for i, id := range ids {
			c.Entry(nodePut(id, uint64(i+1)))
		}
		c.Synced(bucketNow(ttl))
		f(t, c)
	})
}

// pass lets time go by.
func pass(d time.Duration) {
	<-time.After(d) // on the bubble's clock
	synctest.Wait()
}

func wantNodes(t *testing.T, c *cache, when string, ids ...string) {
	t.Helper()
	if n := len(c.all()); n != len(ids) {
		t.Errorf("%s there are %d nodes, want %v", when, n, ids)
	}
	for _, id := range ids {
		if _, ok := c.get("node." + id); !ok {
			t.Errorf("%s %s is gone", when, id)
		}
	}
}

func TestDeadlineFollowsTheServersTimestamp(t *testing.T) {
	inBubble(t, life, func(t *testing.T, c *cache) {
		t.Helper()
		pass(life / 2)
		c.Entry(nodePut("a", 10))
		pass(life/2 - 1)
		wantNodes(t, c, "just before the deadline", "a", "b")
		pass(1)
		wantNodes(t, c, "at b's deadline", "a")
		pass(life/2 - 1)
		wantNodes(t, c, "just before a's deadline", "a")
		pass(1)
		wantNodes(t, c, "at a's deadline")
	}, "a", "b")
}

func TestNoDeadlinePassesWhileDisconnected(t *testing.T) {
	inBubble(t, life, func(t *testing.T, c *cache) {
		t.Helper()
		pass(life - 1)
		c.Disconnected(ErrConnectionLost)
		pass(10 * life)
		wantNodes(t, c, "after an outage of ten lifetimes", "a", "b")
		c.Listing(kv.CauseReconnect)
		pass(life)
		wantNodes(t, c, "during the listing", "a", "b")
		c.Synced(bucketNow(life))
		pass(life / 2)
		c.Entry(nodePut("a", 10))
		pass(life/2 - 1)
		wantNodes(t, c, "just before a lifetime after the listing", "a", "b")
		pass(1)
		wantNodes(t, c, "a lifetime after the listing", "a")
	}, "a", "b")
}

// A server that comes back expires at once what couldn't be refreshed during its absence, and says so.
func TestMarkersAreHints(t *testing.T) {
	inBubble(t, life, func(t *testing.T, c *cache) {
		t.Helper()
		c.Disconnected(ErrConnectionLost)
		pass(10 * life)
		c.Listing(kv.CauseReconnect)
		c.Entry(kv.Entry{Key: "node.a", Revision: 9, Operation: kv.Expire})
		c.Synced(bucketNow(life))
		c.Entry(kv.Entry{Key: "node.b", Revision: 10, Operation: kv.Expire})
		pass(life - 1)
		wantNodes(t, c, "within a lifetime of the listing", "a", "b")
		pass(1)
		wantNodes(t, c, "after it")
	}, "a", "b")
}

func TestAMarkerAtTheDeadlineIsBelieved(t *testing.T) {
	inBubble(t, life, func(t *testing.T, c *cache) {
		t.Helper()
		// The clocks drift: what the timer takes for a moment before the deadline is one after it on the server's clock.
		b := bucketNow(life)
		b.ServerTime = b.ServerTime.Add(life)
		c.mu.Lock()
		c.bucket = b
		c.mu.Unlock()
		c.Entry(kv.Entry{Key: "node.a", Revision: 9, Operation: kv.Expire})
		wantNodes(t, c, "after its marker")
	}, "a")
}

func TestAPeriodicListingMovesNoDeadline(t *testing.T) {
	inBubble(t, life, func(t *testing.T, c *cache) {
		t.Helper()
		pass(life / 2)
		c.Listing(kv.CausePeriodic)
		c.Synced(bucketNow(life))
		pass(life / 2)
		wantNodes(t, c, "a lifetime after its only heartbeat")
	}, "a")
}

func TestAbsentNodesLeaveAtTheirDeadline(t *testing.T) {
	inBubble(t, life, func(t *testing.T, c *cache) {
		t.Helper()
		c.Absent([]string{"node.a"})
		pass(life - 1)
		wantNodes(t, c, "before the deadline", "a")
		pass(1)
		wantNodes(t, c, "at the deadline")
	}, "a")
}

func TestWithoutATTLOnlyTheAbsentLeave(t *testing.T) {
	inBubble(t, 0, func(t *testing.T, c *cache) {
		t.Helper()
		pass(1000 * time.Hour)
		wantNodes(t, c, "after a long time", "a", "b", "c")
		c.Absent([]string{"node.a", "node.b"})
		c.Entry(nodePut("b", 10)) // registered again
		pass(goneGrace - 1)
		wantNodes(t, c, "within the grace", "a", "b", "c")
		pass(1)
		wantNodes(t, c, "after the grace", "b", "c")
	}, "a", "b", "c")
}

func TestAnotherTTLMovesTheDeadlines(t *testing.T) {
	inBubble(t, life, func(t *testing.T, c *cache) {
		t.Helper()
		c.Bucket(bucketNow(life / 4))
		pass(life/4 - 1)
		wantNodes(t, c, "before the shorter deadline", "a")
		c.Bucket(bucketNow(life))
		pass(life / 2)
		wantNodes(t, c, "with the longer one again", "a")
		pass(life/4 + 1)
		wantNodes(t, c, "after it")
	}, "a")
}

func TestAMessagesOwnTTL(t *testing.T) {
	inBubble(t, life, func(t *testing.T, c *cache) {
		t.Helper()
		e := nodePut("a", 10)
		e.TTL = 10 * time.Second
		c.Entry(e)
		pass(10 * time.Second)
		wantNodes(t, c, "after the message's TTL", "b")
	}, "a", "b")
}

// The server's clock is followed by the local monotonic clock; a new reading takes its place.
func TestTheServersClockDecides(t *testing.T) {
	inBubble(t, life, func(t *testing.T, c *cache) {
		t.Helper()
		b := bucketNow(life)
		b.ServerTime = b.ServerTime.Add(-life / 2) // the server's clock was set back
		c.Bucket(b)
		pass(life)
		wantNodes(t, c, "half a lifetime later on the server's clock", "a")
		pass(life / 2)
		wantNodes(t, c, "a lifetime later on the server's clock")
	}, "a")
}

func TestARecordThatCantBeReadIsNoNode(t *testing.T) {
	inBubble(t, life, func(t *testing.T, c *cache) {
		t.Helper()
		s := newSubscriber()
		c.subscribe(s)
		s.take()
		c.Entry(kv.Entry{Key: "node.a", Value: []byte("oops"), Revision: 10, Operation: kv.Put})
		if e, ok := s.take(); !ok || e.Type != Left || e.Reason != Invalid || e.ID != "a" {
			t.Errorf("%+v", e)
		}
		wantNodes(t, c, "after a broken record")
	}, "a")
}

func TestASlowReaderLearnsTheFinalState(t *testing.T) {
	inBubble(t, life, func(t *testing.T, c *cache) {
		t.Helper()
		s := newSubscriber()
		c.subscribe(s)
		for range 3 {
			if e, ok := s.take(); !ok || e.Type != Joined {
				t.Errorf("%+v", e)
			}
		}
		unregister := func(id string, rev uint64) {
			c.Entry(kv.Entry{Key: "node." + id, Revision: rev, Operation: kv.Unregister})
		}
		c.Entry(nodePut("updated", 10))
		c.Entry(nodePut("updated", 11))
		unregister("left", 12)
		unregister("back", 13)
		c.Entry(nodePut("back", 14))
		c.Entry(nodePut("brief", 15))
		unregister("brief", 16)
		c.Entry(nodePut("new", 17))
		got := map[string]string{}
		for e, ok := s.take(); ok; e, ok = s.take() {
			got[e.ID] += fmt.Sprintf("%s%s %d", e.Type, e.Reason, e.Revision)
		}
		want := map[string]string{"updated": "Updated 11", "left": "LeftUnregistered 2", "back": "Updated 14", "new": "Joined 17"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	}, "updated", "left", "back")
}

func TestDeadlinesQueue(t *testing.T) {
	d := newDeadlines()
	at := func(s int) time.Time { return time.Unix(1_700_000_000, 0).Add(time.Duration(s) * time.Second) }
	if !d.add("a", at(10)) || d.add("b", at(20)) || d.add("a", at(15)) || !d.add("b", at(5)) {
		t.Error("add says whether the key is the first now")
	}
	if key, ok := d.pop(at(4)); ok {
		t.Errorf("%s is due too early", key)
	}
	for _, want := range []string{"b", "a", ""} {
		if key, _ := d.pop(at(30)); key != want {
			t.Errorf("got %q, want %q", key, want)
		}
	}
	if _, ok := d.first(); ok {
		t.Error("the queue isn't empty")
	}
}
