package mirror

import (
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/clock"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/internal/todo"
)

// Store holds the Mirrors of all NodeRegistries, and is what the projections read. Each projection has a Cursor, with which it
// asks what has changed since it last did. It is safe for concurrent use.
type Store struct {
	clock  clock.Clock
	exists func(types.NamespacedName) bool
	states *todo.List

	mu      sync.RWMutex
	mirrors map[types.NamespacedName]*Mirror
	// revision counts what was published.
	revision uint64
	cursors  []*Cursor
}

// NewStore returns an empty Store. exists returns true if there is a NodeRegistry of that name; it must answer at once.
func NewStore(c clock.Clock, exists func(types.NamespacedName) bool) *Store {
	return &Store{clock: c, exists: exists, states: todo.New(), mirrors: map[types.NamespacedName]*Mirror{}}
}

// Cursor returns a Cursor that begins with all nodes that there are.
func (s *Store) Cursor() *Cursor {
	c := NewCursor()
	s.mu.Lock()
	s.cursors = append(s.cursors, c)
	mirrors, revision := slices.Collect(maps.Values(s.mirrors)), s.revision
	s.mu.Unlock()
	for _, m := range mirrors {
		var joined []Change
		for _, n := range m.Nodes() {
			joined = append(joined, Change{New: n})
		}
		c.Put(revision, joined)
	}
	return c
}

// States returns the registries whose Mirror.State is another one, for the one controller that tells it.
func (s *Store) States() *todo.List { return s.states }

// Revision returns the revision of the newest change that was published.
func (s *Store) Revision() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.revision
}

// Reconsider has the projections ask again what Settled says of every registry.
func (s *Store) Reconsider() {
	s.publish(func(c *Cursor, revision uint64) { c.add(revision, func() { c.all = true }) })
}

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

// ForgetCordon tells that the DiscoveredNode of that name was deleted.
func (s *Store) ForgetCordon(namespace, name string) {
	if m := s.Mirror(types.NamespacedName{Namespace: namespace, Name: record.RegistryOf(name)}); m != nil {
		m.ForgetCordon(name)
	}
}

// Select returns all nodes of the namespace whose labels match.
func (s *Store) Select(namespace string, selector labels.Selector) iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		for name, m := range s.All() {
			if name.Namespace != namespace {
				continue
			}
			for _, n := range m.Select(selector) {
				if !yield(n) {
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

// Settled returns true if what there is of the node of that name may be removed, if the node is not known: the bucket of its registry
// has been listed completely since start, or there is no such NodeRegistry. Until then what was written before the start is all
// that is known; see memory.
func (s *Store) Settled(namespace, name string) bool {
	registry := types.NamespacedName{Namespace: namespace, Name: record.RegistryOf(name)}
	if m := s.Mirror(registry); m != nil {
		return m.Settled(name)
	}
	return !s.exists(registry)
}

// Unsettled returns the registries of the namespace of which the selector may select nodes that are not known yet: Settled does not
// hold for every one of their names. Those that nobody knows to be gone for good count as one without a name. It has to be asked before
// nodes are read.
func (s *Store) Unsettled(namespace string, selector labels.Selector) sets.Set[string] {
	registries, unsettled := s.registriesOf(namespace, selector), sets.New[string]()
	for name := range registries {
		if !s.complete(types.NamespacedName{Namespace: namespace, Name: name}) {
			unsettled.Insert(name)
		}
	}
	return unsettled
}

// complete returns true if all nodes of the registry are known.
func (s *Store) complete(registry types.NamespacedName) bool {
	if m := s.Mirror(registry); m != nil {
		return m.complete()
	}
	return !s.exists(registry)
}

// registriesOf returns the registries whose nodes the selector may select: those that it names, else all that it does not rule out.
func (s *Store) registriesOf(namespace string, selector labels.Selector) sets.Set[string] {
	registries := sets.New("")
	for name := range s.All() {
		if name.Namespace == namespace {
			registries.Insert(name.Name)
		}
	}
	requirements, _ := selector.Requirements()
	for _, r := range requirements {
		if r.Key() != rollcallv1alpha1.LabelRegistry {
			continue
		}
		switch r.Operator() {
		case selection.Equals, selection.DoubleEquals, selection.In:
			return sets.New(r.Values().UnsortedList()...)
		}
		for name := range registries {
			if name != "" && !r.Matches(labels.Set{rollcallv1alpha1.LabelRegistry: name}) {
				registries.Delete(name)
			}
		}
	}
	return registries
}

// publish gives what f puts the next revision.
func (s *Store) publish(f func(c *Cursor, revision uint64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	// Who is woken last runs first: the projection whose Cursor is the oldest.
	for _, c := range slices.Backward(s.cursors) {
		f(c, s.revision)
	}
}

func (s *Store) nodesChanged(changes []Change) {
	s.publish(func(c *Cursor, revision uint64) { c.Put(revision, changes) })
}

func (s *Store) registrySettled(registry types.NamespacedName) {
	s.publish(func(c *Cursor, revision uint64) { c.Put(revision, nil, registry) })
}

func (s *Store) stateChanged(registry types.NamespacedName) { s.states.Add(registry) }
