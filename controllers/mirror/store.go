package mirror

import (
	"iter"
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

// Store holds the Mirrors of all NodeRegistries, and is what the projections read. It is safe for concurrent use.
type Store struct {
	clock  clock.Clock
	exists func(types.NamespacedName) bool

	onNodes   []func([]Change)
	onSettled []func(types.NamespacedName)
	onState   []func(types.NamespacedName)

	mu      sync.RWMutex
	mirrors map[types.NamespacedName]*Mirror
}

// NewStore returns an empty Store. exists returns true if there is a NodeRegistry of that name; it must answer at once.
func NewStore(c clock.Clock, exists func(types.NamespacedName) bool) *Store {
	return &Store{clock: c, exists: exists, mirrors: map[types.NamespacedName]*Mirror{}}
}

// OnNodes makes f hear of nodes that joined, left, or look different. Like those of OnSettled and OnState, f must not
// block, and must be given before the first Mirror is added.
func (s *Store) OnNodes(f func([]Change)) { s.onNodes = append(s.onNodes, f) }

// OnSettled makes f hear of registries of which endpoints may be removed from now on; see Settled.
func (s *Store) OnSettled(f func(types.NamespacedName)) { s.onSettled = append(s.onSettled, f) }

// OnState makes f hear of registries whose Mirror.State is another one.
func (s *Store) OnState(f func(types.NamespacedName)) { s.onState = append(s.onState, f) }

// Add returns a new Mirror for the registry, which goes on from what was written down: who was held, nil for nobody, and the
// DiscoveredNodes that there are.
func (s *Store) Add(registry types.NamespacedName, p Policy, h *Held, nodes []*rollcallv1alpha1.DiscoveredNode) *Mirror {
	m := newMirror(registry, p, h, nodes, s.clock, s)
	s.mu.Lock()
	s.mirrors[registry] = m
	s.mu.Unlock()
	m.start()
	return m
}

// Remove forgets the registry's Mirror, since the NodeRegistry is gone, and with it all its nodes.
func (s *Store) Remove(registry types.NamespacedName) {
	s.mu.Lock()
	m := s.mirrors[registry]
	delete(s.mirrors, registry)
	s.mu.Unlock()
	if m != nil {
		nodes := m.Nodes()
		changes := make([]Change, 0, len(nodes))
		for _, n := range nodes {
			changes = append(changes, Change{Old: n})
		}
		s.nodesChanged(changes)
	}
	// Also where there was no Mirror: endpoints of a registry that is gone may be removed now.
	s.registrySettled(registry)
}

// Mirror returns the registry's Mirror, nil if it has none.
func (s *Store) Mirror(registry types.NamespacedName) *Mirror {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.mirrors[registry]
}

// Node returns the node whose DiscoveredNode has that name, nil if there is none.
func (s *Store) Node(namespace, name string) *Node {
	m := s.Mirror(types.NamespacedName{Namespace: namespace, Name: record.RegistryOf(name)})
	if m == nil {
		return nil
	}
	return m.Node(name)
}

// SetCordoned tells what people wrote to the DiscoveredNode of that name.
func (s *Store) SetCordoned(namespace, name string, cordoned bool) {
	if m := s.Mirror(types.NamespacedName{Namespace: namespace, Name: record.RegistryOf(name)}); m != nil {
		m.SetCordoned(name, cordoned)
	}
}

// Select returns all nodes of the namespace whose labels match.
func (s *Store) Select(namespace string, selector labels.Selector) iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		for name, m := range s.All() {
			if name.Namespace != namespace {
				continue
			}
			for _, n := range m.Nodes() {
				if selector.Matches(labels.Set(n.Labels)) && !yield(n) {
					return
				}
			}
		}
	}
}

// Age returns how long ago a change in some registry of the namespace was; see Mirror.Age. If the servers of several
// registries differ about the time, the one counts by whose clock the change is the closest.
func (s *Store) Age(namespace string, changed time.Time) (age time.Duration, ok bool) {
	for name, m := range s.All() {
		if name.Namespace != namespace {
			continue
		}
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

// Settled returns true if what is unknown of that registry may be removed: its bucket has been listed completely since
// start, or there is no such NodeRegistry. Until then what was written before the start is all that is known.
func (s *Store) Settled(namespace, registry string) bool {
	name := types.NamespacedName{Namespace: namespace, Name: registry}
	if m := s.Mirror(name); m != nil {
		return m.Listed()
	}
	return !s.exists(name)
}

func (s *Store) nodesChanged(changes []Change) { tell(s.onNodes, changes) }

func (s *Store) registrySettled(registry types.NamespacedName) { tell(s.onSettled, registry) }

func (s *Store) stateChanged(registry types.NamespacedName) { tell(s.onState, registry) }

func tell[T any](all []func(T), what T) {
	for _, f := range all {
		f(what)
	}
}
