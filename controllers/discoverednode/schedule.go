package discoverednode

import (
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// schedule knows when each object's status is next to be brought up to date with the heartbeats, and the time of the change
// that each object shows. It is safe for concurrent use.
type schedule struct {
	mu         sync.Mutex
	due, shown map[types.NamespacedName]time.Time
}

func newSchedule() *schedule {
	return &schedule{due: map[types.NamespacedName]time.Time{}, shown: map[types.NamespacedName]time.Time{}}
}

// next returns how long it is until the object's turn; zero or less: it is due. An object that is new to the schedule gets
// a turn at random within the interval, so that 10,000 objects after a restart are not all due at once.
func (s *schedule) next(name types.NamespacedName, interval time.Duration, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	due, known := s.due[name]
	if !known {
		due = now.Add(interval/2 + rand.N(interval/2+1)) //nolint:gosec // Spreads load: nothing depends on it being unforeseeable.
		s.due[name] = due
	}
	return due.Sub(now)
}

// written notes that the object's status has been written, and returns how long it is until its next turn.
func (s *schedule) written(name types.NamespacedName, interval time.Duration, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due[name] = now.Add(interval)
	return interval
}

// shows notes that the object shows the node's change of that time, and says whether it did not before.
func (s *schedule) shows(name types.NamespacedName, changed time.Time) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	news = !s.shown[name].Equal(changed)
	s.shown[name] = changed
	return news
}

func (s *schedule) forget(name types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.due, name)
	delete(s.shown, name)
}
