package mirror

import (
	"time"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// listing is the listing that is under way; its zero value if none is.
type listing struct {
	cause kv.Cause
	// shown is true once the server has shown it completely, end then is the place in the queue of unread messages before which
	// everything belongs to it.
	shown bool
	end   int
}

// alike returns true if a status says the same of both.
func alike(a, b *kv.Bucket) bool {
	return a.Store == b.Store && a.TTL == b.TTL && a.History == b.History && a.Storage == b.Storage && a.Replicas == b.Replicas &&
		a.Markers == b.Markers && a.MarkerTTL == b.MarkerTTL && a.MaxValueSize == b.MaxValueSize &&
		a.ServerVersion == b.ServerVersion && a.Denied == b.Denied && a.LeftOut == b.LeftOut
}

// now returns the time on the server's clock, for people and metrics. The monotonic clock carries it on from the server's
// last word.
func (m *Mirror) now() time.Time {
	if b := &m.state.Bucket; !b.ServerTime.IsZero() {
		return b.ServerTime.Add(m.clock.Since(b.ReceivedAt))
	}
	return m.clock.Now()
}

// restore goes on with what was held before a restart, nil for nothing; it may be so still.
func (m *Mirror) restore(h *Held) {
	g := &m.table.guard
	switch {
	case h == nil:
	case h.Reason == rollcallv1alpha1.HeldGuard:
		g.since = h.Since
	default:
		m.refusal = *h
	}
	if g.active && g.since.IsZero() {
		g.since = m.clock.Now()
	}
}

// held returns what is held, nil if nothing is. A store that takes no heartbeats is why the guard holds, if it does.
func (m *Mirror) held() *Held {
	h := m.refusal
	if h.Reason == "" {
		if !m.table.guard.active {
			return nil
		}
		h = Held{Since: m.table.guard.since, Reason: rollcallv1alpha1.HeldGuard}
	}
	c := silences{&m.table}.silent()
	h.Silent, h.Of = c.silent, c.of
	return &h
}

// Held says that nodes keep their traffic although they are silent.
type Held struct {
	// Since is when that began, Reason why: HeldGuard, or the word of a kv.Refusal.
	Since  time.Time
	Reason rollcallv1alpha1.HeldReason
	// Silent counts the nodes that would have lost their traffic, Of those that have traffic to lose.
	Silent, Of int
}

// State is what there is to say of a Mirror as a whole.
type State struct {
	// Reading is true while the bucket is being watched and its listing is complete. Since is when that last changed on the
	// local clock, and Err why the bucket can't be read, nil while nobody knows.
	Reading bool
	Since   time.Time
	Err     error
	// Listed is true once the bucket has been listed completely since start, LastSync is when that was the last time.
	Listed   bool
	LastSync time.Time
	// Bucket is the last that the server said of the bucket.
	Bucket kv.Bucket
	// Held is nil while no silent node is held.
	Held *Held
	// Excess counts the entries beyond MaxNodes, which are not mirrored.
	Excess int
	// Nodes counts the nodes by phase.
	Nodes map[rollcallv1alpha1.NodePhase]int
	// Records says how the records of the entries can be read.
	Records Records
}

// Records says how the records of a registry's entries can be read.
type Records struct {
	// Entries counts the entries that are mirrored, Accepted those that have a good record.
	Entries, Accepted int
	// Refused counts the nodes whose last record was refused and that live on their last good one, NeverAccepted the entries
	// that never held a record which could be accepted.
	Refused, NeverAccepted int
	// Example quotes one of the records that are refused: its key and why; empty if there is none.
	Example string
	// Remarked counts the nodes with a remark, Superseded those that a newer node has replaced, Shared the keys that two
	// writers write in turn.
	Remarked, Superseded, Shared int
	// Failing counts, by field of the NodeRegistry such as spec.record.zone, the entries for which an expression fails.
	Failing map[string]int
	// Missing are the labels of spec.labels whose metadata no accepted record has, sorted; nil while there are no nodes.
	Missing []string
	// Sparse counts the nodes that heartbeat less often than twice in StaleAfter, and Interval is how often one of them does.
	Sparse   int
	Interval time.Duration
	// Flapping counts the keys that changed more often than their budget allows, until they are steady; Flaps is one of them.
	Flapping int
	Flaps    string
	// TooSlow is true while records wait to be read for longer than they should.
	TooSlow bool
}
