package discoverednode

import (
	"container/list"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/internal/dispute"
)

// askPace is the least time between two questions about a registry's objects who changes them.
const askPace = time.Minute

// disputes knows the objects that somebody changes back, and counts those of each registry of which a person should hear. It is safe for
// concurrent use.
type disputes struct {
	counts Counts
	// own is the field manager under which Rollcall writes.
	own string

	mu     sync.Mutex
	fights map[types.NamespacedName]*fight
	// order are the fights by their last repair, but for those with an admission, which end when an object is written as it should be.
	order      list.List
	registries map[types.NamespacedName]*disputed
}

// fight is what somebody changes back of one object.
type fight struct {
	dispute.Fight

	name, registry types.NamespacedName
	element        *list.Element
	// altered is true while what is written is not what was sent: an admission policy or webhook changes it.
	altered bool
	// told is true if the registry counts it.
	told bool
}

// disputed is what there is to say of a registry's objects.
type disputed struct {
	told    int
	altered bool
	example types.NamespacedName
	editor  string
	asked   time.Time
}

func newDisputes(counts Counts, own string) *disputes {
	return &disputes{counts: counts, own: own, fights: map[types.NamespacedName]*fight{}, registries: map[types.NamespacedName]*disputed{}}
}

// wait returns how long a repair of an object is to wait; zero: it is made now.
func (d *disputes) wait(name types.NamespacedName, now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire(now)
	if f := d.fights[name]; f != nil {
		return f.Wait(now)
	}
	return 0
}

// asks returns true if it is time to ask who changes an object, for the next repair is one that a person should hear of.
func (d *disputes) asks(name, registry types.NamespacedName, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.fights[name]
	if f == nil {
		return false
	}
	next := f.Fight
	next.Repaired(now)
	known := d.registries[registry]
	return next.Persists(now) && (known == nil || now.Sub(known.asked) >= askPace)
}

// names notes who changes the objects of a registry; empty: nobody can tell.
func (d *disputes) names(registry types.NamespacedName, editor string, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.of(registry)
	if editor == "" && known.told > 0 {
		editor = known.editor
	}
	known.editor, known.asked = editor, now
}

// repaired notes that a repair was made, and returns after how long to look whether all is over; zero: nobody heard of it.
// altered: it came out as something else, and ends when it does not.
func (d *disputes) repaired(name, registry types.NamespacedName, altered bool, now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire(now)
	f := d.fights[name]
	if f == nil {
		f = &fight{name: name, registry: registry}
		d.fights[name] = f
	}
	f.Repaired(now)
	d.set(f, altered, now)
	if !f.told || altered {
		return 0
	}
	return f.Left(now)
}

// settle notes that an object is what it should be.
func (d *disputes) settle(name types.NamespacedName, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire(now)
	if f := d.fights[name]; f != nil && f.altered {
		d.forget(f)
	}
}

// text says what somebody changes of a registry; empty: nothing.
func (d *disputes) text(registry types.NamespacedName, now time.Time) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire(now)
	known := d.registries[registry]
	if known == nil || known.told == 0 {
		return ""
	}
	what := fmt.Sprintf("%d DiscoveredNodes, for example %s", known.told, record.Bounded(known.example.Name))
	switch {
	case known.altered:
		return "an admission policy or webhook changes what Rollcall writes to " + what +
			": have it leave their spec, status and the labels of spec.labels alone. Endpoints do not depend on it"
	case known.editor == "":
		return "somebody changes or deletes " + what + ", again and again, and Rollcall puts each back once a minute at most: the audit log of the API server says who. Endpoints do not depend on it"
	}
	// Two installations that do so to each other say the same: they write the same condition.
	names := []string{record.Bounded(d.own), record.Bounded(known.editor)}
	slices.Sort(names)
	return fmt.Sprintf("the field managers %q and %q change %s, in turn, and Rollcall puts each back once a minute at most: let one of them write. Endpoints do not depend on it",
		names[0], names[1], what)
}

// set puts a fight where it belongs after a repair. The caller holds the lock.
func (d *disputes) set(f *fight, altered bool, now time.Time) {
	f.altered = altered
	if f.element != nil {
		d.order.Remove(f.element)
		f.element = nil
	}
	if !altered {
		f.element = d.order.PushBack(f)
	}
	known := d.of(f.registry)
	known.altered = altered
	if persists := altered || f.Persists(now); persists && !f.told {
		f.told = true
		known.told++
		d.counts.Add(f.registry)
	}
	if e := d.fights[known.example]; e == nil || !e.told {
		known.example = f.name
	}
}

// expire forgets the fights that are over.
func (d *disputes) expire(now time.Time) {
	for e := d.order.Front(); e != nil; e = d.order.Front() {
		f := fightIn(e)
		if !f.Over(now) {
			return
		}
		d.forget(f)
	}
}

func (d *disputes) forget(f *fight) {
	delete(d.fights, f.name)
	if f.element != nil {
		d.order.Remove(f.element)
	}
	known := d.of(f.registry)
	if f.told {
		known.told--
		d.counts.Add(f.registry)
	}
	if known.told == 0 {
		delete(d.registries, f.registry)
	}
}

func (d *disputes) of(registry types.NamespacedName) *disputed {
	known := d.registries[registry]
	if known == nil {
		known = &disputed{}
		d.registries[registry] = known
	}
	return known
}

func fightIn(e *list.Element) *fight {
	return e.Value.(*fight) //nolint:errcheck // The lists hold nothing else.
}
