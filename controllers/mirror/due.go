package mirror

import (
	"container/heap"
	"time"
)

// check is when an entry is to be looked at. It counts as long as the entry says so as well.
type check struct {
	at time.Duration
	*entry
}

// checks is a heap of checks, the first on top.
type checks []check

// by makes sure that the entry is looked at by that time; never is no time.
func (c *checks) by(e *entry, at time.Duration) {
	if at < e.check {
		e.check = at
		heap.Push(c, check{at, e})
	}
}

// due takes out the first entry if its time has come; nil if it has not.
func (c *checks) due(now time.Duration) *entry {
	for len(*c) > 0 && (*c)[0].at <= now {
		if next, _ := heap.Pop(c).(check); next.at == next.check {
			next.check = never
			return next.entry
		}
	}
	return nil
}

// Len implements heap.Interface.
func (c *checks) Len() int { return len(*c) }

// Less implements heap.Interface.
func (c *checks) Less(i, j int) bool { return (*c)[i].at < (*c)[j].at }

// Swap implements heap.Interface.
func (c *checks) Swap(i, j int) { (*c)[i], (*c)[j] = (*c)[j], (*c)[i] }

// Push implements heap.Interface.
func (c *checks) Push(x any) {
	next, _ := x.(check)
	*c = append(*c, next)
}

// Pop implements heap.Interface.
func (c *checks) Pop() any {
	last := len(*c) - 1
	next := (*c)[last]
	(*c)[last] = check{}
	*c = (*c)[:last]
	return next
}
