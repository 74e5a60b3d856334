package discovery

import (
	"container/heap"
	"time"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// deadlines is a queue of keys by the time at which their deadline is to be looked at. A heartbeat moves a deadline away
// and leaves the queue alone: the key is put back when its turn comes too early.
type deadlines struct {
	queue  dueQueue
	queued map[string]time.Time // when each key is due
}

type due struct {
	key string
	at  time.Time
}

func newDeadlines() deadlines { return deadlines{queued: map[string]time.Time{}} }

// add queues the key unless it is queued for an earlier time, and reports whether it now is the first.
func (d *deadlines) add(key string, at time.Time) bool {
	if old, ok := d.queued[key]; ok && !at.Before(old) {
		return false
	}
	d.queued[key] = at
	heap.Push(&d.queue, due{key, at})
	return d.queue[0].key == key
}

// first returns when the first key is due.
func (d *deadlines) first() (time.Time, bool) {
	if len(d.queue) == 0 {
		return time.Time{}, false
	}
	return d.queue[0].at, true
}

// pop takes out the first key if it is due by now.
func (d *deadlines) pop(now time.Time) (string, bool) {
	for len(d.queue) > 0 && !d.queue[0].at.After(now) {
		next := d.queue[0]
		heap.Pop(&d.queue)
		if d.queued[next.key].Equal(next.at) {
			delete(d.queued, next.key)
			return next.key, true
		}
		// The key was queued again for an earlier time, and has had its turn.
	}
	return "", false
}

type dueQueue []due

func (q dueQueue) Len() int           { return len(q) }
func (q dueQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q dueQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

func (q *dueQueue) Push(x any) {
	if d, ok := x.(due); ok {
		*q = append(*q, d)
	}
}

func (q *dueQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

// goneGrace is how long a node stays that never expires and was found absent: as long as one that was never heard again
// would by default.
const goneGrace = DefaultTTL

// deadline returns when, on the server's clock, the node leaves; false if it stays for ever. The caller holds mu.
func (c *cache) deadline(n *cached) (time.Time, bool) {
	life := c.bucket.Lifetime(n.entry)
	if life == 0 {
		return n.gone.Add(goneGrace), !n.gone.IsZero()
	}
	// The node's last sign of life, or the moment from which on one could have been heard.
	since := n.entry.Written
	if c.floor.After(since) {
		since = c.floor
	}
	return since.Add(life), true
}

// setBucket takes in new settings; another TTL moves every deadline. The caller holds mu and calls arm.
func (c *cache) setBucket(b kv.Bucket) {
	changed := b.TTL != c.bucket.TTL || b.MessageTTL != c.bucket.MessageTTL
	c.bucket = b
	if !changed {
		return
	}
	for _, n := range c.all() {
		if at, ok := c.deadline(n); ok {
			c.deadlines.add(n.entry.Key, at)
		}
	}
}

// arm sets the timer to the first deadline. The caller holds mu.
func (c *cache) arm() {
	at, ok := c.deadlines.first()
	if !ok || c.suspended || c.closed {
		c.timer.Stop()
		return
	}
	c.timer.Reset(max(at.Sub(serverNow(c.bucket)), 0))
}

// expire lets the nodes leave whose deadline has passed. The timer calls it.
func (c *cache) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.suspended || c.closed {
		return
	}
	now := serverNow(c.bucket)
	for {
		key, ok := c.deadlines.pop(now)
		if !ok {
			break
		}
		c.leaveIfDue(key)
		if n, ok := c.get(key); ok {
			if at, ok := c.deadline(n); ok {
				c.deadlines.add(key, at)
			}
		}
	}
	c.arm()
}

// leaveIfDue lets the node leave if its deadline has passed. The caller holds mu.
func (c *cache) leaveIfDue(key string) {
	n, ok := c.get(key)
	if !ok || c.suspended {
		return
	}
	if at, ok := c.deadline(n); ok && !at.After(serverNow(c.bucket)) {
		c.leave(key, Expired)
	}
}

// markGone gives a deadline to a node that has none and whose key is gone. The caller holds mu.
func (c *cache) markGone(key string) {
	n, ok := c.get(key)
	if !ok || !n.gone.IsZero() || c.bucket.Lifetime(n.entry) != 0 {
		return
	}
	gone := *n
	gone.gone = serverNow(c.bucket)
	c.nodes.Store(key, &gone)
	if at, ok := c.deadline(&gone); ok {
		c.deadlines.add(key, at)
	}
}

func serverNow(b kv.Bucket) time.Time {
	if b.ServerTime.IsZero() {
		return time.Now().Round(0)
	}
	return b.ServerTimeAt(time.Now())
}

// Arrived implements kv.Sink.
func (c *cache) Arrived(time.Time) {}

// Overdue implements kv.Sink.
func (c *cache) Overdue() []string { return nil }

// Silent implements kv.Sink.
func (c *cache) Silent([]string) {}
