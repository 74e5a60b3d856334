package endpointslice

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// batch is changed nodes that concern the same Services, which share it: it is never written to.
type batch []changed

// changed is a node that changed, with the time of that.
type changed struct {
	node string
	at   time.Time
}

// backlog has what changed and is not written yet.
type backlog struct {
	batches []batch
	// size is how many nodes there are, where one may count several times, and limit how many there may be before it does not.
	size, limit int
}

// backlogLimit is the least limit of a backlog.
const backlogLimit = 4096

func (b *backlog) add(more batch) {
	b.batches = append(b.batches, more)
	if b.size += len(more); b.size > max(b.limit, backlogLimit) {
		// One node that changes all the time must not fill the memory while the API server is away.
		all := batchOf(b.merged())
		*b = backlog{batches: []batch{all}, size: len(all), limit: 2 * len(all)}
	}
}

func batchOf(nodes map[string]time.Time) batch {
	all := make(batch, 0, len(nodes))
	for node, at := range nodes {
		all = append(all, changed{node, at})
	}
	return all
}

// merged returns the nodes, each with the time of its earliest change.
func (b *backlog) merged() map[string]time.Time {
	nodes := make(map[string]time.Time, min(b.size, backlogLimit))
	for _, batch := range b.batches {
		for _, c := range batch {
			if before, found := nodes[c.node]; !found || c.at.Before(before) {
				nodes[c.node] = c.at
			}
		}
	}
	return nodes
}

// likeness is what nodes have in common that the same Services select, before and after they changed: their labels are the same
// maps, since the nodes of a registry share those.
type likeness struct {
	namespace string
	old, new  uintptr
}

// alike is changed nodes of one likeness, of which change is one.
type alike struct {
	change mirror.Change
	nodes  batch
}

// assort puts changed nodes together that are alike.
func assort(changes map[types.NamespacedName]mirror.Change, now time.Time) map[likeness]*alike {
	sorted := map[likeness]*alike{}
	for name, change := range changes {
		// Nobody knows when a node that is gone was unregistered; it can't be long ago.
		at := now
		if change.New != nil {
			at = change.New.Changed
		}
		like := likeness{name.Namespace, labelling(change.Old), labelling(change.New)}
		if sorted[like] == nil {
			sorted[like] = &alike{change: change}
		}
		sorted[like].nodes = append(sorted[like].nodes, changed{name.Name, at})
	}
	return sorted
}

// labelling tells the labels of nodes apart, as long as somebody holds the nodes: 0 stands for no node, and no map has an odd address.
func labelling(node *mirror.Node) uintptr {
	if node == nil {
		return 0
	}
	return reflect.ValueOf(node.Labels).Pointer() | 1
}

// change gives changed nodes to the Services that select them, or did before they changed, and returns those Services. What matches
// is found out without the lock: a Service that takes another selector meanwhile looks at all nodes after that.
func (s *states) change(changes map[types.NamespacedName]mirror.Change, now time.Time) []types.NamespacedName {
	concerned := map[types.NamespacedName][]batch{}
	selectors := map[string]map[types.NamespacedName]labels.Selector{}
	for like, nodes := range assort(changes, now) {
		if selectors[like.namespace] == nil {
			selectors[like.namespace] = s.selectors(like.namespace)
		}
		for service, selector := range selectors[like.namespace] {
			if selects(selector, nodes.change.New) || like.old != like.new && selects(selector, nodes.change.Old) {
				concerned[service] = append(concerned[service], nodes.nodes)
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for service, batches := range concerned {
		for _, nodes := range batches {
			s.ensure(service).backlog.add(nodes)
		}
	}
	return slices.Collect(maps.Keys(concerned))
}

// selectors returns the selectors of the Services of the namespace.
func (s *states) selectors(namespace string) map[types.NamespacedName]labels.Selector {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[types.NamespacedName]labels.Selector{}
	for name, st := range s.services[namespace] {
		if st.selector != nil {
			all[types.NamespacedName{Namespace: namespace, Name: name}] = st.selector
		}
	}
	return all
}

func selects(selector labels.Selector, node *mirror.Node) bool {
	return node != nil && selector.Matches(labels.Set(node.Labels))
}
