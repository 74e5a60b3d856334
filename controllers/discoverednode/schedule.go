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
	mu      sync.Mutex
	objects map[types.NamespacedName]turn
}

// turn is what the schedule knows of one object.
type turn struct{ due, shown time.Time }

func newSchedule() *schedule { return &schedule{objects: map[types.NamespacedName]turn{}} }

// next returns how long it is until the object's turn; zero or less: it is due. An object that is new to the schedule gets
// a turn at random within the interval, so that 10,000 objects after a restart are not all due at once.
func (s *schedule) next(name types.NamespacedName, interval time.Duration, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	object := s.objects[name]
	if object.due.IsZero() {
		object.due = now.Add(interval/2 + rand.N(interval/2+1)) //nolint:gosec // Spreads load: nothing depends on it being unforeseeable.
		s.objects[name] = object
	}
	return object.due.Sub(now)
}

// written notes that the object's status has been written, and returns how long it is until its next turn.
func (s *schedule) written(name types.NamespacedName, interval time.Duration, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[name] = turn{due: now.Add(interval), shown: s.objects[name].shown}
	return interval
}

// shows notes that the object shows the node's change of that time, and says whether it did not before.
func (s *schedule) shows(name types.NamespacedName, changed time.Time) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	object := s.objects[name]
	news = !object.shown.Equal(changed)
	object.shown = changed
	s.objects[name] = object
	return news
}

func (s *schedule) forget(name types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, name)
}
