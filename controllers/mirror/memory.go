package mirror

import (
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
)

// memory decides when what nobody knows may be removed. What was written before the start is all that is known until the bucket
// has been listed, and for longer where not every node had a DiscoveredNode: a node may have had a good record before its last one
// was refused, and one whose key is gone may have been held.
type memory struct {
	// partial is true if not every node had a DiscoveredNode when the Mirror began.
	partial bool
	settled bool
	// listed is when the bucket had been listed for the first time, held until when those are waited for who were kept since then
	// although they were silent, both on the listening clock.
	listed, held time.Duration
	// left are the names of nodes that were known and left while memory was not settled.
	left sets.Set[string]
}

// settleMemory notes whether memory is settled by now. It stays so.
func (m *Mirror) settleMemory() {
	if m.memory.settled || !m.state.Listed {
		return
	}
	timing := &m.table.timing
	now, most := timing.clock.Now(), timing.window()+timing.grace()
	if m.memory.left == nil {
		m.memory.left, m.memory.listed = sets.New[string](), now
	}
	if m.refusal.Reason != "" || m.table.guard.active {
		m.memory.held = now + most
	}
	refused := m.table.records.counts[countForgotten] > 0 && now < m.memory.listed+most
	if m.memory.partial && (refused || now < m.memory.held) {
		return
	}
	m.memory = memory{settled: true}
	m.table.unsettled, m.out.settled = false, true
}

// recall notes who leaves while memory is not settled.
func (m *Mirror) recall(changes []Change) {
	if m.memory.left == nil {
		return
	}
	for _, c := range changes {
		if c.New == nil {
			m.memory.left.Insert(c.Old.Name)
		}
	}
}

// Settled returns true if what there is of a node of that name may be removed where the Mirror does not know the node. It is cheap: it
// is asked for each endpoint.
func (m *Mirror) Settled(name string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.memory.settled || m.memory.left.Has(name)
}
