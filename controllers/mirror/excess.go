package mirror

import "container/list"

const (
	// maxExcessBytes bounds what is kept of the messages of entries beyond MaxNodes. Past that only their keys are, and they wait
	// for their next heartbeat as well.
	maxExcessBytes = 512 << 10
)

// excess are the entries beyond MaxNodes, in the order in which they came. The zero value is ready for use.
type excess struct {
	// byKey has the element of each entry whose message is kept, and nil of the others.
	byKey map[string]*list.Element
	order list.List // of *waiting
	bytes int
}

func (x *excess) len() int { return len(x.byKey) }

// put lets the entry wait, in its old place if it has one; added is true if it had none. One without a value waits for its
// next heartbeat.
func (x *excess) put(entry waiting) (added bool) {
	element, waits := x.byKey[entry.Key]
	if x.byKey == nil {
		x.byKey = map[string]*list.Element{}
	}
	size := entry.bytes()
	if element != nil {
		size -= waitingIn(element).bytes()
	}
	switch keeps := entry.Value != nil && x.bytes+size <= maxExcessBytes; {
	case keeps && element != nil:
		*waitingIn(element) = entry
		x.bytes += size
	case keeps:
		x.byKey[entry.Key] = x.order.PushBack(&entry)
		x.bytes += size
	default:
		x.drop(entry.Key)
		x.byKey[entry.Key] = nil
	}
	return !waits
}

// drop forgets the key, and returns true if it was waiting.
func (x *excess) drop(key string) bool {
	element, waits := x.byKey[key]
	if element != nil {
		x.bytes -= waitingIn(element).bytes()
		x.order.Remove(element)
	}
	delete(x.byKey, key)
	return waits
}

// next takes out the entry that has waited longest of those whose message is kept; ok is false if there is none.
func (x *excess) next() (w waiting, ok bool) {
	front := x.order.Front()
	if front == nil {
		return waiting{}, false
	}
	w = *waitingIn(front)
	x.drop(w.Key)
	return w, true
}

// prune drops the entries whose message is kept and that are late, and returns true if there were any.
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
