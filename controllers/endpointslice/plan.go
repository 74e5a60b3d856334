package endpointslice

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// operation is one write.
type operation struct {
	verb  verb
	known *known
	// slice is what to write; of a slice to delete, what is known of it.
	slice *discoveryv1.EndpointSlice
	// gains says that the slice gets endpoints that it did not have, gives that some of its own go to other slices. An
	// endpoint that moves is written where it goes before it is taken from where it was.
	gains, gives bool
	// cause is the time of the earliest change of a node that the write follows from; zero if there is none.
	cause time.Time
}

type verb string

const (
	create verb = "create"
	update verb = "update"
	remove verb = "delete"
)

// draft is what a slice is to become.
type draft struct {
	endpoints          []discoveryv1.Endpoint
	gains, gives, lost bool
	cause              time.Time
}

// pass is one run of planning.
type pass struct {
	*placement
	operations []operation
	touched    []*slice
	wants      map[endpointKey]want
	// leaving has, by slice, the endpoints that belong into another group.
	leaving map[*slice][]endpointKey
	// seen are the groups that may be empty afterwards.
	seen map[*group]struct{}
}

func newPass(p *placement) *pass {
	return &pass{
		placement: p,
		wants:     map[endpointKey]want{},
		leaving:   map[*slice][]endpointKey{},
		seen:      map[*group]struct{}{},
	}
}

// picture is what a full pass starts from.
type picture struct {
	// slices are the Service's existing slices.
	slices []*known
	// nodes are the nodes that the Service selects.
	nodes iter.Seq[*mirror.Node]
	// lookup is asked about a node that has an endpoint but is not among them.
	lookup lookup
	// causes has the nodes that changed, with the time of the change.
	causes map[string]time.Time
}

// lookup returns a node that the Service selects and that may have endpoints, nil if there is none of the name; and then,
// whether an endpoint of that name must stay because the node may be there all the same.
type lookup func(name string) (node *mirror.Node, keep bool)

// build is the full pass: it makes a placement from what exists and returns the writes that are missing from it.
func build(s *shape, from picture) (*placement, []operation) {
	r := newPass(newPlacement(s))
	for node := range from.nodes {
		if node.Traffic() != mirror.TrafficNone {
			r.learn(node.Name, node, from.causes[node.Name])
		}
	}
	var own []*slice
	for _, known := range from.slices {
		base := known.current.Load()
		if !s.owns(base) {
			r.operations = append(r.operations, operation{verb: remove, known: known, slice: base})
			continue
		}
		adopted := &slice{known: known}
		r.groupOf(base.AddressType, newPortSet(base.Ports)).join(adopted, 0)
		own = append(own, adopted)
	}
	slices.SortFunc(own, func(a, b *slice) int { return strings.Compare(a.base().Name, b.base().Name) })
	for _, adopted := range own {
		r.retain(adopted, from)
	}
	keys := r.settle()
	for _, adopted := range own {
		r.match(adopted, from.causes)
	}
	return r.placement, r.finish(keys)
}

// advance is the pass over what changed: it brings the placement up to date and returns the writes for that.
func (p *placement) advance() []operation {
	r := newPass(p)
	keys := r.settle()
	for _, key := range keys {
		r.revise(key)
	}
	return r.finish(keys)
}

// settle finds out what is wanted of every affected endpoint.
func (r *pass) settle() []endpointKey {
	keys := slices.SortedFunc(maps.Keys(r.affected), endpointKey.compare)
	for _, key := range keys {
		if w, wanted := r.want(key); wanted {
			r.wants[key] = w
			r.seen[w.group] = struct{}{}
		}
	}
	return keys
}

// retain sees to the endpoints of an existing slice whose nodes were not among those selected, or are known from before the
// start alone and then were elsewhere.
func (r *pass) retain(s *slice, from picture) {
	base := s.base()
	fits := r.shape.fits(s.group.ports)
	for i := range base.Endpoints {
		found := &base.Endpoints[i]
		name, ours := r.shape.nodeOf(found)
		if !ours {
			continue
		}
		key := endpointKey{node: name, family: base.AddressType}
		if ports, stays := r.retained(key, found, s.group.ports, fits, from); stays {
			delete(r.portless, name)
			r.keep(key, ports, found)
		}
	}
}

// retained says whether an endpoint that was found with those ports stays as it is, and with which ports. fits says whether
// the Service can still have them.
func (r *pass) retained(key endpointKey, found *discoveryv1.Endpoint, ports portSet, fits bool, from picture) (portSet, bool) {
	e := r.entries[key]
	if e == nil {
		node, keep := from.lookup(key.node)
		if node == nil {
			return ports, keep
		}
		if !r.keeps(key.node) {
			// It may have become known since: then it is no reason to take its endpoint away for a moment.
			r.learn(key.node, node, from.causes[key.node])
		}
		if e = r.entries[key]; e == nil {
			// What is remembered may lack what the node has got since: the port, or an address of the family.
			return ports, node.Remembered && fits
		}
	}
	if !fits {
		// It is the Service that has changed since, not the node.
		ports = e.ports
	}
	return ports, e.outrankedBy(found, ports)
}

// match finds the places of endpoints in an existing slice, and corrects the slice where it is not as it should be.
func (r *pass) match(s *slice, causes map[string]time.Time) {
	base := s.base()
	next := make([]discoveryv1.Endpoint, 0, len(base.Endpoints))
	changed := !r.shape.dressed(base) || len(base.Endpoints) == 0
	var cause time.Time
	for i := range base.Endpoints {
		name, _ := r.shape.nodeOf(&base.Endpoints[i])
		key := endpointKey{node: name, family: base.AddressType}
		w, wanted := r.wants[key]
		wanted = wanted && r.placed[key] == nil
		if wanted && w.group == s.group && len(next) < maxEndpoints {
			r.placed[key] = s
			next = append(next, w.endpoint)
			if sameEndpoint(&base.Endpoints[i], &w.endpoint) {
				continue
			}
		} else if wanted {
			r.leaving[s] = append(r.leaving[s], key)
		}
		changed = true
		cause = earliest(cause, causes[name])
	}
	s.resize(len(next))
	if !changed {
		return
	}
	d := r.touch(s)
	d.endpoints, d.cause = next, cause
	d.lost = len(next) < len(base.Endpoints)
}

// revise shows an affected endpoint differently in the slice where it is.
func (r *pass) revise(key endpointKey) {
	s := r.placed[key]
	if s == nil {
		return
	}
	w, wanted := r.wants[key]
	endpoints := s.base().Endpoints
	if s.draft != nil {
		endpoints = s.draft.endpoints
	}
	at := r.find(endpoints, key)
	if at < 0 {
		// What the API server stored is not what was sent to it.
		delete(r.placed, key)
		return
	}
	if wanted && w.group == s.group {
		if !sameEndpoint(&endpoints[at], &w.endpoint) {
			d := r.touch(s)
			d.endpoints[at] = w.endpoint
			d.cause = earliest(d.cause, r.affected[key])
		}
		return
	}
	d := r.touch(s)
	d.endpoints = slices.Delete(d.endpoints, at, at+1)
	d.lost, d.cause = true, earliest(d.cause, r.affected[key])
	s.resize(len(d.endpoints))
	delete(r.placed, key)
	if wanted {
		r.leaving[s] = append(r.leaving[s], key)
	}
}

// touch returns the slice's draft, which begins as what the slice holds.
func (r *pass) touch(s *slice) *draft {
	if s.draft == nil {
		s.draft = &draft{}
		if base := s.base(); base != nil {
			s.draft.endpoints = slices.Clone(base.Endpoints)
		}
		r.touched = append(r.touched, s)
		r.seen[s.group] = struct{}{}
	}
	return s.draft
}

// finish finds places for what has none yet, and returns the operations.
func (r *pass) finish(keys []endpointKey) []operation {
	r.convert()
	r.fill(keys)
	r.merge()
	for _, s := range r.touched {
		r.emit(s)
	}
	for g := range r.seen {
		if len(g.bySize) == 0 {
			delete(r.groups, g.key)
		}
	}
	// A map never shrinks, and to go over one costs as much as it once held.
	r.affected = map[endpointKey]time.Time{}
	return r.operations
}

// convert gives a slice that all endpoints leave for other groups the ports of the first of those. So endpoints whose
// ports changed together stay where they are, and a slice is updated where two would be written.
func (r *pass) convert() {
	for _, s := range r.touched {
		keys := r.leaving[s]
		if s.size == 0 {
			keys = slices.DeleteFunc(keys, func(key endpointKey) bool { return r.placed[key] != nil })
			if len(keys) > 0 {
				regroup(s, r.wants[keys[0]].group)
			}
		}
		for _, key := range keys {
			if s.size < maxEndpoints && r.placed[key] == nil && r.wants[key].group == s.group {
				r.put(key, s)
			} else {
				s.draft.gives = true
			}
		}
	}
}

// regroup gives an empty slice other ports.
func regroup(s *slice, g *group) {
	s.group.part(s)
	g.join(s, s.size)
	s.draft.lost = true
}

// put places an endpoint in a slice.
func (r *pass) put(key endpointKey, s *slice) {
	d := r.touch(s)
	d.endpoints = append(d.endpoints, r.wants[key].endpoint)
	d.gains, d.cause = true, earliest(d.cause, r.affected[key])
	s.resize(len(d.endpoints))
	r.placed[key] = s
}

// emit turns the slice's draft into the operation that brings it about.
func (r *pass) emit(s *slice) {
	d, base := s.draft, s.base()
	s.draft = nil
	op := operation{known: s.known, gains: d.gains, gives: d.gives, cause: d.cause}
	switch {
	case len(d.endpoints) == 0:
		s.group.part(s)
		if base == nil {
			return
		}
		op.verb, op.slice = remove, base
	case base == nil:
		op.verb, op.slice = create, r.render(s, &discoveryv1.EndpointSlice{AddressType: s.group.key.family}, d)
	default:
		op.verb, op.slice = update, r.render(s, base, d)
	}
	r.operations = append(r.operations, op)
}

// render returns a slice to send. What its endpoints and ports point to may be shared with the slice that it replaces, and
// with nodes: none of that is ever written to, and the client's answer is decoded into memory of its own.
func (r *pass) render(s *slice, base *discoveryv1.EndpointSlice, d *draft) *discoveryv1.EndpointSlice {
	next := &discoveryv1.EndpointSlice{AddressType: base.AddressType, Endpoints: d.endpoints, Ports: s.group.ports.ports}
	base.ObjectMeta.DeepCopyInto(&next.ObjectMeta)
	next.ManagedFields = nil // The API server keeps them where none are sent.
	r.shape.dress(next)
	if d.cause.IsZero() {
		delete(next.Annotations, corev1.EndpointsLastChangeTriggerTime)
	} else {
		if next.Annotations == nil {
			next.Annotations = map[string]string{}
		}
		next.Annotations[corev1.EndpointsLastChangeTriggerTime] = d.cause.UTC().Format(time.RFC3339Nano)
	}
	return next
}

// compareGroups orders groups, so that a plan does not depend on the order of maps.
func compareGroups(a, b *group) int {
	return cmp.Or(cmp.Compare(a.key.family, b.key.family), strings.Compare(a.key.ports, b.key.ports))
}
