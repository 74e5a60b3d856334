package mirror

import (
	"time"

	"k8s.io/utils/lru"
)

// maxDeparted bounds how many of the nodes that unregistered are remembered.
const maxDeparted = 10_000

// departed remembers the nodes that unregistered: one that is back within a TTL is as old as it was, and a person's word
// about it still counts.
type departed struct{ byKey *lru.Cache }

type departure struct {
	at        time.Duration
	firstSeen time.Time
	cordoned  bool
}

func newDeparted() departed { return departed{lru.New(maxDeparted)} }

func (d departed) put(e *entry, now time.Duration) {
	d.byKey.Add(e.key, departure{at: now, firstSeen: e.firstSeen, cordoned: e.cordoned})
}

// restore gives the entry back what it was before it unregistered, if that was lately.
func (d departed) restore(e *entry, t *timing) {
	found, ok := d.byKey.Get(e.key)
	if !ok {
		return
	}
	d.byKey.Remove(e.key)
	if before, _ := found.(departure); t.lately(before.at) {
		e.firstSeen, e.cordoned = before.firstSeen, before.cordoned
	}
}
