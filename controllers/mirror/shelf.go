package mirror

import "container/list"

// maxExcess bounds the readings that are kept of entries beyond MaxNodes, by the bytes of their values. Past that only their keys
// are, and they wait for their next heartbeat as well.
const maxExcess = 32 << 20

// shelf holds messages that were read and wait, one a key, in the order in which the keys came.
type shelf struct {
	byKey map[string]*list.Element // whose values are *waiting
	order list.List
	// bytes counts the values of the readings that are kept, most bounds it.
	bytes, most int
}

func newShelf(most int) *shelf { return &shelf{byKey: map[string]*list.Element{}, most: most} }

func (s *shelf) len() int { return len(s.byKey) }

// put lets the message wait, in the place of its key if that has one; added is true if it had none.
func (s *shelf) put(w waiting) (added bool) {
	if w.reading != nil {
		w.reading = new(*w.reading) // Read puts another one there.
	}
	w.size, w.Value = len(w.Value), nil
	element := s.byKey[w.Key]
	if added = element == nil; added {
		element = s.order.PushBack(&waiting{})
		s.byKey[w.Key] = element
	}
	there := waitingIn(element)
	s.bytes -= there.size
	if s.bytes+w.size > s.most {
		w.reading, w.size = nil, 0
	}
	s.bytes += w.size
	*there = w
	return added
}

// drop forgets the key, and returns true if it was waiting.
func (s *shelf) drop(key string) bool {
	element := s.byKey[key]
	if element == nil {
		return false
	}
	s.bytes -= waitingIn(element).size
	s.order.Remove(element)
	delete(s.byKey, key)
	return true
}

// all calls yield with the messages until it returns false. It may drop them.
func (s *shelf) all(yield func(*waiting) bool) {
	for element := s.order.Front(); element != nil; {
		w := waitingIn(element)
		if element = element.Next(); !yield(w) {
			return
		}
	}
}

func waitingIn(element *list.Element) *waiting {
	return element.Value.(*waiting) //nolint:errcheck // Only put makes elements.
}
