package mirror

import (
	"slices"
	"time"
)

// outbox collects what observers are to be told, so that they are told without the Mirror's lock, and of a storm at once.
type outbox struct {
	changes []Change
	// at is the place in changes of a name, so that two changes of one node become one.
	at map[string]int
	// state says that Mirror.State changed, settled that the registry was listed completely for the first time.
	state, settled bool
	// closed is the time until which changes stay inside: while a listing is under way that follows a gap, the state is a
	// mixture of old and new, and slices written from it would be written twice. Zero: they go out at once.
	closed time.Time
}

func (o *outbox) put(c Change) {
	name := c.Name().Name
	if at, found := o.at[name]; found {
		o.changes[at].New = c.New
		return
	}
	if o.at == nil {
		o.at = map[string]int{}
	}
	o.at[name] = len(o.changes)
	o.changes = append(o.changes, c)
}

// take empties the outbox of what may go out at that time.
func (o *outbox) take(now time.Time) (changes []Change, state, settled bool) {
	state, settled = o.state, o.settled
	o.state, o.settled = false, false
	if now.Before(o.closed) {
		return nil, state, settled
	}
	// A node that came and went meanwhile was never seen.
	changes = slices.DeleteFunc(o.changes, func(c Change) bool { return c.Old == nil && c.New == nil })
	o.changes, o.at = nil, nil
	return changes, state, settled
}

// unlockAndTell ends a change of the Mirror: it fills the places that became free, releases the lock, then tells the
// observers.
func (m *Mirror) unlockAndTell() {
	m.admit()
	changes, state, settled := m.outbox.take(m.clock.Now())
	m.mu.Unlock()
	if len(changes) > 0 {
		m.observer.nodesChanged(changes)
	}
	if settled {
		m.observer.registrySettled(m.registry)
	}
	if state {
		m.observer.stateChanged(m.registry)
	}
}
