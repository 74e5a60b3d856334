package endpointslice

import (
	"reflect"
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

// maxBacklog is how many changes a Service may have before it. Beyond that, it looks at all nodes: nodes that change all the time
// must not fill the memory while the API server is away.
const maxBacklog = 1 << 18

// backlog has what changed and is not written yet.
type backlog struct {
	batches []batch
	// size is how many nodes there are, where one may count several times.
	size int
}

func (b *backlog) add(nodes batch) {
	b.batches = append(b.batches, nodes)
	b.size += len(nodes)
}

// merged returns the nodes, each with the time of its earliest change.
func (b *backlog) merged() map[string]time.Time {
	nodes := map[string]time.Time{}
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
type likeness struct{ old, new uintptr }

// alike is changed nodes of one likeness, of which change is one.
type alike struct {
	change mirror.Change
	nodes  batch
}

// assort puts changed nodes together that are alike, by namespace.
func assort(changes map[types.NamespacedName]mirror.Change, now time.Time) map[string]map[likeness]*alike {
	sorted := map[string]map[likeness]*alike{}
	for name, change := range changes {
		// Nobody knows when a node that is gone was unregistered; it can't be long ago.
		at := now
		if change.New != nil {
			at = change.New.Changed
		}
		namespace := sorted[name.Namespace]
		if namespace == nil {
			namespace = map[likeness]*alike{}
			sorted[name.Namespace] = namespace
		}
		like := likeness{labelling(change.Old), labelling(change.New)}
		if namespace[like] == nil {
			namespace[like] = &alike{change: change}
		}
		namespace[like].nodes = append(namespace[like].nodes, changed{name.Name, at})
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

// change gives changed nodes to the Services that select them, or did before they changed, and returns those Services.
func (s *states) change(changes map[types.NamespacedName]mirror.Change, now time.Time) (concerned []types.NamespacedName) {
	for namespace, sorted := range assort(changes, now) {
		concerned = append(concerned, s.changeIn(namespace, sorted)...)
	}
	return concerned
}

// changeIn does so in one namespace. What matches is found out without the lock: a Service that takes another selector meanwhile
// looks at all nodes after that.
func (s *states) changeIn(namespace string, sorted map[likeness]*alike) (concerned []types.NamespacedName) {
	services := s.selecting(namespace)
	batches := map[string]batch{} // By the services that they concern, as bits.
	for like, nodes := range sorted {
		bits := make([]byte, len(services)/8+1)
		for i, service := range services {
			if selects(service.selector, nodes.change.New) || like.old != like.new && selects(service.selector, nodes.change.Old) {
				bits[i/8] |= 1 << (i % 8)
			}
		}
		batches[string(bits)] = append(batches[string(bits)], nodes.nodes...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, service := range services {
		before := service.state.backlog.size
		for bits, nodes := range batches {
			if bits[i/8]>>(i%8)&1 == 1 {
				service.state.backlog.add(nodes)
			}
		}
		if service.state.backlog.size > before {
			concerned = append(concerned, service.name)
		}
		if service.state.backlog.size > maxBacklog {
			service.state.backlog, service.state.full = backlog{}, true
		}
	}
	return concerned
}

// selecting is a Service that selects nodes.
type selecting struct {
	name     types.NamespacedName
	selector labels.Selector
	state    *state
}

// selecting returns the Services of the namespace that select nodes.
func (s *states) selecting(namespace string) (services []selecting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, st := range s.services[namespace] {
		if st.selector != nil {
			services = append(services, selecting{types.NamespacedName{Namespace: namespace, Name: name}, st.selector, st})
		}
	}
	return services
}

func selects(selector labels.Selector, node *mirror.Node) bool {
	return node != nil && selector.Matches(labels.Set(node.Labels))
}
