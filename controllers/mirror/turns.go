package mirror

import (
	"hash/maphash"
	"slices"
	"time"
)

// remarkShared is the remark on a node whose key is shared.
const remarkShared = "two writers write the key in turn, so the endpoint jumps from one to the other: give each machine an ID of its own"

// turns notices when two writers write one key in turn: where the node is reached goes back and forth. A node that moves, or
// that moves and comes back once, is no such case. The zero value is ready for use.
type turns struct {
	// back counts how often the node was back at a place of before, without a pause of one window. last is when that was last.
	back int
	last time.Duration
	// past are the places of before, the latest first, and here is the one of now.
	past [3]uint64
	here uint64
}

// often is how many times a node is back at a place of before until somebody should know.
const often = 2

var placeSeed = maphash.MakeSeed()

// observe applies that the node is reached there; window is how long a place of before counts.
func (t *turns) observe(r reach, now, window time.Duration) {
	if t.over(now, window) {
		*t = turns{here: t.here}
	}
	place := r.hash()
	if place == t.here {
		return
	}
	if slices.Contains(t.past[:], place) {
		t.back, t.last = t.back+1, now
	}
	t.past, t.here = [...]uint64{t.here, t.past[0], t.past[1]}, place
}

// shared returns true if two writers take turns.
func (t *turns) shared() bool { return t.back >= often }

// over returns true if what was noticed no longer counts.
func (t *turns) over(now, window time.Duration) bool { return t.back > 0 && now-t.last > window }

// hash returns a hash of where a node is reached, in whatever order it says so; never zero.
func (r reach) hash() (sum uint64) {
	for at := range r.sites {
		sum += maphash.Comparable(placeSeed, at)
	}
	return sum | 1
}
