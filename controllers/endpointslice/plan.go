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
	"k8s.io/utils/ptr"

	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// operation is one write.
type operation struct {
	verb  verb
	known *known
	// slice is what to write; of a slice to delete, what is known of it.
	slice *discoveryv1.EndpointSlice
	// yields is true if all that the slice loses is shown elsewhere by then: it is written once all else is.
	yields bool
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
	endpoints []discoveryv1.Endpoint
	// left are the endpoints that the pass takes out of the slice.
	left []departure
	// gained is true if the slice gets endpoints, regrouped if it gets other ports, changed if anything else changes.
	gained, regrouped, changed bool
	cause                      time.Time
}

// departure is an endpoint as it was in the slice that it leaves.
type departure struct {
	key      endpointKey
	endpoint discoveryv1.Endpoint
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
	var left []departure
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
			changed = true
		} else {
			left = append(left, departure{key, base.Endpoints[i]})
			if wanted {
				r.leaving[s] = append(r.leaving[s], key)
			}
		}
		cause = earliest(cause, causes[name])
	}
	s.resize(len(next))
	if changed || len(left) > 0 {
		d := r.touch(s)
		d.endpoints, d.left, d.changed, d.cause = next, left, changed, cause
	}
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
			d.endpoints[at], d.changed = w.endpoint, true
			d.cause = earliest(d.cause, r.affected[key])
		}
		return
	}
	d := r.touch(s)
	d.left = append(d.left, departure{key, d.endpoints[at]})
	d.endpoints = slices.Delete(d.endpoints, at, at+1)
	d.cause = earliest(d.cause, r.affected[key])
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

// convert gives a slice that all endpoints leave for another group the ports of that. So endpoints whose ports changed
// together stay where they are, and a slice is updated where two would be written.
func (r *pass) convert() {
	for _, s := range r.touched {
		keys := slices.DeleteFunc(r.leaving[s], func(key endpointKey) bool { return r.placed[key] != nil })
		if len(keys) == 0 || s.size > 0 || !r.convertible(s, r.wants[keys[0]].group) {
			continue
		}
		regroup(s, r.wants[keys[0]].group)
		for _, key := range keys {
			if s.size < maxEndpoints && r.placed[key] == nil && r.wants[key].group == s.group {
				r.place(key, s)
			}
		}
	}
}

// convertible returns true if an empty slice can have the ports of the group at once: nothing that leaves it has to stay until
// something else is written.
func (r *pass) convertible(s *slice, g *group) bool {
	return !slices.ContainsFunc(s.draft.left, func(left departure) bool {
		e := r.entries[left.key]
		return e != nil && e.ready() && (r.wants[left.key].group != g || len(r.winners(e, &left, s)) > 0)
	})
}

// regroup gives an empty slice other ports.
func regroup(s *slice, g *group) {
	s.group.part(s)
	g.join(s, s.size)
	s.draft.regrouped = true
}

// put places an endpoint in a slice where it was not.
func (r *pass) put(key endpointKey, s *slice) {
	r.place(key, s)
	s.draft.gained = true
}

func (r *pass) place(key endpointKey, s *slice) {
	d := r.touch(s)
	d.endpoints = append(d.endpoints, r.wants[key].endpoint)
	d.cause = earliest(d.cause, r.affected[key])
	s.resize(len(d.endpoints))
	r.placed[key] = s
}

// emit turns the slice's draft into the operations that bring it about.
func (r *pass) emit(s *slice) {
	d, base := s.draft, s.base()
	s.draft = nil
	op := operation{verb: update, known: s.known, slice: base, cause: d.cause}
	switch {
	case len(d.endpoints) == 0:
		s.group.part(s)
		if base == nil {
			return
		}
		op.verb = remove
	case base == nil:
		op.verb, base = create, &discoveryv1.EndpointSlice{AddressType: s.group.key.family}
		fallthrough
	default:
		op.slice = r.render(base, s.group.ports.ports, d.endpoints, d.cause)
	}
	if op.verb != create {
		op.yields = r.yields(s, d, op.verb)
	}
	r.operations = append(r.operations, op)
}

// yields returns true if the operation on the slice has to be the last. What the slice loses for good is not made to wait for
// that: then there is one more operation, which comes before.
func (r *pass) yields(s *slice, d *draft, v verb) bool {
	staying := r.staying(s, d)
	if len(staying) == 0 {
		return false
	}
	if pure := len(staying) == len(d.left) && !d.changed; pure && (v == remove || !d.gained) {
		return true
	}
	if d.regrouped && v == update {
		return false // It can't have both ports.
	}
	now := r.render(s.base(), s.base().Ports, slices.Concat(d.endpoints, staying), d.cause)
	r.operations = append(r.operations, operation{verb: update, known: s.known, slice: now, cause: d.cause})
	return true
}

// staying returns the endpoints that leave the slice and are to stay in it until they, or those that take their place, are
// shown elsewhere. An endpoint that is no longer ready goes at once.
func (r *pass) staying(s *slice, d *draft) []discoveryv1.Endpoint {
	var staying []discoveryv1.Endpoint
	for i := range d.left {
		if left := &d.left[i]; r.stays(left, s) {
			staying = append(staying, left.endpoint)
		}
	}
	return staying
}

func (r *pass) stays(left *departure, s *slice) bool {
	e := r.entries[left.key]
	if e == nil {
		return false
	}
	if at := r.placed[left.key]; at != nil && at != s {
		return e.ready() || !ptr.Deref(left.endpoint.Conditions.Ready, true)
	}
	return e.ready() && slices.ContainsFunc(r.winners(e, left, s), func(winner *entry) bool { return r.placed[winner.key] != s })
}

// winners returns the entries that have now what the endpoint had in the slice and its entry still claims.
func (r *pass) winners(e *entry, left *departure, s *slice) []*entry {
	if !slices.Contains(left.endpoint.Addresses, e.addr.String()) {
		return nil
	}
	var winners []*entry
	ports := s.base().Ports
	for c := range e.claims() {
		had := len(ports) == 0 || slices.ContainsFunc(ports, func(port discoveryv1.EndpointPort) bool { return e.claim(&port) == c })
		if winner := r.holders[c][0]; had && winner != e {
			winners = append(winners, winner)
		}
	}
	return winners
}

// render returns a slice to send. What its endpoints and ports point to may be shared with the slice that it replaces, and
// with nodes: none of that is ever written to, and the client's answer is decoded into memory of its own.
func (r *pass) render(
	base *discoveryv1.EndpointSlice, ports []discoveryv1.EndpointPort, endpoints []discoveryv1.Endpoint, cause time.Time,
) *discoveryv1.EndpointSlice {
	next := &discoveryv1.EndpointSlice{AddressType: base.AddressType, Endpoints: endpoints, Ports: ports}
	base.ObjectMeta.DeepCopyInto(&next.ObjectMeta)
	next.ManagedFields = nil // The API server keeps them where none are sent.
	r.shape.dress(next)
	if cause.IsZero() {
		delete(next.Annotations, corev1.EndpointsLastChangeTriggerTime)
	} else {
		if next.Annotations == nil {
			next.Annotations = map[string]string{}
		}
		next.Annotations[corev1.EndpointsLastChangeTriggerTime] = cause.UTC().Format(time.RFC3339Nano)
	}
	return next
}

// compareGroups orders groups, so that a plan does not depend on the order of maps.
func compareGroups(a, b *group) int {
	return cmp.Or(cmp.Compare(a.key.family, b.key.family), strings.Compare(a.key.ports, b.key.ports))
}
