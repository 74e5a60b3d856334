package discoverednode

import (
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// schedule knows of each object when it is next to be brought up to date with what nothing depends on, the time of the change
// that it shows, and its latest version that needs no write at once. It is safe for concurrent use.
type schedule struct {
	mu      sync.Mutex
	objects map[types.NamespacedName]turn
}

// turn is what the schedule knows of one object.
type turn struct {
	due, shown time.Time
	// version is the resource version; empty: none was seen since start.
	version string
	// word is what the object was last written with that is visible; zero: it was not written since start.
	word uint64
	// shared is true once an Event has said that the node's key has two writers, until it has one again.
	shared bool
}

func newSchedule() *schedule { return &schedule{objects: map[types.NamespacedName]turn{}} }

// next returns how long it is until the object's turn; zero or less: it is due. An object that is new to the schedule gets
// a turn at random within the interval, so that 10,000 objects after a restart are not all due at once; so does one whose turn is
// farther away than that, for the interval was longer.
func (s *schedule) next(name types.NamespacedName, interval time.Duration, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	object := s.objects[name]
	if object.due.IsZero() || object.due.Sub(now) > interval {
		object.due = now.Add(interval/2 + rand.N(interval/2+1)) //nolint:gosec // Spreads load: nothing depends on it being unforeseeable.
		s.objects[name] = object
	}
	return object.due.Sub(now)
}

// written notes that the object has been brought up to date, and returns how long it is until its next turn.
func (s *schedule) written(name types.NamespacedName, interval time.Duration, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	object := s.objects[name]
	object.due = now.Add(interval)
	s.objects[name] = object
	return interval
}

// said returns what the object was last written with that is visible; zero: it was not written since start.
func (s *schedule) said(name types.NamespacedName) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[name].word
}

// say notes what the object was written with that is visible.
func (s *schedule) say(name types.NamespacedName, word uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	object := s.objects[name]
	object.word = word
	s.objects[name] = object
}

// accept notes that this version of the object needs no write at once. One that is older than another is what a cache shows that
// is behind.
func (s *schedule) accept(name types.NamespacedName, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	object := s.objects[name]
	if object.version == "" || newer(version, object.version) {
		object.version = version
		s.objects[name] = object
	}
}

// accepted returns true if the version is the one that was accepted last.
func (s *schedule) accepted(name types.NamespacedName, version string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[name].version == version
}

// knows returns true if a version of the object was accepted since start.
func (s *schedule) knows(name types.NamespacedName) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[name].version != ""
}

// changed returns true if somebody else has written the object since its last accepted version; false if none was accepted since
// start.
func (s *schedule) changed(name types.NamespacedName, version string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	accepted := s.objects[name].version
	return accepted != "" && newer(version, accepted)
}

// behind returns true if the version, empty where there was no object, is older than the one that was accepted last.
func (s *schedule) behind(name types.NamespacedName, version string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	accepted := s.objects[name].version
	return accepted != "" && (version == "" || newer(accepted, version))
}

func newer(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order > 0
}

// shares notes whether the node's key has two writers, and returns true if that is news.
func (s *schedule) shares(name types.NamespacedName, shared bool) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	object, known := s.objects[name]
	news = shared && !object.shared
	if known || shared {
		object.shared = shared
		s.objects[name] = object
	}
	return news
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
