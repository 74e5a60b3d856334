package mirror

import "time"

// maxDeparted bounds how many of the nodes that unregistered are remembered.
const maxDeparted = 10_000

// departure is what is remembered of a node that unregistered: one that is back within a TTL is as old as it was, and a person's
// word about it still counts.
type departure struct {
	at        time.Duration
	firstSeen time.Time
	cordoned  bool
}

// restore gives the entry back what it was before it unregistered, if that was lately.
func (t *table) restore(e *entry) {
	found, _ := t.departed.Get(e.key)
	t.departed.Remove(e.key)
	if before, ok := found.(departure); ok && t.timing.lately(before.at) {
		e.firstSeen, e.cordoned = before.firstSeen, before.cordoned
	}
}
