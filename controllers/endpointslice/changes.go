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

// changed is a node that changed, as it is since then, with the time of that. It is nil once it is gone.
type changed struct {
	name string
	node *mirror.Node
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
			if before, found := nodes[c.name]; !found || c.at.Before(before) {
				nodes[c.name] = c.at
			}
		}
	}
	return nodes
}

// latest returns the nodes as the last change has left them.
func (b *backlog) latest() map[string]*mirror.Node {
	nodes := map[string]*mirror.Node{}
	for _, batch := range b.batches {
		for _, c := range batch {
			nodes[c.name] = c.node
		}
	}
	return nodes
}

// matching finds out which Services of a namespace changed nodes concern. It is used for the changes of one batch: while these hold
// their nodes, a map of labels keeps its address.
type matching struct {
	all []selecting
	// known are the Services that select the nodes with a map of labels, which the nodes of a registry share.
	known map[uintptr]services
	// batches are the nodes by the Services that they concern.
	batches map[services]batch
}

// services is a set of Services, a bit for each.
type services string

// add enters a node that changed.
func (m *matching) add(name string, change mirror.Change, now time.Time) {
	// Nobody knows when a node that is gone was unregistered; it can't be long ago.
	at := now
	if change.New != nil {
		at = change.New.Changed
	}
	concerned := m.selecting(change.Old, change.New)
	m.batches[concerned] = append(m.batches[concerned], changed{name, change.New, at})
}

// selecting returns the Services that select one of the nodes.
func (m *matching) selecting(nodes ...*mirror.Node) (some services) {
	for _, node := range nodes {
		if node == nil {
			continue
		}
		labels := reflect.ValueOf(node.Labels).Pointer()
		if _, found := m.known[labels]; !found {
			m.known[labels] = m.match(node)
		}
		some = some.union(m.known[labels])
	}
	return some
}

func (m *matching) match(node *mirror.Node) services {
	bits := make([]byte, len(m.all)/8+1)
	for i, service := range m.all {
		if service.selector.Matches(labels.Set(node.Labels)) {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	return services(bits)
}

func (s services) has(i int) bool { return i/8 < len(s) && s[i/8]>>(i%8)&1 == 1 }

func (s services) union(o services) services {
	if s == "" || s == o {
		return o
	}
	bits := []byte(s)
	for i := range o {
		bits[i] |= o[i]
	}
	return services(bits)
}

// change gives changed nodes to the Services that select them, or did before they changed, and returns those Services. What matches
// is found out without the lock: a Service that takes another selector meanwhile looks at all nodes after that.
func (s *states) change(changes map[types.NamespacedName]mirror.Change, now time.Time) (concerned []types.NamespacedName) {
	namespaces := map[string]*matching{}
	for name, change := range changes {
		m := namespaces[name.Namespace]
		if m == nil {
			m = &matching{all: s.selecting(name.Namespace), known: map[uintptr]services{}, batches: map[services]batch{}}
			namespaces[name.Namespace] = m
		}
		m.add(name.Name, change, now)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range namespaces {
		for i, service := range m.all {
			if service.state.take(m.batches, i) {
				concerned = append(concerned, service.name)
			}
		}
	}
	return concerned
}

// take puts the batches that concern the Service of that number into its backlog, and returns true if there are any.
func (st *state) take(batches map[services]batch, service int) (some bool) {
	for concerned, nodes := range batches {
		if concerned.has(service) {
			st.backlog.add(nodes)
			some = true
		}
	}
	if st.backlog.size > maxBacklog {
		st.backlog, st.full = backlog{}, true
	}
	return some
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
