package discovery

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

const life = time.Minute

// listener is a cache to which something arrives in every half second, and whose questions the leader confirms.
type listener struct {
	*cache

	at    time.Time
	cut   bool // nothing arrives
	asked int
	deaf  bool // the leader gives no answer
	full  bool // the store may refuse the keys that are asked for
}

func bucketOf(ttl time.Duration) kv.Bucket { return kv.Bucket{Name: "b", TTL: ttl, MessageTTL: true} }

func nodePut(id string, revision uint64) kv.Entry {
	return kv.Entry{Key: "node." + id, Value: fmt.Appendf(nil, `{"NodeId":%q}`, id), Revision: revision, Operation: kv.Put}
}

// listening runs f with a cache that has synced with the given nodes, which were written just then.
func listening(t *testing.T, ttl time.Duration, f func(*testing.T, *listener), ids ...string) {
	t.Helper()
	c := &listener{cache: newCache(bucketOf(ttl), "node.", slog.New(slog.DiscardHandler)), at: time.Unix(1000, 0)}
	defer c.close()
	c.Listing(kv.CauseStart)
	c.Arrived(c.at)
	for i, id := range ids {
		c.Entry(nodePut(id, uint64(i+1)))
	}
	c.Synced(bucketOf(ttl))
	f(t, c)
}

// pass lets time go by.
func (c *listener) pass(d time.Duration) {
	for end := c.at.Add(d); c.at.Before(end); {
		c.at = c.at.Add(min(kv.DefaultIdleHeartbeat, end.Sub(c.at)))
		if c.cut {
			continue
		}
		c.Arrived(c.at)
		if keys := c.Overdue(); len(keys) > 0 {
			c.asked++
			switch {
			case c.deaf:
			case c.full:
				c.Withheld(keys)
			default:
				c.Silent(keys)
			}
		}
	}
}

// freeze lets time go by in which the process does nothing.
func (c *listener) freeze(d time.Duration) { c.at = c.at.Add(d) }

func (c *listener) want(t *testing.T, when string, ids ...string) {
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

func TestANodeLeavesAfterATTLOfSilence(t *testing.T) {
	listening(t, life, func(t *testing.T, c *listener) {
		t.Helper()
		c.pass(life / 2)
		c.Entry(nodePut("a", 10))
		c.pass(life/2 - 1)
		c.want(t, "just before the deadline", "a", "b")
		c.pass(1)
		c.want(t, "at b's deadline", "a")
		c.pass(life/2 - 1)
		c.want(t, "just before a's deadline", "a")
		c.pass(1)
		c.want(t, "at a's deadline")
	}, "a", "b")
}

// What a listing holds is as old as the server says, and after a start everybody gets a TTL to be heard.
func TestAListedNodeHasItsAge(t *testing.T) {
	listening(t, life, func(t *testing.T, c *listener) {
		t.Helper()
		c.pass(10 * life)
		old := nodePut("a", 10)
		old.Age = life / 2
		c.Entry(old) // of a relist without need
		c.pass(life/2 - 1)
		c.want(t, "before its TTL", "a")
		c.pass(1)
		c.want(t, "at its TTL")
		c.Listing(kv.CauseReconnect)
		old.Revision, old.Age = 11, 100*life
		c.Entry(old)
		c.Synced(bucketOf(life))
		c.pass(life - 1)
		c.want(t, "within a TTL of the gap", "a")
		c.pass(1)
		c.want(t, "after it")
	})
}

func TestNoDeadlinePassesWhileDisconnected(t *testing.T) {
	listening(t, life, func(t *testing.T, c *listener) {
		t.Helper()
		c.pass(life - 1)
		c.Disconnected(kv.ErrConnectionLost)
		c.pass(10 * life)
		c.want(t, "after an outage of ten lifetimes", "a", "b")
		c.Listing(kv.CauseReconnect)
		c.pass(life)
		c.want(t, "during the listing", "a", "b")
		c.Synced(bucketOf(life))
		c.pass(life / 2)
		c.Entry(nodePut("a", 10))
		c.pass(life/2 - 1)
		c.want(t, "just before a lifetime after the listing", "a", "b")
		c.pass(1)
		c.want(t, "a lifetime after the listing", "a")
	}, "a", "b")
}

func TestAFrozenProcessFindsAGap(t *testing.T) {
	listening(t, life, func(t *testing.T, c *listener) {
		t.Helper()
		c.pass(life - time.Second)
		c.freeze(10 * life)
		c.pass(life - 2*time.Second)
		c.want(t, "within a lifetime of the freeze", "a")
		c.pass(2*time.Second + kv.DefaultIdleHeartbeat) // until the first arrival, nothing is listened to
		c.want(t, "after it")
	}, "a")
}

// Gaps that come again and again don't keep the dead alive.
func TestGapsDontAddUp(t *testing.T) {
	listening(t, life, func(t *testing.T, c *listener) {
		t.Helper()
		heard := time.Duration(0)
		for round := uint64(10); heard < 2*life; round++ {
			c.want(t, "within twice the TTL", "alive", "dead")
			c.pass(life * 2 / 3)
			heard += life * 2 / 3
			c.Entry(nodePut("alive", round))
			c.Disconnected(kv.ErrNoHeartbeat)
			c.freeze(time.Second)
			c.Listing(kv.CauseMissedHeartbeat)
			c.Synced(bucketOf(life))
		}
		c.pass(2 * time.Second)
		c.want(t, "after twice the TTL", "alive")
	}, "dead", "alive")
}

func TestNobodyLeavesAStoreThatTakesNoWrites(t *testing.T) {
	for name, store := range map[string]kv.Store{
		"full": {Refusal: kv.StoreFull}, "sealed": {Refusal: kv.Sealed}, "cut": {Refusal: kv.MirrorCut}, "without subjects": {Refusal: kv.NobodyWrites},
	} {
		listening(t, life, func(t *testing.T, c *listener) {
			t.Helper()
			c.pass(life / 2)
			b := bucketOf(life)
			b.Store = store
			c.Bucket(b)
			if err := c.err(); err == nil {
				t.Errorf("%s: no error", name)
			}
			c.pass(10 * life)
			c.want(t, name+": while it takes none", "a")
			c.Bucket(bucketOf(life))
			if err := c.err(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			c.pass(life - 1)
			c.want(t, name+": within a lifetime of its end", "a")
			c.pass(1)
			c.want(t, name+": after it")
		}, "a")
	}
}

// A store that refuses some keys goes on for the others: whom the leader confirms is the Watcher's to know.
func TestAStoreThatRefusesSome(t *testing.T) {
	listening(t, life, func(t *testing.T, c *listener) {
		t.Helper()
		b := bucketOf(life)
		b.Store = kv.Store{Refusal: kv.StoreFull, Partial: true}
		c.Bucket(b)
		if err := c.err(); !errors.Is(err, kv.ErrBucketFull) {
			t.Errorf("the error is %v", err)
		}
		c.full = true
		c.pass(3 * life)
		c.want(t, "withheld", "a")
		c.Bucket(bucketOf(life))
		c.full = false
		c.pass(life - 1)
		c.want(t, "after the refusal, which was no silence", "a")
		c.pass(1)
		c.want(t, "a lifetime after it")
	}, "a")
}

func TestNobodyLeavesWithoutTheLeadersWord(t *testing.T) {
	listening(t, life, func(t *testing.T, c *listener) {
		t.Helper()
		c.deaf = true
		c.pass(life - 1)
		if c.asked > 0 {
			t.Error("the leader is asked too early")
		}
		c.pass(life)
		c.want(t, "unanswered", "a", "b")
		if c.asked < 2 {
			t.Errorf("the leader was asked %d times", c.asked)
		}
		c.Silent([]string{"node.none"})
		c.Entry(nodePut("a", 10))
		c.Silent([]string{"node.a", "node.b"})
		c.want(t, "once one of them was heard", "a")
		c.Disconnected(kv.ErrConnectionLost)
		c.Silent([]string{"node.a"})
		c.want(t, "by an answer that comes after the end", "a")
	}, "a", "b")
}

// A server that comes back expires at once what couldn't be refreshed during its absence, and says so.
func TestMarkersAreHints(t *testing.T) {
	listening(t, life, func(t *testing.T, c *listener) {
		t.Helper()
		c.Disconnected(kv.ErrConnectionLost)
		c.pass(10 * life)
		c.Listing(kv.CauseReconnect)
		c.Entry(kv.Entry{Key: "node.a", Revision: 9, Operation: kv.Expire})
		c.Synced(bucketOf(life))
		c.Entry(kv.Entry{Key: "node.b", Revision: 10, Operation: kv.Expire})
		c.pass(life - 1)
		c.want(t, "within a lifetime of the listing", "a", "b")
		c.pass(1)
		c.want(t, "after it")
	}, "a", "b")
}

func TestAPeriodicListingMovesNoDeadline(t *testing.T) {
	listening(t, life, func(t *testing.T, c *listener) {
		t.Helper()
		for _, cause := range []kv.Cause{kv.CausePeriodic, kv.CausePlanned} {
			c.pass(life / 4)
			c.Listing(cause)
			c.pass(life / 4)
			c.Synced(bucketOf(life))
		}
		c.want(t, "a lifetime after its only heartbeat")
	}, "a")
}

func TestAbsentNodesLeaveAtTheirDeadline(t *testing.T) {
	listening(t, life, func(t *testing.T, c *listener) {
		t.Helper()
		c.Absent([]string{"node.a"})
		c.pass(life - 1)
		c.want(t, "before the deadline", "a")
		c.pass(1)
		c.want(t, "at the deadline")
	}, "a")
}

func TestWithoutATTLOnlyTheAbsentLeave(t *testing.T) {
	listening(t, 0, func(t *testing.T, c *listener) {
		t.Helper()
		c.pass(time.Hour)
		c.want(t, "after a long time", "a", "b", "c")
		c.Absent([]string{"node.a", "node.b"})
		c.Entry(nodePut("b", 10)) // registered again
		c.pass(goneGrace - 1)
		c.want(t, "within the grace", "a", "b", "c")
		c.pass(1)
		c.want(t, "after the grace", "b", "c")
	}, "a", "b", "c")
}

func TestAnotherTTLMovesTheDeadlines(t *testing.T) {
	listening(t, life, func(t *testing.T, c *listener) {
		t.Helper()
		c.pass(1) // no longer the moment of the first listing
		c.Entry(nodePut("a", 10))
		c.Bucket(bucketOf(life / 4))
		c.pass(life/4 - 1)
		c.want(t, "before the shorter deadline", "a")
		c.Bucket(bucketOf(life))
		c.pass(life / 2)
		c.want(t, "with the longer one again", "a")
		c.pass(life/4 + 1)
		c.want(t, "after it")
	}, "a")
}

func TestAMessagesOwnTTL(t *testing.T) {
	listening(t, life, func(t *testing.T, c *listener) {
		t.Helper()
		e := nodePut("a", 10)
		e.TTL = 10 * time.Second
		c.Entry(e)
		c.pass(10 * time.Second)
		c.want(t, "after the message's TTL", "b")
	}, "a", "b")
}

func TestARecordThatCantBeReadIsNoNode(t *testing.T) {
	listening(t, life, func(t *testing.T, c *listener) {
		t.Helper()
		s := newSubscriber()
		c.subscribe(s)
		s.take()
		c.Entry(kv.Entry{Key: "node.a", Value: []byte("oops"), Revision: 10, Operation: kv.Put})
		if e, ok := s.take(); !ok || e.Type != Left || e.Reason != Invalid || e.ID != "a" {
			t.Errorf("%+v", e)
		}
		c.want(t, "after a broken record")
	}, "a")
}

func TestASlowReaderLearnsTheFinalState(t *testing.T) {
	listening(t, life, func(t *testing.T, c *listener) {
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
	d.add("a", 10)
	d.add("b", 20)
	d.add("a", 15)
	d.add("b", 5)
	if key, ok := d.pop(4); ok {
		t.Errorf("%s is due too early", key)
	}
	for _, want := range []string{"b", "a", ""} {
		if key, _ := d.pop(30); key != want {
			t.Errorf("got %q, want %q", key, want)
		}
	}
}
