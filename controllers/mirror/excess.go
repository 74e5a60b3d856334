package mirror

import (
	"container/list"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// maxExcessBytes bounds the values that are kept of entries beyond MaxNodes. Past that only their keys are, and they wait
// for their next heartbeat as well.
const maxExcessBytes = 32 << 20

// excess are the entries beyond MaxNodes, in the order in which they came. The zero value is ready for use.
type excess struct {
	byKey map[string]*list.Element // whose values are *kv.Entry
	order list.List
	bytes int
}

func (x *excess) len() int { return len(x.byKey) }

// put lets the entry wait, where it waits already if it does; added says that it did not.
func (x *excess) put(entry kv.Entry) (added bool) {
	element := x.byKey[entry.Key]
	if added = element == nil; added {
		if x.byKey == nil {
			x.byKey = map[string]*list.Element{}
		}
		element = x.order.PushBack(&kv.Entry{Key: entry.Key})
		x.byKey[entry.Key] = element
	}
	waiting := waitingIn(element)
	x.bytes -= len(waiting.Value)
	*waiting = entry
	if x.bytes+len(entry.Value) > maxExcessBytes {
		waiting.Value = nil
	}
	x.bytes += len(waiting.Value)
	return added
}

// drop forgets the key, and says whether it was waiting.
func (x *excess) drop(key string) bool {
	element := x.byKey[key]
	if element == nil {
		return false
	}
	x.bytes -= len(waitingIn(element).Value)
	x.order.Remove(element)
	delete(x.byKey, key)
	return true
}

// next takes out the entry that has waited longest of those whose value is known; ok is false if there is none.
func (x *excess) next() (entry kv.Entry, ok bool) {
	for element := x.order.Front(); element != nil; element = element.Next() {
		if entry = *waitingIn(element); entry.Value != nil {
			x.drop(entry.Key)
			return entry, true
		}
	}
	return kv.Entry{}, false
}

// prune drops the entries that are late, and says whether there were any.
func (x *excess) prune(late func(*kv.Entry) bool) (dropped bool) {
	for element := x.order.Front(); element != nil; {
		waiting := waitingIn(element)
		element = element.Next()
		if late(waiting) {
			dropped = x.drop(waiting.Key)
		}
	}
	return dropped
}

func waitingIn(element *list.Element) *kv.Entry {
	return element.Value.(*kv.Entry) //nolint:errcheck // Only put makes elements.
}

// full says whether no more entries are mirrored.
func (m *Mirror) full() bool { return m.policy.MaxNodes > 0 && len(m.entries) >= m.policy.MaxNodes }

// admit fills the places that have become free, with those that have waited longest.
func (m *Mirror) admit() {
	for m.excess.len() > 0 && !m.full() {
		x, ok := m.excess.next()
		if !ok {
			return
		}
		m.outbox.state = true
		f, load := read(&x, &m.policy)
		if m.late(&x) || !m.policy.mirrors(x.Key, f.origin) {
			continue
		}
		f.judge(m.labels, &m.policy)
		m.join(x, f, load)
		// What waited may be from before a gap: it gets the grace that every node gets.
		m.entries[x.Key].heard = false
	}
}
