package mirror

import (
	"container/heap"
	"time"
)

// timed is when something is looked at next, and its place in the queue.
type timed struct {
	check time.Duration
	index int
}

func (t *timed) slot() *timed { return t }

// queue is a heap, the item to be looked at first on top. One that is removed is taken out: nodes that come and go would fill it
// until their deadlines. Nobody but its methods may move an item.
type queue[T interface{ slot() *timed }] []T

// unqueued is the index of an item that is not in the queue.
const unqueued = -1

// by makes sure that the item is looked at by that time; never is no time.
func (q *queue[T]) by(item T, at time.Duration) {
	switch slot := item.slot(); {
	case at == never:
	case slot.index == unqueued:
		slot.check = at
		heap.Push((*queueHeap[T])(q), item)
	case at < slot.check:
		slot.check = at
		heap.Fix((*queueHeap[T])(q), slot.index)
	}
}

// next returns when the first item is to be looked at; never if there is none.
func (q queue[T]) next() time.Duration {
	if len(q) == 0 {
		return never
	}
	return q[0].slot().check
}

// due takes out the first item if its time has come; ok is false if it has not.
func (q *queue[T]) due(now time.Duration) (item T, ok bool) {
	if q.next() > now || len(*q) == 0 {
		return item, false
	}
	item = (*q)[0]
	q.drop(item)
	return item, true
}

// drop takes the item out.
func (q *queue[T]) drop(item T) {
	if index := item.slot().index; index != unqueued {
		heap.Remove((*queueHeap[T])(q), index)
	}
}

// queueHeap implements heap.Interface.
type queueHeap[T interface{ slot() *timed }] []T

func (q queueHeap[T]) Len() int           { return len(q) }
func (q queueHeap[T]) Less(i, j int) bool { return q[i].slot().check < q[j].slot().check }

func (q queueHeap[T]) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].slot().index, q[j].slot().index = i, j
}

func (q *queueHeap[T]) Push(x any) {
	item := x.(T) //nolint:errcheck // Only by pushes.
	item.slot().index = len(*q)
	*q = append(*q, item)
}

func (q *queueHeap[T]) Pop() any {
	var none T
	last := len(*q) - 1
	item := (*q)[last]
	(*q)[last] = none
	*q = (*q)[:last]
	item.slot().index = unqueued
	return item
}
