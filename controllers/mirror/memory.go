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
	// begun is true once the bucket was listed for the first time, and settled once what nobody knows may be removed.
	begun, settled bool
	// listed is when it was listed for the first time, held until when those are waited for who were kept since then although they
	// were silent, both on the listening clock.
	listed, held time.Duration
	// left are the names of who left while memory was not settled; nil: none is kept, since memory is settled with the first listing.
	left sets.Set[string]
}

func newMemory(partial bool) memory {
	m := memory{partial: partial}
	if partial {
		m.left = sets.New[string]()
	}
	return m
}

// unregistered notes that a key was deleted, of which there may be an endpoint that was written before the start. again is true if
// whoever asked Settled before has to ask again.
func (m *memory) unregistered(p *Policy, registry, key string) (again bool) {
	if m.left == nil {
		return false
	}
	m.left.Insert(p.Record.Names(registry, key)...)
	return m.begun
}

// settleMemory notes whether memory is settled by now. It stays so.
func (m *Mirror) settleMemory() {
	if m.memory.settled || !m.state.Listed {
		return
	}
	timing := &m.table.timing
	now, most := timing.clock.Now(), timing.window()+timing.grace()
	if !m.memory.begun {
		// What was found as it was left, and what is known to have left, is looked at now.
		m.memory.begun, m.memory.listed, m.out.settled = true, now, true
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
	return m.memory.settled || m.memory.begun && m.memory.left.Has(name)
}

// complete returns true if what there is of any node that the Mirror does not know may be removed.
func (m *Mirror) complete() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.memory.settled
}
