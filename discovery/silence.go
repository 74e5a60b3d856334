package discovery

import (
	"time"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// goneGrace is how long a node stays that never expires and was found absent: as long as one that was never heard again
// would by default.
const goneGrace = DefaultTTL

// withheldPause is after how long the leader is asked again for a key that the store may refuse.
const withheldPause = time.Second

// deadline returns when, on the listening clock, the node leaves; false if it stays for ever. After a gap, nodes have a TTL to
// come back. The caller holds mu.
func (c *cache) deadline(n *cached) (time.Duration, bool) {
	life := c.bucket.Lifetime(n.entry)
	if life == 0 {
		return n.since + goneGrace, n.absent
	}
	return c.clock.Deadline(n.heard, life, life), true
}

// queue stores what is known of a node, and notes when it leaves. The caller holds mu.
func (c *cache) queue(n *cached) {
	c.nodes.Store(n.entry.Key, n)
	if at, ok := c.deadline(n); ok {
		c.deadlines.add(n.entry.Key, at)
	}
}

// setBucket takes in new settings and what the store takes; another TTL moves every deadline. The caller holds mu.
func (c *cache) setBucket(b kv.Bucket) {
	old := c.bucket
	c.bucket = b
	c.clock.Hold(b.Store.Refusal != kv.TakesWrites && !b.Store.Partial)
	c.clock.Refuse(b.Store.Partial)
	if b.TTL == old.TTL && b.MessageTTL == old.MessageTTL {
		return
	}
	for _, n := range c.all() {
		c.queue(n)
	}
}

// Arrived implements kv.Sink.
func (c *cache) Arrived(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock.Arrived(at)
	for key, ok := c.deadlines.pop(c.clock.Now()); ok; key, ok = c.deadlines.pop(c.clock.Now()) {
		c.deadlines.passed[key] = struct{}{}
	}
}

// Overdue implements kv.Sink.
func (c *cache) Overdue() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.clock.Advancing() {
		return nil
	}
	var keys []string
	for key := range c.deadlines.passed {
		if c.overdue(key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// overdue reports whether the deadline of a key whose turn has come has passed; else it gets another turn. The caller holds mu.
func (c *cache) overdue(key string) bool {
	n, known := c.get(key)
	if known {
		at, ok := c.deadline(n)
		if ok && at <= c.clock.Now() {
			return true
		}
		if ok {
			c.deadlines.add(key, at)
		}
	}
	delete(c.deadlines.passed, key)
	return false
}

// Silent implements kv.Sink.
func (c *cache) Silent(keys []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.clock.Advancing() {
		return
	}
	for _, key := range keys {
		if _, passed := c.deadlines.passed[key]; passed && c.overdue(key) {
			delete(c.deadlines.passed, key)
			c.leave(key, Expired)
		}
	}
}

// Withheld implements kv.Sink.
func (c *cache) Withheld(keys []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		if n, ok := c.get(key); ok {
			withheld := *n
			withheld.heard.Withheld = true
			c.nodes.Store(key, &withheld)
			delete(c.deadlines.passed, key)
			// Its deadline goes on with the clock, so it may be overdue again at once.
			at, _ := c.deadline(&withheld)
			c.deadlines.add(key, max(at, c.clock.Now()+withheldPause))
		}
	}
}

// MaxKeys implements kv.Sink: a program trusts the bucket that it reads.
func (*cache) MaxKeys() int { return 0 }

// miss gives a deadline to a node that has none and whose key is gone. The caller holds mu.
func (c *cache) miss(key string) {
	n, ok := c.get(key)
	if !ok || n.absent || c.bucket.Lifetime(n.entry) != 0 {
		return
	}
	gone := *n
	gone.absent, gone.since = true, c.clock.Now()
	c.queue(&gone)
}
