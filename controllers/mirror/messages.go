package mirror

import (
	"math"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// messages applies what comes from the bucket to the entries of a table: at once that it came, and once it was read what it
// says.
type messages struct{ *table }

// put applies that a message with a record has come, and has it read; it returns true if there is nothing to be read, since the message
// repeats the one before it. While another bucket, prefix or mapping is being listed everything waits for the end of the listing.
func (t messages) put(x *kv.Entry, c clock.PassiveClock) (repeats bool) {
	e := t.find(x)
	if t.staged == nil && e != nil {
		if t.hear(e, x); t.repeat(e, x) {
			return true
		}
	}
	w := waiting{Entry: *x, heard: t.timing.clock.Hear(x.Age), queued: c.Now()}
	if len(w.Value) > record.MaxRecordSize {
		w.Value = oversize[:]
	}
	if e == nil && t.unread.bytes+w.bytes() > t.room() {
		t.unread.drop(x.Key)
		t.out.state = t.excess.put(w) || t.out.state
		return false
	}
	t.unread.push(w)
	return false
}

// maxGlance is the size of a record up to which a look at its text takes hardly longer than receiving it did.
const maxGlance = 4 << 10

// repeat applies a message whose record says what is known and shown of the node already, and returns false for any other. So most
// heartbeats are neither kept nor read.
func (t messages) repeat(e *entry, x *kv.Entry) bool {
	if len(x.Value) > maxGlance || t.unread.holds(x.Key) || !e.quiet(t.timing.clock.Now(), t.timing.window()) {
		return false
	}
	load, repeats := e.facts.Repeats(x, &t.policy.Record, e.load)
	if repeats {
		e.back, e.load, e.behind = false, load, e.node != nil
	}
	return repeats
}

// oversize stands for every value that is refused for its size.
var oversize [record.MaxRecordSize + 1]byte

const (
	// leastRoom is how many bytes of messages may wait in any registry, and roomPerNode how many more for each node that it may
	// have. Beyond that, the keys that nobody knows wait for their next message.
	leastRoom   = 512 << 10
	roomPerNode = 2 << 10
)

// room returns how many bytes of messages may wait to be read, and as many for the end of a listing that is staged.
func (t messages) room() int {
	if t.policy.MaxNodes == 0 {
		return math.MaxInt
	}
	return leastRoom + t.policy.MaxNodes*roomPerNode
}

// hear applies a sign of life. A message that a listing shows again is one only for who knows the node from memory alone.
func (t messages) hear(e *entry, x *kv.Entry) {
	// Another bucket counts its revisions from the beginning, so the revision alone does not name the message.
	again := x.Revision == e.revision && (e.remembered || x.Written.Equal(e.written))
	switch {
	case !again:
		t.guard.stale = t.guard.stale || e.due() || e.silence != none
		t.pace(e, x)
		e.heard, e.notBefore = t.timing.clock.Hear(x.Age), 0
		e.answer, e.accepted, e.back = never, false, true
	case e.remembered:
		e.heard = t.timing.clock.Hear(x.Age)
	}
	e.written, e.ttl, e.revision, e.absent = x.Written, x.TTL, x.Revision, never
	t.checks.by(e, t.timing.next(e))
}

// smoothing is the weight of the past in what is known of a node's interval: one late heartbeat says little.
const smoothing = 4

// pace notes how often the node heartbeats, as far as it was listened to.
func (t messages) pace(e *entry, x *kv.Entry) {
	if x.Age != 0 || e.heard.Age != 0 || e.remembered {
		return
	}
	gap := t.timing.clock.Now() - e.heard.At
	if e.interval == 0 {
		e.interval = gap
	}
	e.interval += (gap - e.interval) / smoothing
	if t.timing.sparse(e) != e.counted.is[countSparse] {
		t.count(e)
	}
}

// recall has the messages read as repetitions of what is known, unless everything is read anew.
func (t messages) recall(batch []*waiting) {
	if t.staged != nil {
		return
	}
	for _, w := range batch {
		if e := t.entries[w.Key]; e != nil {
			w.last = e.facts.Gist()
		}
	}
}

// apply applies what was read of a message.
func (t messages) apply(w *waiting) {
	switch {
	case t.unread.reading[w.Key] != w:
		// The key was deleted, or everything is listed again.
	case t.staged != nil:
		t.staged.put(*w)
	default:
		t.read(w)
		t.settle(w.Written)
	}
}

// read applies what a message says.
func (t messages) read(w *waiting) {
	e := t.entries[w.Key]
	if w.reading.Repeats() && (e == nil || !e.facts.Says(w.reading)) { // What it repeats is gone.
		*w.reading = record.Read(&w.Entry, &t.policy.Record, 0)
	}
	switch {
	case !w.reading.Repeats() && !t.policy.Record.Mirrors(w.Key, w.reading.Origin()):
		t.drop(w.Key)
	case e != nil:
		if w.Revision > e.revision && w.Written.After(e.written) {
			t.hear(e, &w.Entry) // When it came, the first message of its key was being read.
		}
		t.adopt(e, w.reading)
	case t.full():
		t.out.state = t.excess.put(*w) || t.out.state
	default:
		t.forgo(w.Key)
		t.join(w)
	}
}

// join adds a new node.
func (t messages) join(w *waiting) {
	e := &entry{
		key: w.Key, facts: w.reading.Onto(nil), load: w.reading.Load(""), firstSeen: w.Written, absent: never, forgotten: t.unsettled,
		written: w.Written, ttl: w.TTL, revision: w.Revision, heard: w.heard,
	}
	t.restore(e)
	e.facts.Judge(t.labels, &t.policy.Record, nil)
	t.insert(e)
	if w.Memo != nil {
		w.Memo.Of = e
	}
}

// adopt takes over what was read of a known node's message. Where it changes nothing that is shown, it costs no more than a
// new Node.
func (t messages) adopt(e *entry, r *record.Reading) {
	back := e.back
	e.back, e.load = false, r.Load(e.load)
	if e.facts.Says(r) && e.quiet(t.timing.clock.Now(), t.timing.window()) {
		e.facts.Restate(r)
		e.behind = e.node != nil
		return
	}
	if back {
		e.silence, e.shadow = none, alone
	}
	f := r.Onto(&e.facts)
	if id := f.Identity(); e.facts.Good && f.Accepted() && id != e.facts.Identity() && t.ids.taken(id, e) {
		f = f.Refused(duplicateID(f.ID), &e.facts)
	}
	f.Judge(t.labels, &t.policy.Record, e.facts.Labels)
	e.facts, e.remembered = f, false
	e.turns.observe(reachOf(&e.facts), t.timing.clock.Now(), t.timing.window())
	t.guard.stale = true
	t.mark(e)
}

// unregister applies that a key was deleted.
func (t messages) unregister(x *kv.Entry) {
	t.unread.drop(x.Key)
	if t.staged != nil {
		t.staged.put(waiting{Entry: *x})
		return
	}
	t.drop(x.Key)
}

// drop applies an unregistration, or that a key is none of the registry's.
func (t messages) drop(key string) {
	if e := t.entries[key]; e != nil {
		t.departed.Add(key, departure{at: t.timing.clock.Now(), firstSeen: e.firstSeen, cordoned: e.cordoned})
		t.remove(e)
	}
	t.forgo(key)
}

// dropForeign applies an unregistration to a node that was under another prefix when it was heard last: with that prefix
// nobody hears of it any more.
func (t messages) dropForeign(x *kv.Entry) {
	id := strings.TrimPrefix(x.Key, t.policy.Record.KeyPrefix)
	if e := t.ids.holder(id); e != nil && e.foreign && x.Revision > e.revision && x.Written.After(e.written) {
		t.drop(e.key)
	}
}

// miss applies that a key is not in the bucket. That alone is no unregistration: the node goes at its deadline.
func (t messages) miss(key string) {
	e := t.entries[key]
	if e == nil {
		t.unread.drop(key)
		t.forgo(key)
		return
	}
	if e.absent == never {
		e.absent = t.timing.clock.Now()
	}
	t.checks.by(e, t.timing.next(e))
}

// begin forgets what waits, since every key is going to be delivered again, and nobody would tell which of these are gone. With
// staging, the listing takes effect in one step, when it is complete: it is of another bucket, prefix or mapping.
func (t messages) begin(staging bool) {
	t.unread.clear()
	t.excess, t.staged = newShelf(maxExcess), nil
	if staging {
		t.staged = newShelf(t.room())
	}
}

// commit applies the listing that was staged, and that those are missing which no listing shows.
func (t messages) commit() {
	all := t.staged
	t.staged = nil
	if all != nil {
		for w := range all.all {
			t.shown(w)
		}
		for key := range all.bare {
			if t.entries[key] == nil {
				t.out.state = t.excess.put(waiting{Entry: kv.Entry{Key: key, Operation: kv.Put}}) || t.out.state
			}
		}
	}
	for _, w := range t.unread.byKey {
		if e := t.entries[w.Key]; e != nil && w.Operation == kv.Put {
			t.hear(e, &w.Entry)
		}
	}
	for key, e := range t.entries {
		if e.foreign {
			t.miss(key)
		}
	}
}

// shown applies what a listing that was staged has shown of a key.
func (t messages) shown(w *waiting) {
	if w.reading == nil {
		t.drop(w.Key)
		t.dropForeign(&w.Entry)
		return
	}
	if e := t.entries[w.Key]; e != nil {
		t.hear(e, &w.Entry)
	}
	t.read(w)
	t.settle(w.Written)
}

// admit gives the places that have become free to those that have waited longest.
func (t messages) admit(at time.Time) {
	for w := range t.excess.all {
		if t.full() {
			return
		}
		t.forgo(w.Key)
		if !t.timing.late(w) {
			t.read(w)
			t.settle(at)
		}
	}
}

// forgo lets a key no longer wait for a place.
func (t messages) forgo(key string) {
	t.out.state = t.excess.drop(key) || t.out.state
}
