package mirror

import (
	"maps"
	"time"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// State is what there is to say of a Mirror as a whole.
type State struct {
	// Reading says that the bucket is being watched and its listing is complete. Since is when that last changed on the
	// local clock, and Err why the bucket can't be read, nil while nobody knows.
	Reading bool
	Since   time.Time
	Err     error
	// Listed says that the bucket has been listed completely since start, LastSync when that was the last time.
	Listed   bool
	LastSync time.Time
	// Bucket is the last that the server said of the bucket.
	Bucket kv.Bucket
	// Held says why silence removes no node; nil: it does.
	Held *Held
	// Excess counts the entries beyond MaxNodes, which are not mirrored.
	Excess int
	// Nodes counts the nodes by phase.
	Nodes map[rollcallv1alpha1.NodePhase]int
}

// Held is what there is to say while silence removes no node.
type Held struct {
	// Since is when that began, in whole seconds.
	Since time.Time
	// Reason is why.
	Reason rollcallv1alpha1.HeldReason
	// Silent is how many nodes are kept although they are silent, Of how many there are.
	Silent, Of int
}

// State returns the state of the Mirror.
func (m *Mirror) State() State {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := State{
		Reading: m.link.reading, Since: m.link.since, Err: m.link.err,
		Listed: m.link.listed, LastSync: m.link.lastSync, Bucket: m.link.bucket,
		Excess: m.excess.len(), Nodes: make(map[rollcallv1alpha1.NodePhase]int, len(m.counts)),
	}
	maps.Copy(s.Nodes, m.counts)
	if m.guard.active {
		c := m.census(m.now())
		s.Held = &Held{Since: m.guard.since, Reason: rollcallv1alpha1.HeldGuard, Silent: c.held, Of: c.live}
	}
	return s
}
