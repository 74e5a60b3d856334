package plan

import (
	"iter"
	"slices"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// MaxEndpoints is how many endpoints a slice holds at most. It is what Kubernetes' own controller uses: a larger slice
// makes each change dearer for every consumer.
const MaxEndpoints = 100

// Slices are the slices of one Service as they stand.
type Slices interface {
	// Current returns the slice that was last written under that name; nil while there is none.
	Current(name string) *discoveryv1.EndpointSlice
	// Reserve returns a name for a slice that is to be created.
	Reserve(service string, uid types.UID) string
}

// Nodes are the nodes as they stand.
type Nodes struct {
	// Lookup returns a node that the Service selects, nil if there is none of the name; and, if there is none or it takes no traffic,
	// whether an endpoint of that name must stay because the node may be there all the same.
	Lookup func(name string) (node *mirror.Node, keep bool)
	// Changed are the nodes that changed, with the time of the change.
	Changed map[string]time.Time
	// Unsettled are the registries of which the Service may select nodes that are not known yet. While there are any, an endpoint that
	// no node explains stays.
	Unsettled sets.Set[string]
}

// Operation is one write.
type Operation struct {
	Verb Verb
	// Slice is what to write; of a slice to delete, what is known of it.
	Slice *discoveryv1.EndpointSlice
	// Yields is true if all that the slice loses is shown elsewhere by then: it is written once all else is.
	Yields bool
	// Cause is the time of the earliest change of a node that the write follows from; zero if there is none.
	Cause time.Time
}

// Verb is what an Operation does.
type Verb string

// The verbs.
const (
	Create Verb = "create"
	Update Verb = "update"
	Delete Verb = "delete"
)

// Placement is what the slices of a Service hold, and why. It is changed as if every write succeeded; after one that failed, build
// another one from it.
type Placement struct {
	view     *View
	families []*family
	// blank is true if the Service had no slices when it was first looked at.
	blank     bool
	unsettled sets.Set[string]
	census    census
}

// Build returns the placement of a Service that has those slices and selects those nodes, and the writes that are missing from it.
// before is the placement that there was, whether or not what it led to was written; nil if there was none, and all that is known is
// what the slices hold.
func Build(
	v *View, before *Placement, existing []*discoveryv1.EndpointSlice, selected iter.Seq[*mirror.Node], nodes Nodes, current Slices,
) (*Placement, []Operation) {
	if before != nil && before.view.owner.UID != v.owner.UID {
		before = nil
	}
	p := &Placement{view: v, unsettled: nodes.Unsettled}
	for _, kind := range v.families {
		p.families = append(p.families, newFamily(v, kind, before.family(kind)))
	}
	foreign := p.adopt(existing)
	p.blank = before == nil && len(foreign) == len(existing) || before != nil && before.blank
	for node := range selected {
		p.take(node, nodes)
	}
	p.remember(nodes)
	for _, f := range p.families {
		if len(nodes.Unsettled) > 0 {
			f.keepFound()
		}
		f.before, f.found = nil, nil
	}
	return p, append(foreign, p.step(current)...)
}

// take takes in a node that is selected.
func (p *Placement) take(node *mirror.Node, nodes Nodes) {
	n := p.fact(node.Name, node, nodes.Changed[node.Name])
	if node.Traffic() == mirror.TrafficNone {
		n.node, n.keep = nodes.Lookup(node.Name)
	}
	if n.node != nil {
		p.learn(n)
	}
}

// family returns the family of that kind, nil if there is none.
func (p *Placement) family(kind discoveryv1.AddressType) *family {
	if p != nil {
		for _, f := range p.families {
			if f.kind == kind {
				return f
			}
		}
	}
	return nil
}

// remember takes in what is known of the nodes that had endpoints before and are not selected any more. One may have become known
// since: then it is no reason to take its endpoint away for a moment.
func (p *Placement) remember(nodes Nodes) {
	for _, f := range p.families {
		if f.before == nil {
			continue
		}
		for name, c := range f.before.candidates {
			if f.candidates[name] == nil && (c.kept == nil || !c.kept.nameless) {
				node, keep := nodes.Lookup(name)
				n := p.fact(name, node, nodes.Changed[name])
				n.keep = keep
				p.learn(n)
			}
		}
	}
}

// fact returns what is known of a node.
func (p *Placement) fact(name string, node *mirror.Node, cause time.Time) fact {
	return fact{name: name, node: node, adds: node == nil || p.blank, cause: cause}
}

// Revise brings the placement up to date with the nodes that changed, and returns the writes for that.
func (p *Placement) Revise(nodes Nodes, current Slices) []Operation {
	for name, cause := range nodes.Changed {
		node, keep := nodes.Lookup(name)
		n := p.fact(name, node, cause)
		n.keep, n.deferred = keep, node != nil && p.defers(node)
		p.learn(n)
	}
	return p.step(current)
}

// defers returns true if the node gets no endpoint for now, since it changes too often and the Service has none of it yet.
func (p *Placement) defers(node *mirror.Node) bool {
	if !node.Flapping {
		return false
	}
	return !p.census.portless(node.Name) && !slices.ContainsFunc(p.families, func(f *family) bool { return f.candidates[node.Name] != nil })
}

// adopt takes the slices as they stand, and returns the writes that delete those which are not the Service's. Whose their endpoints
// are the step finds out, by their addresses.
func (p *Placement) adopt(existing []*discoveryv1.EndpointSlice) (foreign []Operation) {
	for _, found := range existing {
		f := p.family(found.AddressType)
		if f == nil || !p.view.owns(found) {
			foreign = append(foreign, Operation{Verb: Delete, Slice: found})
			continue
		}
		s := &slice{name: found.Name}
		s.join(f.group(found.Ports))
		f.adopted = append(f.adopted, s)
		for i := range found.Endpoints {
			if addr, ok := addressIn(&found.Endpoints[i]); ok && f.before == nil {
				f.found[addr.As16()] = append(f.found[addr.As16()], place{s, &found.Endpoints[i]})
			}
		}
	}
	return foreign
}

// learn takes in what is known of a node.
func (p *Placement) learn(n fact) {
	selected := n.node
	if n.node != nil && (n.deferred || n.node.Traffic() == mirror.TrafficNone) {
		n.node = nil
	}
	if n.node != nil {
		n.ports = p.view.resolve(n.node)
	}
	for _, f := range p.families {
		f.learn(n)
	}
	p.selected(n.name, selected, n.deferred)
}

// step returns the writes that show each candidate as it is desired.
func (p *Placement) step(current Slices) (operations []Operation) {
	for _, f := range p.families {
		st := &step{family: f, current: current}
		st.decide()
		st.reviseAll()
		st.convert()
		st.fill()
		st.merge()
		for _, s := range st.touched {
			st.emit(s)
		}
		for _, d := range st.desired {
			p.count(d.name)
		}
		for name, node := range st.end() {
			p.selected(name, node, false)
		}
		operations = append(operations, st.operations...)
	}
	return operations
}

// View returns the view of the Service.
func (p *Placement) View() *View { return p.view }
