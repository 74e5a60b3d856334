package mirror

import "container/list"

// maxExcessBytes bounds the values that are kept of entries beyond MaxNodes. Past that only their keys are, and they wait
// for their next heartbeat as well.
const maxExcessBytes = 32 << 20

// excess are the entries beyond MaxNodes, in the order in which they came. The zero value is ready for use.
type excess struct {
	byKey map[string]*list.Element // whose values are *waiting
	order list.List
	bytes int
}

func (x *excess) len() int { return len(x.byKey) }

// put lets the entry wait, in its old place if it has one; added is true if it had none.
func (x *excess) put(entry waiting) (added bool) {
	element := x.byKey[entry.Key]
	if added = element == nil; added {
		if x.byKey == nil {
			x.byKey = map[string]*list.Element{}
		}
		element = x.order.PushBack(&waiting{})
		x.byKey[entry.Key] = element
	}
	w := waitingIn(element)
	x.bytes -= len(w.Value)
	*w = entry
	if x.bytes+len(entry.Value) > maxExcessBytes {
		w.Value = nil
	}
	x.bytes += len(w.Value)
	return added
}

// drop forgets the key, and returns true if it was waiting.
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
func (x *excess) next() (w waiting, ok bool) {
	for element := x.order.Front(); element != nil; element = element.Next() {
		if w = *waitingIn(element); w.Value != nil {
			x.drop(w.Key)
			return w, true
		}
	}
	return waiting{}, false
}

// prune drops the entries that are late, and returns true if there were any.
func (x *excess) prune(late func(*waiting) bool) (dropped bool) {
	for element := x.order.Front(); element != nil; {
		w := waitingIn(element)
		element = element.Next()
		if late(w) {
			dropped = x.drop(w.Key)
		}
	}
	return dropped
}

func waitingIn(element *list.Element) *waiting {
	return element.Value.(*waiting) //nolint:errcheck // Only put makes elements.
}
