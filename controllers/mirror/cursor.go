package mirror

import (
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
)

// Cursor is one projection's place in the changes of a Store: it has those that the projection has not taken yet. It is safe
// for concurrent use.
type Cursor struct {
	wake chan struct{}

	mu sync.Mutex
	// changes are those of nodes, in order. What is to be known of each node is found out by whoever takes them, and not by the
	// goroutine that receives from NATS, which puts them.
	changes []Change
	// limit is how many changes there may be before those of one node become one.
	limit    int
	revision uint64
	settled  sets.Set[types.NamespacedName]
	all      bool
}

// Changes is what a projection takes from its Cursor.
type Changes struct {
	// Revision is that of the newest change that was published. Nothing that the Store returns from now on is older.
	Revision uint64
	// Nodes are the nodes that joined, left, or look different, by the names of their DiscoveredNodes.
	Nodes map[types.NamespacedName]Change
	// Settled are the registries of which Store.Settled has become true. All is true if it may have become so of others as well.
	Settled sets.Set[types.NamespacedName]
	All     bool
}

// cursorLimit is the least limit of a Cursor. Below it nothing is merged where others wait for it: a whole fleet may change in one step.
const cursorLimit = 1 << 15

// NewCursor returns a Cursor at the beginning.
func NewCursor() *Cursor {
	return &Cursor{wake: make(chan struct{}, 1), limit: cursorLimit, settled: sets.New[types.NamespacedName]()}
}

// Wake returns a channel that has a value once there is something to take.
func (c *Cursor) Wake() <-chan struct{} { return c.wake }

// Len returns how many changes of nodes there are to take, where two of one node may count twice.
func (c *Cursor) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.changes)
}

// Take returns what was published since it was last called.
func (c *Cursor) Take() Changes {
	c.mu.Lock()
	changes := c.changes
	taken := Changes{Revision: c.revision, Settled: c.settled, All: c.all}
	c.changes, c.limit, c.settled, c.all = nil, cursorLimit, sets.New[types.NamespacedName](), false
	c.mu.Unlock()
	taken.Nodes = merge(changes)
	return taken
}

// merge returns one change for each node. One that came and went has left: somebody may have looked at it meanwhile, and written it
// down, or it was written down before the start.
func merge(changes []Change) map[types.NamespacedName]Change {
	nodes := make(map[types.NamespacedName]Change, len(changes))
	for _, change := range changes {
		name := change.Name()
		if before, found := nodes[name]; found && (before.Old != nil || change.New != nil) {
			change.Old = before.Old
		}
		nodes[name] = change
	}
	return nodes
}

// Put adds what is published with that revision.
func (c *Cursor) Put(revision uint64, nodes []Change, settled ...types.NamespacedName) {
	c.add(revision, func() {
		several := len(c.changes) > 0 // What is published at once has no node twice.
		c.changes = append(c.changes, nodes...)
		c.settled.Insert(settled...)
		if len(c.changes) > c.limit {
			if several {
				// One node that changes all the time must not fill the memory while the projection waits for the API server.
				c.changes = slices.Collect(maps.Values(merge(c.changes)))
			}
			c.limit = max(cursorLimit, 2*len(c.changes))
		}
	})
}

func (c *Cursor) add(revision uint64, f func()) {
	c.mu.Lock()
	c.revision = revision
	f()
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default: // The projection has not looked since it was last woken.
	}
}
