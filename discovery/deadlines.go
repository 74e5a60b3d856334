package discovery

import (
	"container/heap"
	"time"
)

// deadlines is a queue of keys by the time, on the listening clock, at which their deadline is looked at. A heartbeat moves a
// deadline away and leaves the queue alone: the key is put back when its turn comes too early.
type deadlines struct {
	queue  dueQueue
	queued map[string]time.Duration // when each key is due
	passed map[string]struct{}      // the keys whose turn has come and that were not put back
}

type due struct {
	key string
	at  time.Duration
}

func newDeadlines() deadlines {
	return deadlines{queued: map[string]time.Duration{}, passed: map[string]struct{}{}}
}

// add queues the key unless it is queued for an earlier time.
func (d *deadlines) add(key string, at time.Duration) {
	if old, ok := d.queued[key]; ok && at >= old {
		return
	}
	d.queued[key] = at
	heap.Push(&d.queue, due{key, at})
}

// pop takes out the first key if it is due by now.
func (d *deadlines) pop(now time.Duration) (string, bool) {
	for len(d.queue) > 0 && d.queue[0].at <= now {
		next := d.queue[0]
		heap.Pop(&d.queue)
		if at, ok := d.queued[next.key]; ok && at == next.at {
			delete(d.queued, next.key)
			return next.key, true
		}
		// The key was queued again for an earlier time, and has had its turn.
	}
	return "", false
}

type dueQueue []due

func (q dueQueue) Len() int           { return len(q) }
func (q dueQueue) Less(i, j int) bool { return q[i].at < q[j].at }
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
