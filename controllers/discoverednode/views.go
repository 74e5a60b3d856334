package discoverednode

import (
	"cmp"
	"iter"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

const (
	// linger is how long a node keeps its object after its problem is over.
	linger = time.Minute
	// hidePace is the least time between two deletions of objects whose nodes live on: another view is no storm.
	hidePace = 5 * time.Millisecond
)

// Limits bound the view Problems.
type Limits struct {
	// Objects is how many DiscoveredNodes a registry has; zero: MaxProblems of the API.
	Objects int
	// Linger is how long a node keeps its object after its problem is over; zero: a minute.
	Linger time.Duration
}

// Counts take in that Controller.Problems has another answer for a registry. Add must not block.
type Counts interface {
	Add(registries ...types.NamespacedName)
}

// views knows which nodes have an object: all, but for those of the registries with a choice. It is safe for concurrent use.
type views struct {
	limits Limits
	counts Counts

	mu      sync.Mutex
	choices map[types.NamespacedName]*choice
	// turns are when objects may be deleted whose nodes live on, and next is the next turn.
	turns map[types.NamespacedName]time.Time
	next  time.Time
}

func newViews(l Limits, counts Counts) *views {
	l.Objects, l.Linger = cmp.Or(l.Objects, rollcallv1alpha1.MaxProblems), cmp.Or(l.Linger, linger)
	return &views{limits: l, counts: counts, choices: map[types.NamespacedName]*choice{}, turns: map[types.NamespacedName]time.Time{}}
}

// rule puts the view of a registry in force; nodes are all of its nodes.
func (v *views) rule(registry *rollcallv1alpha1.NodeRegistry, nodes iter.Seq[*mirror.Node], now time.Time) {
	name := types.NamespacedName{Namespace: registry.Namespace, Name: registry.Name}
	v.mu.Lock()
	defer v.mu.Unlock()
	problems := registry.Spec.View == rollcallv1alpha1.ViewProblems
	switch known := v.choices[name] != nil; {
	case problems == known:
		return
	case known:
		delete(v.choices, name)
		clear(v.turns)
		v.next = now
	default:
		c := newChoice(v.limits.Objects, v.limits.Linger)
		byName := func(a, b *mirror.Node) int { return cmp.Compare(a.Name, b.Name) }
		for _, n := range slices.SortedFunc(nodes, byName) {
			c.set(n.Name, problemOf(n), now)
		}
		v.choices[name] = c
	}
	v.counts.Add(name)
}

// forget forgets a registry that is gone.
func (v *views) forget(registry types.NamespacedName) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.choices, registry)
}

// change applies changes of nodes, and returns the names of the objects to look at.
func (v *views) change(changes map[types.NamespacedName]mirror.Change, now time.Time) (names []types.NamespacedName) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var chosen []types.NamespacedName
	for name, change := range changes {
		switch c := v.choices[ownerOf(change)]; {
		case c == nil && waits(change):
		case c == nil:
			names = append(names, name)
		case change.New == nil || problemOf(change.New) != fine || c.candidates[name.Name] != nil:
			chosen = append(chosen, name)
		}
	}
	slices.SortFunc(chosen, func(a, b types.NamespacedName) int { return cmp.Compare(a.Name, b.Name) })
	for _, name := range chosen {
		if !waits(changes[name]) {
			names = append(names, name)
		}
		names = append(names, v.choose(name, changes[name], now)...)
	}
	return names
}

// choose applies the change of a node of a registry with a choice, and returns the names of the objects that come or go for it.
func (v *views) choose(name types.NamespacedName, change mirror.Change, now time.Time) []types.NamespacedName {
	registry := ownerOf(change)
	c := v.choices[registry]
	var changed []string
	if change.New == nil {
		delete(v.turns, name)
		changed = c.drop(name.Name)
	} else {
		changed = c.set(name.Name, problemOf(change.New), now)
	}
	v.counts.Add(registry)
	return in(name.Namespace, changed)
}

func ownerOf(change mirror.Change) types.NamespacedName {
	n := change.New
	if n == nil {
		n = change.Old
	}
	return types.NamespacedName{Namespace: n.Namespace, Name: n.Registry}
}

func in(namespace string, names []string) []types.NamespacedName {
	all := make([]types.NamespacedName, 0, len(names))
	for _, name := range names {
		all = append(all, types.NamespacedName{Namespace: namespace, Name: name})
	}
	return all
}

// shows returns true if the node has an object, and after how long to ask again; zero: when it has changed. Of the others that are
// returned the answer is another one now.
func (v *views) shows(n *mirror.Node, now time.Time) (shown bool, rest time.Duration, others []types.NamespacedName) {
	registry := types.NamespacedName{Namespace: n.Namespace, Name: n.Registry}
	v.mu.Lock()
	defer v.mu.Unlock()
	c := v.choices[registry]
	if c == nil {
		delete(v.turns, types.NamespacedName{Namespace: n.Namespace, Name: n.Name})
		return true, 0, nil
	}
	if changed := c.pass(now); len(changed) > 0 {
		others = in(n.Namespace, changed)
		v.counts.Add(registry)
	}
	if shown = c.shows(n.Name); shown {
		delete(v.turns, types.NamespacedName{Namespace: n.Namespace, Name: n.Name})
	}
	return shown, c.rest(n.Name, now), others
}

// turn returns how long it is until the object may be deleted, whose node lives on; zero or less: it may.
func (v *views) turn(name types.NamespacedName, now time.Time) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	at, known := v.turns[name]
	if !known {
		if v.next.Before(now) {
			v.next = now
		}
		at, v.next = v.next, v.next.Add(hidePace)
	}
	if at.After(now) {
		v.turns[name] = at
		return at.Sub(now)
	}
	delete(v.turns, name)
	return 0
}

// problems counts the nodes of a registry that have a problem, and those of them that have no object; ok is false if all nodes have
// one.
func (v *views) problems(registry types.NamespacedName) (problems, notShown int, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := v.choices[registry]
	if c == nil {
		return 0, 0, false
	}
	return c.problems, c.notShown(), true
}
