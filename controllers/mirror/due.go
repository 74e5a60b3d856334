package mirror

import (
	"container/heap"
	"time"
)

// checks is a heap of entries, the one to be looked at first on top. An entry that is removed is taken out: nodes that come and go
// would fill it until their deadlines. Nobody but its methods may move an entry.
type checks []*entry

// unqueued is the index of an entry that is not in the heap.
const unqueued = -1

// by makes sure that the entry is looked at by that time; never is no time.
func (c *checks) by(e *entry, at time.Duration) {
	switch {
	case at == never:
	case e.index == unqueued:
		e.check = at
		heap.Push((*checkHeap)(c), e)
	case at < e.check:
		e.check = at
		heap.Fix((*checkHeap)(c), e.index)
	}
}

// due takes out the first entry if its time has come; nil if it has not.
func (c *checks) due(now time.Duration) *entry {
	if len(*c) == 0 || (*c)[0].check > now {
		return nil
	}
	e := (*c)[0]
	c.drop(e)
	return e
}

// drop takes the entry out.
func (c *checks) drop(e *entry) {
	if e.index != unqueued {
		heap.Remove((*checkHeap)(c), e.index)
	}
}

// checkHeap implements heap.Interface.
type checkHeap []*entry

func (c checkHeap) Len() int           { return len(c) }
func (c checkHeap) Less(i, j int) bool { return c[i].check < c[j].check }

func (c checkHeap) Swap(i, j int) {
	c[i], c[j] = c[j], c[i]
	c[i].index, c[j].index = i, j
}

func (c *checkHeap) Push(x any) {
	e := x.(*entry) //nolint:errcheck // Only by pushes.
	e.index = len(*c)
	*c = append(*c, e)
}

func (c *checkHeap) Pop() any {
	last := len(*c) - 1
	e := (*c)[last]
	(*c)[last] = nil
	*c = (*c)[:last]
	e.index = unqueued
	return e
}
