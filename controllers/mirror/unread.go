package mirror

import (
	"time"

	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery/kv"
	"github.com/rollcall-dev/rollcall/discovery/liveness"
)

// waiting is a message that waits to be read or, once it was, for the end of a listing or a place below MaxNodes.
type waiting struct {
	kv.Entry
	// heard is the sign of life that it was when it came, queued when on the local clock that was.
	heard  liveness.Heard
	queued time.Time
	// last is the gist of the node's record, which this one may repeat; zero if it may not.
	last record.Gist
	// reading is what was read of it; nil before that, and for a deletion.
	reading *record.Reading
	// size is about how much memory a message takes that was read.
	size int
}

// waitingBytes is about what a message takes besides its value.
const waitingBytes = 384

// bytes returns about how much memory a message takes that was not read yet.
func (w *waiting) bytes() int { return waitingBytes + len(w.Value) }

// unread holds the messages that wait to be read, one a key: a later message of a key takes the place of an earlier one. The
// zero value is ready for use.
type unread struct {
	byKey map[string]*waiting
	order []*waiting
	// reading are the messages that were taken and have not been given back, by key.
	reading map[string]*waiting
	// peak is how many there were at once.
	peak int
	// done counts the messages that were taken or forgotten.
	done int
	// bytes is how much memory the messages in byKey take.
	bytes int
	// free are messages that nobody needs any more, for use by the next ones: heartbeats would leave them to the garbage collector.
	free []*waiting
}

// maxSpare is for how many messages room is kept that nobody needs.
const maxSpare = 4096

// push adds a message, in the place of an earlier one of the key that is not being read yet.
func (u *unread) push(w waiting) {
	u.bytes += w.bytes()
	if there := u.byKey[w.Key]; there != nil {
		u.bytes -= there.bytes()
		w.queued = there.queued
		*there = w
		return
	}
	var next *waiting
	if last := len(u.free) - 1; last >= 0 {
		next, u.free = u.free[last], u.free[:last]
	} else {
		next = &waiting{}
	}
	*next = w
	if u.byKey == nil {
		u.byKey, u.reading = map[string]*waiting{}, map[string]*waiting{}
	}
	u.byKey[w.Key] = next
	u.order = append(u.order, next)
	u.peak = max(u.peak, len(u.order))
}

// end returns the place after the last message.
func (u *unread) end() int { return u.done + len(u.order) }

// take takes out as many messages as that, the first that came first.
func (u *unread) take(most int) (batch []*waiting) {
	for len(u.order) > 0 && len(batch) < most {
		w := u.order[0]
		u.order[0], u.order = nil, u.order[1:]
		u.done++
		u.bytes -= w.bytes()
		delete(u.byKey, w.Key)
		if w.Operation == kv.Put {
			u.reading[w.Key] = w
			batch = append(batch, w)
		}
	}
	if len(u.order) == 0 && u.peak > maxSpare {
		// There is room for a whole listing, in which the few that come from now on would be far apart.
		u.byKey, u.order, u.peak = map[string]*waiting{}, nil, 0
	}
	return batch
}

// give gives back the messages that were taken.
func (u *unread) give(batch []*waiting) {
	clear(u.reading)
	for _, w := range batch {
		*w = waiting{}
	}
	u.free = batch
}

// read returns true once everything before that place has been read.
func (u *unread) read(place int) bool { return u.done >= place && len(u.reading) == 0 }

// holds returns true for a key of which a message waits, or is being read.
func (u *unread) holds(key string) bool {
	return len(u.byKey) > 0 && u.byKey[key] != nil || len(u.reading) > 0 && u.reading[key] != nil
}

// drop forgets what is known of the key. A later message of the key gets its place.
func (u *unread) drop(key string) {
	if w := u.byKey[key]; w != nil {
		u.bytes -= len(w.Value)
		w.Operation, w.Value = kv.Unregister, nil
	}
	delete(u.reading, key)
}

// clear forgets everything.
func (u *unread) clear() { *u = unread{done: u.end()} }

// late returns true while a message waits for too long.
func (u *unread) late(now time.Time) bool {
	return len(u.order) > 0 && now.Sub(u.order[0].queued) > tooLong
}
