package mirror

import (
	"slices"
	"time"
)

// A key says which entry it is, and the entry which node. Two keys may claim the same node: the older has the node's name,
// and the other one a name after its key until the older is gone.

// enroll gives the entry its name, by its node ID. An expired entry makes room for it: the node has come back under
// another key.
func (m *Mirror) enroll(e *entry, at time.Time) {
	id := e.identity()
	e.double = false
	e.name = keyName(m.registry.Name, e.key)
	if id != "" {
		if same := m.ids[id]; len(same) == 1 && !same[0].expired.IsZero() && e.expired.IsZero() {
			m.remove(same[0], at)
		}
		m.ids[id] = append(m.ids[id], e)
		if e.double = m.ids[id][0] != e; !e.double {
			e.name = Name(m.registry.Name, id)
		}
	}
	m.names[e.name] = e
}

// strike takes the entry's name back, under the node ID that it was enrolled with, and returns the entry that inherits the
// name; nil if none does.
func (m *Mirror) strike(e *entry, id string) (heir *entry) {
	delete(m.names, e.name)
	if id == "" {
		return nil
	}
	same := slices.DeleteFunc(m.ids[id], func(o *entry) bool { return o == e })
	if len(same) == 0 {
		delete(m.ids, id)
		return nil
	}
	m.ids[id] = same
	if e.double {
		return nil
	}
	for i := range same {
		if same[i].succeeds(same[0]) {
			same[0], same[i] = same[i], same[0]
		}
	}
	return same[0]
}

// succeeds says whether the entry, and not o, inherits a name that both wait for.
func (e *entry) succeeds(o *entry) bool {
	if e.expired.IsZero() != o.expired.IsZero() {
		return e.expired.IsZero()
	}
	return e.older(o)
}

// promote gives the heir its name.
func (m *Mirror) promote(heir *entry, at time.Time) {
	if heir == nil {
		return
	}
	delete(m.names, heir.name)
	heir.name, heir.double = Name(m.registry.Name, heir.identity()), false
	m.names[heir.name] = heir
	touched := m.claims.enter(heir)
	m.publish(heir, at)
	for _, other := range touched {
		m.publish(other, at)
	}
}
