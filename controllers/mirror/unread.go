package mirror

import (
	"time"

	"github.com/rollcall-dev/rollcall/discovery/kv"
	"github.com/rollcall-dev/rollcall/discovery/liveness"
)

// waiting is a message that waits to be read, or for a place below MaxNodes.
type waiting struct {
	kv.Entry
	// heard is the sign of life that it was when it came.
	heard liveness.Heard
	// queued is when on the local clock it came.
	queued time.Time
}

// waitingBytes is about what a message takes besides its value.
const waitingBytes = 384

// bytes returns how much memory the message takes.
func (w *waiting) bytes() int { return waitingBytes + len(w.Value) }

// unread holds the messages that wait to be read, one a key: a later message of a key takes the place of an earlier one. The
// zero value is ready for use.
type unread struct {
	byKey map[string]*waiting
	order []*waiting
	// reading are the messages that were taken and have not been given back, by key.
	reading map[string]*waiting
	// pushed counts the places that were given out, from 1 on, done those whose message was taken.
	pushed, done int
	// late is true while a message waits for too long.
	late bool
	// bytes is how much memory the messages in byKey take.
	bytes int
}

// push adds a message, in the place of an earlier one of the key that is not being read yet.
func (u *unread) push(w waiting) {
	u.bytes += w.bytes()
	if there := u.byKey[w.Key]; there != nil {
		u.bytes -= there.bytes()
		w.queued = there.queued
		*there = w
		return
	}
	if u.byKey == nil {
		u.byKey = map[string]*waiting{}
	}
	u.byKey[w.Key] = &w
	u.order = append(u.order, &w)
	u.pushed++
}

// take takes out as many messages as that, the first that came first.
func (u *unread) take(most int) []*waiting {
	var batch []*waiting
	u.reading = map[string]*waiting{}
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
	return batch
}

// read returns true once everything up to that place has been read.
func (u *unread) read(place int) bool { return u.done >= place && len(u.reading) == 0 }

func (u *unread) len() int { return len(u.order) }

// current returns true if what was read of a message that was taken still counts.
func (u *unread) current(w *waiting) bool { return u.reading[w.Key] == w }

// drop forgets what is known of the key.
func (u *unread) drop(key string) {
	if w := u.byKey[key]; w != nil { // A later message of the key gets its place.
		u.bytes -= len(w.Value)
		*w = waiting{Entry: kv.Entry{Key: key, Operation: kv.Unregister}, queued: w.queued}
	}
	delete(u.reading, key)
}

// clear forgets everything.
func (u *unread) clear() { *u = unread{pushed: u.pushed, done: u.pushed} }

// lateChanged finds out whether a message waits for too long, and returns true if that is news.
func (u *unread) lateChanged(now time.Time) bool {
	was := u.late
	u.late = len(u.order) > 0 && now.Sub(u.order[0].queued) > tooLong
	return u.late != was
}
