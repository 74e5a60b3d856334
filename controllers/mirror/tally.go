package mirror

import (
	"iter"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// Tally is what a Mirror has counted since it was made.
type Tally struct {
	// Events counts the messages of the bucket that came in, those of listings among them, by what they did.
	Events map[kv.Operation]uint64
	// Listings counts the listings that have begun, by their cause.
	Listings map[kv.Cause]uint64
}

// tally is the Mirror's own Tally, cheap to keep. It is guarded by the Mirror's lock.
type tally struct {
	events   [kv.Expire + 1]uint64
	listings map[kv.Cause]uint64
}

func (t *tally) event(o kv.Operation) {
	if int(o) < len(t.events) {
		t.events[o]++
	}
}

func (t *tally) listing(c kv.Cause) {
	if t.listings == nil {
		t.listings = map[kv.Cause]uint64{}
	}
	t.listings[c]++
}

// Age returns how long ago a change in some registry of the namespace was; see Mirror.Age. If the servers of several
// registries differ about the time, the one counts by whose clock the change is the closest.
func (s *Store) Age(namespace string, changed time.Time) (age time.Duration, ok bool) {
	for _, m := range s.within(namespace) {
		if a, live := m.Age(changed); live && (!ok || a.Abs() < age.Abs()) {
			age, ok = a, true
		}
	}
	return age, ok
}

// All returns the Mirrors of all registries, in no order.
func (s *Store) All() iter.Seq2[types.NamespacedName, *Mirror] {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return maps.All(maps.Clone(s.mirrors))
}
