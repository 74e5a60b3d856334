package mirror

import (
	"time"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// listingPatience is how long a listing may hold back the changes that it finds. A listing of 100,000 keys takes a quarter
// of a second; over a slow link it must not blind everybody for longer than this.
const listingPatience = time.Second

// Listing implements kv.Sink.
func (m *Mirror) Listing(cause kv.Cause) {
	m.mu.Lock()
	m.tally.listing(cause)
	m.link.listing = cause
	if cause == kv.CauseStart {
		m.excess = excess{} // Every key is delivered anew, and nobody would tell which of these are gone.
	}
	if cause.Gap() {
		m.stopReading(nil)
		m.outbox.closed = m.clock.Now().Add(listingPatience)
		m.prod()
	}
	m.unlockAndTell()
}

// Disconnected implements kv.Sink.
func (m *Mirror) Disconnected(err error) {
	m.mu.Lock()
	m.link.listing = ""
	m.stopReading(err)
	m.outbox.closed = time.Time{}
	m.unlockAndTell()
}

func (m *Mirror) stopReading(err error) {
	if m.link.reading {
		m.link.since = m.clock.Now()
	}
	m.link.reading, m.link.err = false, err
	m.outbox.state = true
}

// Synced implements kv.Sink.
func (m *Mirror) Synced(b kv.Bucket) {
	m.mu.Lock()
	m.setBucket(b)
	m.link.lastSync = m.clock.Now()
	if m.link.listing.Gap() {
		m.startReading()
	}
	m.link.listing = ""
	m.outbox.closed = time.Time{}
	m.outbox.state = m.excess.prune(m.late) || m.outbox.state
	m.unlockAndTell()
}

// startReading ends a gap. The nodes may have been cut off as well: each gets its grace before it is missed.
func (m *Mirror) startReading() {
	m.outbox.settled = !m.link.listed
	m.outbox.state = true
	m.link.reading, m.link.listed, m.link.err = true, true, nil
	m.link.since = m.clock.Now()
	m.d.floor = m.now().Add(m.d.grace)
	for _, e := range m.entries {
		e.heard = false
	}
	m.recheck()
}

// Bucket implements kv.Sink.
func (m *Mirror) Bucket(b kv.Bucket) {
	m.mu.Lock()
	m.setBucket(b)
	m.unlockAndTell()
}

func (m *Mirror) setBucket(b kv.Bucket) {
	old := m.link.bucket
	m.link.bucket = b
	if old.TTL != b.TTL || old.MessageTTL != b.MessageTTL || old.ServerTime.IsZero() {
		m.d.ttl, m.d.messageTTL = b.TTL, b.MessageTTL
		m.d.grace = m.policy.grace(b.TTL)
		m.recheck()
	}
	m.outbox.state = m.outbox.state || old.TTL != b.TTL || old.History != b.History || old.Storage != b.Storage ||
		old.Markers != b.Markers || old.ServerVersion != b.ServerVersion
}

// Entry implements kv.Sink.
func (m *Mirror) Entry(x kv.Entry) {
	m.mu.Lock()
	m.tally.event(x.Operation)
	e := m.entries[x.Key]
	switch {
	case x.Operation == kv.Put:
		m.put(e, x)
	case e == nil:
		m.forgo(x.Key)
	case x.Operation == kv.Unregister:
		m.remove(e, x.Written)
	default:
		// The server's word that the key is past its TTL is a hint: on a cluster it may have overtaken a fresh heartbeat.
		m.miss(e)
	}
	m.unlockAndTell()
}

// Absent implements kv.Sink.
func (m *Mirror) Absent(keys []string) {
	m.mu.Lock()
	for _, key := range keys {
		if e := m.entries[key]; e != nil {
			m.miss(e)
		} else {
			m.forgo(key)
		}
	}
	m.unlockAndTell()
}

// forgo lets a key that is gone from the bucket no longer wait for a place.
func (m *Mirror) forgo(key string) {
	if m.excess.drop(key) {
		m.outbox.state = true
	}
}

// miss notes that the entry's key is not in the bucket. That alone is no unregistration: the node goes at its deadline.
func (m *Mirror) miss(e *entry) {
	if e.absent.IsZero() {
		e.absent = m.now()
	}
	m.queue(e)
}

// put takes in a message that holds a record.
func (m *Mirror) put(e *entry, x kv.Entry) {
	f, load := read(&x, &m.policy)
	if !m.policy.mirrors(x.Key, f.origin) {
		m.forgo(x.Key)
		if e != nil {
			m.remove(e, x.Written)
		}
		return
	}
	f.judge(m.labels, &m.policy)
	switch {
	case e == nil && m.full():
		m.outbox.state = m.excess.put(x) || m.outbox.state
	case e == nil:
		m.forgo(x.Key)
		m.join(x, f, load)
	case x.Revision == e.revision:
		m.confirm(e, x, f, load)
	default:
		m.heartbeat(e, x, f, load)
	}
}

// confirm takes in a message that a listing shows again: what is known already, and no sign of life. What was last written
// down, or read by another Reader, is read anew.
func (m *Mirror) confirm(e *entry, x kv.Entry, f facts, load string) {
	e.written, e.ttl = x.Written, x.TTL
	if e.generation != m.generation {
		m.revise(e, m.now(), func() { e.adopt(m.generation, f, load) })
	}
	m.queue(e)
}

// adopt takes over what was read. An entry that says no longer which node it is remains that node: a broken record is not
// to change names.
func (e *entry) adopt(generation int, f facts, load string) {
	if f.anonymous && !e.facts.anonymous {
		f.id, f.anonymous = e.facts.id, false
	}
	e.generation, e.facts, e.load = generation, f, load
}

// join makes a new node known. One whose deadline has passed, on a server that does not drop such keys, joins Expired.
func (m *Mirror) join(x kv.Entry, f facts, load string) {
	e := &entry{
		key: x.Key, facts: f, load: load, generation: m.generation, firstSeen: x.Written,
		written: x.Written, ttl: x.TTL, revision: x.Revision, heard: m.link.reading,
	}
	if m.late(&x) {
		e.expired = m.now()
	}
	m.insert(e, x.Written)
}

// late says whether a message is past its TTL, as far as the server's clock is known.
func (m *Mirror) late(x *kv.Entry) bool {
	life := m.d.life(&entry{ttl: x.TTL})
	return life > 0 && !m.link.bucket.ServerTime.IsZero() && m.now().After(x.Written.Add(life))
}

// heartbeat takes in a sign of life of a known node. Where it changes nothing that is shown, it costs no more than a new
// Node.
func (m *Mirror) heartbeat(e *entry, x kv.Entry, f facts, load string) {
	if e.held {
		m.guard.returned = true
		m.prod()
	}
	quiet := e.facts.equal(&f) && !e.stale && e.expired.IsZero()
	beat := func() {
		e.written, e.ttl, e.revision = x.Written, x.TTL, x.Revision
		e.heard, e.absent = m.link.reading, time.Time{}
		e.stale, e.expired, e.held, e.accepted = false, time.Time{}, false, false
	}
	if quiet {
		// What is known already is kept, and not what says the same: the maps of a fleet's nodes are shared.
		e.generation, e.load = m.generation, load
		beat()
		e.refresh()
	} else {
		m.revise(e, x.Written, func() {
			e.adopt(m.generation, f, load)
			beat()
		})
	}
	m.queue(e)
}

// Arrived implements kv.Sink.
func (m *Mirror) Arrived(time.Time) {}

// Overdue implements kv.Sink.
func (m *Mirror) Overdue() []string { return nil }

// Silent implements kv.Sink.
func (m *Mirror) Silent([]string) {}
