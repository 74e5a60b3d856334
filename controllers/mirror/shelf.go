package mirror

import (
	"container/list"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// maxExcess bounds what is kept of the messages of entries beyond MaxNodes. Past that only their keys are, and they wait for their
// next heartbeat as well.
const maxExcess = 512 << 10

// shelf holds messages that were read and wait, one a key, in the order in which the keys came.
type shelf struct {
	// byKey has the element of each message that is kept, and nil for a key of which none is.
	byKey map[string]*list.Element
	order list.List // of *waiting
	// bytes is how much memory the messages take, most bounds it.
	bytes, most int
}

func newShelf(most int) *shelf { return &shelf{byKey: map[string]*list.Element{}, most: most} }

func (s *shelf) len() int { return len(s.byKey) }

// put lets the message wait, in the place of its key if that has one; added is true if it had none. Of one that was not read, or
// for which there is no room, the key is kept.
func (s *shelf) put(w waiting) (added bool) {
	if w.reading != nil {
		w.reading = new(*w.reading) // Read puts another one there.
	}
	w.size, w.Value = max(w.size, w.bytes()), nil
	element, waits := s.byKey[w.Key]
	if element != nil {
		s.bytes -= waitingIn(element).size
	}
	keeps := (w.reading != nil || w.Operation == kv.Unregister) && s.bytes+w.size <= s.most
	switch {
	case !keeps && element != nil:
		s.order.Remove(element)
		fallthrough
	case !keeps:
		s.byKey[w.Key], w.size = nil, 0
	case element != nil:
		*waitingIn(element) = w
	default:
		s.byKey[w.Key] = s.order.PushBack(&w)
	}
	s.bytes += w.size
	return !waits
}

// drop forgets the key, and returns true if it was waiting.
func (s *shelf) drop(key string) bool {
	element, waits := s.byKey[key]
	if element != nil {
		s.bytes -= waitingIn(element).size
		s.order.Remove(element)
	}
	delete(s.byKey, key)
	return waits
}

// all calls yield with the messages that are kept until it returns false. It may drop them.
func (s *shelf) all(yield func(*waiting) bool) {
	for element := s.order.Front(); element != nil; {
		w := waitingIn(element)
		if element = element.Next(); !yield(w) {
			return
		}
	}
}

// bare calls yield with the keys of which no message is kept.
func (s *shelf) bare(yield func(key string) bool) {
	for key, element := range s.byKey {
		if element == nil && !yield(key) {
			return
		}
	}
}

func waitingIn(element *list.Element) *waiting {
	return element.Value.(*waiting) //nolint:errcheck // Only put makes elements.
}
