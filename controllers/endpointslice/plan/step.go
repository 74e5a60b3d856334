package plan

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"

	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// slice is one EndpointSlice of a placement.
type slice struct {
	// name is empty while the slice is to be created.
	name  string
	group *group
	size  int
	// draft is what the slice is to become; nil unless the step changes it.
	draft *draft
}

// join puts a slice that is in no group into one.
func (s *slice) join(g *group) {
	s.group = g
	g.slices = append(g.slices, s)
}

// part takes the slice out of its group.
func (f *family) part(s *slice) {
	g := s.group
	last := len(g.slices) - 1
	g.slices[slices.Index(g.slices, s)] = g.slices[last]
	g.slices[last] = nil
	g.slices = g.slices[:last]
	f.drop(g)
}

// draft is what a slice is to become.
type draft struct {
	// base is the slice as it stands, nil if it is to be created, and from the group that it is in.
	base      *discoveryv1.EndpointSlice
	from      *group
	endpoints []discoveryv1.Endpoint
	// left are the endpoints that the step takes out of the slice, moving those of them that belong into another group.
	left   []departure
	moving []*desired
	// gained is true if the slice gets endpoints, regrouped if it gets other ports, changed if anything else changes.
	gained, regrouped, changed bool
	cause                      time.Time
}

// departure is an endpoint as it was in the slice that it leaves. Where nothing is known of it, it has no candidate.
type departure struct {
	candidate *candidate
	endpoint  *discoveryv1.Endpoint
}

// desired is an endpoint as it should be, and the group that it should be in: nil if it should not be shown.
type desired struct {
	candidate *candidate
	name      string
	// was is the address that the candidate was shown at.
	was      netip.Addr
	cause    time.Time
	group    *group
	endpoint discoveryv1.Endpoint
}

// spot is an address in a slice.
type spot struct {
	slice *slice
	addr  netip.Addr
}

// step is one run of planning in one family.
type step struct {
	*family
	current    Slices
	operations []Operation
	touched    []*slice
	// were are the desired candidates by where they were before the step.
	were map[spot]*candidate
	// scratch is where a slice is put together that may turn out to be as it is.
	scratch []discoveryv1.Endpoint
}

// decide finds out what is desired of every candidate that may have to be shown differently.
func (st *step) decide() {
	st.resolve()
	slices.SortFunc(st.desired, func(a, b *desired) int { return strings.Compare(a.name, b.name) })
	for _, d := range st.desired {
		c := d.candidate
		if d.group = c.shown; d.group == nil {
			continue
		}
		if c.kept != nil {
			d.endpoint = st.view.keep(c.kept.endpoint, c.node)
		} else {
			addr, _ := addressOf(c.node, st.kind)
			d.endpoint = st.view.endpoint(c.node, addr)
		}
	}
}

// reviseAll looks at the slices that hold such candidates, and at those that were adopted. Where a candidate is, is found out there.
func (st *step) reviseAll() {
	concerned := map[*slice]struct{}{}
	st.were = map[spot]*candidate{}
	for _, s := range st.adopted {
		concerned[s] = struct{}{}
	}
	for _, d := range st.desired {
		if s := d.candidate.slice; s != nil {
			concerned[s] = struct{}{}
			st.were[spot{s, d.was}] = d.candidate
			d.candidate.slice = nil
		}
	}
	for _, s := range slices.SortedFunc(maps.Keys(concerned), func(a, b *slice) int { return strings.Compare(a.name, b.name) }) {
		st.revise(s)
	}
}

// revise finds the places of candidates in a slice, and corrects the slice where it is not as it should be.
func (st *step) revise(s *slice) {
	d := draft{base: st.current.Current(s.name), from: s.group}
	d.changed = !st.view.labelled(d.base) || len(d.base.Endpoints) == 0
	next := slices.Grow(st.scratch[:0], len(d.base.Endpoints)+1)
	for i := range d.base.Endpoints {
		found := &d.base.Endpoints[i]
		c := st.candidateOf(s, found)
		switch {
		case c.staysIn(s):
			next = append(next, *found)
		case c.fits(s) && len(next) < MaxEndpoints:
			c.slice = s
			next = append(next, c.desired.endpoint)
			if !sameEndpoint(found, &c.desired.endpoint) {
				d.changed, d.cause = true, earliest(d.cause, c.desired.cause)
			}
		default:
			d.lose(departure{c, found})
		}
	}
	s.size, st.scratch = len(next), next
	if d.changed || len(d.left) > 0 {
		d.endpoints, st.scratch = next, nil
		s.draft = &d
		st.touched = append(st.touched, s)
	}
}

// staysIn returns true if the candidate is in the slice, and the step makes no difference to it.
func (c *candidate) staysIn(s *slice) bool { return c != nil && c.desired == nil && c.slice == s }

// fits returns true if the candidate has no place, and the slice is one for it.
func (c *candidate) fits(s *slice) bool {
	return c != nil && c.desired != nil && c.slice == nil && c.desired.group == s.group
}

// candidateOf returns the candidate of an endpoint in a slice: one at its address that is in the slice or is to be, else that which was
// there, or that which is to be elsewhere; nil if there is none.
func (st *step) candidateOf(s *slice, endpoint *discoveryv1.Endpoint) *candidate {
	addr, found := addressIn(endpoint)
	if !found {
		return nil
	}
	if c := st.among(addr, func(c *candidate) bool { return c.staysIn(s) || c.fits(s) }); c != nil {
		return c
	}
	if c := st.were[spot{s, addr}]; c != nil {
		return c
	}
	return st.among(addr, func(c *candidate) bool { return c.desired != nil && c.shown != nil && c.slice == nil })
}

// holder returns the candidate that is at the address in the slice.
func (st *step) holder(s *slice, endpoint *discoveryv1.Endpoint) *candidate {
	addr, _ := addressIn(endpoint)
	return st.among(addr, func(c *candidate) bool { return c.slice == s })
}

// lose notes that an endpoint leaves the slice.
func (d *draft) lose(left departure) {
	d.left = append(d.left, left)
	if c := left.candidate; c != nil && c.desired != nil {
		d.cause = earliest(d.cause, c.desired.cause)
		if c.desired.group != nil && c.slice == nil {
			d.moving = append(d.moving, c.desired)
		}
	}
}

// touch returns the slice's draft, which begins as what the slice holds.
func (st *step) touch(s *slice) *draft {
	if s.draft == nil {
		s.draft = &draft{from: s.group}
		if s.name != "" {
			s.draft.base = st.current.Current(s.name)
			s.draft.endpoints = slices.Clone(s.draft.base.Endpoints)
		}
		st.touched = append(st.touched, s)
	}
	return s.draft
}

// end leaves the family as it is between steps. Of what is kept goes what others have now: it returns those names with their nodes, nil
// where nobody knows these.
func (st *step) end() (superseded map[string]*mirror.Node) {
	for _, d := range st.desired {
		c := d.candidate
		c.desired = nil
		if c.kept != nil && c.shown == nil && st.succeeded(c) {
			if superseded == nil {
				superseded = map[string]*mirror.Node{}
			}
			superseded[d.name] = c.node
			st.leave(c, time.Time{})
			c.node, c.kept = nil, nil
			st.enter(c, nil, time.Time{})
		}
		if c.node == nil && c.kept == nil {
			delete(st.candidates, d.name)
		}
	}
	st.desired, st.adopted = nil, nil
	return superseded
}

// succeeded returns true if a candidate that is kept has lost what it had to one that is known better.
func (st *step) succeeded(c *candidate) bool {
	addr, _ := c.address(st.kind)
	return c.kept.nameless || st.winner(addr, c.ports.claims[0]).kept == nil
}

// emit turns the slice's draft into the operations that bring it about.
func (st *step) emit(s *slice) {
	d := s.draft
	s.draft = nil
	op := Operation{Verb: Update, Slice: d.base, Cause: d.cause}
	switch {
	case len(d.endpoints) == 0:
		st.part(s)
		if d.base == nil {
			return
		}
		op.Verb = Delete
	case d.base == nil:
		s.name = st.current.Reserve(st.view.owner.Name, st.view.owner.UID)
		op.Verb = Create
		op.Slice = st.render(&discoveryv1.EndpointSlice{AddressType: st.kind}, s.group.ports, d.endpoints, d.cause)
		op.Slice.Name = s.name
	default:
		op.Slice = st.render(d.base, s.group.ports, d.endpoints, d.cause)
	}
	op.Yields = op.Verb != Create && st.yields(s, d, op.Verb)
	st.operations = append(st.operations, op)
}

// yields returns true if the operation on the slice has to be the last. What the slice loses for good is not made to wait for
// that: then there is one more operation, which comes before.
func (st *step) yields(s *slice, d *draft, v Verb) bool {
	var staying []discoveryv1.Endpoint
	for _, left := range d.left {
		if st.stays(left, s, d) {
			staying = append(staying, *left.endpoint)
		}
	}
	if len(staying) == 0 {
		return false
	}
	if pure := len(staying) == len(d.left) && !d.changed; pure && (v == Delete || !d.gained) {
		return true
	}
	if d.regrouped && v == Update {
		return false // It can't have both ports.
	}
	now := st.render(d.base, d.base.Ports, slices.Concat(d.endpoints, staying), d.cause)
	st.operations = append(st.operations, Operation{Verb: Update, Slice: now, Cause: d.cause})
	return true
}

// stays returns true if an endpoint that leaves the slice is to stay in it until it, or those that take its place, are shown
// elsewhere. An endpoint that is no longer ready goes at once.
func (st *step) stays(left departure, s *slice, d *draft) bool {
	c := left.candidate
	switch {
	case c == nil, c.node == nil && c.kept == nil:
		return false
	case c.slice != nil && c.slice != s:
		return c.ready() || !ptr.Deref(left.endpoint.Conditions.Ready, true)
	}
	return c.ready() && slices.ContainsFunc(st.winners(left, d), func(winner *candidate) bool { return winner.slice != s })
}

// winners returns the candidates that have now what the endpoint had in the slice and its candidate still claims.
func (st *step) winners(left departure, d *draft) (winners []*candidate) {
	c := left.candidate
	addr, _ := c.address(st.kind)
	if at, found := addressIn(left.endpoint); !found || at != addr {
		return nil
	}
	for _, port := range c.ports.claims {
		had := len(d.from.ports) == 0 || slices.Contains(d.from.claims, port)
		if winner := st.winner(addr, port); had && winner != c {
			winners = append(winners, winner)
		}
	}
	return winners
}

// render returns a slice to send. What its endpoints and ports point to may be shared with the slice that it replaces, and
// with nodes: none of that is ever written to, and the client's answer is decoded into memory of its own.
func (st *step) render(
	base *discoveryv1.EndpointSlice, ports []discoveryv1.EndpointPort, endpoints []discoveryv1.Endpoint, cause time.Time,
) *discoveryv1.EndpointSlice {
	next := &discoveryv1.EndpointSlice{AddressType: base.AddressType, Endpoints: endpoints, Ports: ports}
	base.ObjectMeta.DeepCopyInto(&next.ObjectMeta)
	next.ManagedFields = nil // Whoever sends the slice decides what becomes of them.
	st.view.label(next)
	changed := ""
	if !cause.IsZero() {
		changed = cause.UTC().Format(time.RFC3339Nano)
	}
	annotate(next, corev1.EndpointsLastChangeTriggerTime, changed)
	return next
}
