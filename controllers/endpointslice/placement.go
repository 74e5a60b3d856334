package endpointslice

import (
	"cmp"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// maxEndpoints is how many endpoints a slice holds at most. It is what Kubernetes' own controller uses: a larger slice
// makes each change dearer for every consumer.
const maxEndpoints = 100

// endpointKey names an endpoint: a node has at most one of each family.
type endpointKey struct {
	node   string
	family discoveryv1.AddressType
}

func (k endpointKey) compare(o endpointKey) int {
	return cmp.Or(strings.Compare(k.node, o.node), cmp.Compare(k.family, o.family))
}

// entry is what is known of an endpoint, whether or not it is shown.
type entry struct {
	key   endpointKey
	addr  netip.Addr
	ports portSet
	// node is the endpoint's node; nil if it is not known. It never changes, so neither does the entry's rank: a change of the
	// node makes another entry.
	node *mirror.Node
	// kept is the endpoint as it was found, where its node is not known and it may not be removed yet.
	kept *discoveryv1.Endpoint
}

// claim is what only one endpoint of a Service can have.
type claim struct {
	addr     netip.Addr
	protocol corev1.Protocol
	port     int32
}

// String returns for example "10.0.0.5:9100/TCP".
func (c claim) String() string {
	if c.port == 0 {
		return c.addr.String()
	}
	return fmt.Sprintf("%s/%s", netip.AddrPortFrom(c.addr, uint16(c.port)), c.protocol)
}

// conflict is a claim that the endpoint makes in vain.
type conflict struct {
	claim claim
	loser endpointKey
}

func (e *entry) claim(port *discoveryv1.EndpointPort) claim {
	c := claim{addr: e.addr}
	if port.Protocol != nil {
		c.protocol = *port.Protocol
	}
	if port.Port != nil {
		c.port = *port.Port
	}
	return c
}

// claims yields what the entry claims; without ports it is the address as a whole.
func (e *entry) claims() iter.Seq[claim] {
	return func(yield func(claim) bool) {
		if len(e.ports.ports) == 0 {
			yield(claim{addr: e.addr})
			return
		}
		for i := range e.ports.ports {
			if !yield(e.claim(&e.ports.ports[i])) {
				return
			}
		}
	}
}

// outrankedBy says whether an endpoint that was found with those ports is to stay as it is: where a node that is only
// remembered was elsewhere, the endpoint was written later.
func (e *entry) outrankedBy(found *discoveryv1.Endpoint, ports portSet) bool {
	return e.node != nil && e.node.Remembered && len(found.Addresses) > 0 &&
		(e.addr.String() != found.Addresses[0] || e.ports.key != ports.key)
}

// standing is the first part of an entry's rank: of those that make the same claim the least is shown.
type standing uint8

const (
	// serving: the node heartbeats and takes traffic on a record that was accepted.
	serving standing = iota
	// draining: it heartbeats and serves what it has.
	draining
	// doubtful: it is silent, held or not, or lives on its last good record.
	doubtful
	// cordoned: a person has taken it out of rotation.
	cordoned
	// unknown: there is no node, only an endpoint that was found.
	unknown
)

// ready returns true if the entry takes traffic. One that was found is taken to.
func (e *entry) ready() bool { return e.node == nil || e.node.Traffic() == mirror.TrafficReady }

func (e *entry) standing() standing {
	switch {
	case e.node == nil:
		return unknown
	case e.node.Cordoned:
		return cordoned
	case e.node.Silent, e.node.Refusal.Reason != "", e.node.Traffic() == mirror.TrafficNotReady:
		return doubtful
	case e.node.Traffic() == mirror.TrafficTerminating:
		return draining
	}
	return serving
}

// rank orders the entries that make the same claim: the first keeps it. Of two doubtful ones that which takes traffic is
// before that which takes none; then the older node comes first.
func (e *entry) rank(o *entry) int {
	if order := cmp.Compare(e.standing(), o.standing()); order != 0 || e.node == nil {
		return cmp.Or(order, e.key.compare(o.key))
	}
	return cmp.Or(cmp.Compare(o.node.Traffic(), e.node.Traffic()), e.node.FirstSeen.Compare(o.node.FirstSeen), e.key.compare(o.key))
}

type groupKey struct {
	family discoveryv1.AddressType
	ports  string
}

// group is the slices that have the same family and ports, so that an endpoint may be in any of them.
type group struct {
	key   groupKey
	ports portSet
	// bySize has the slices by the number of their endpoints.
	bySize map[int][]*slice
}

// slice is one EndpointSlice of a placement.
type slice struct {
	known *known
	group *group
	size  int
	// at is the slice's place in group.bySize[size].
	at int
	// draft is what the slice is to become; nil unless the pass that is under way changes it.
	draft *draft
}

func (s *slice) base() *discoveryv1.EndpointSlice { return s.known.current.Load() }

// placement is what a Service's slices hold, and why. It costs no I/O, and is changed as if every write succeeded; after
// one that failed, a new one is built.
type placement struct {
	shape   *shape
	entries map[endpointKey]*entry
	// holders has the entries that make a claim, by rank.
	holders map[claim][]*entry
	groups  map[groupKey]*group
	placed  map[endpointKey]*slice
	// portless are the nodes that have none of the Service's ports.
	portless map[string]struct{}
	// conflicts are the claims that nodes make in vain which heartbeat and take traffic. That one which is silent, drains or
	// is cordoned gives way is as it should be.
	conflicts map[conflict]struct{}
	// affected are the endpoints that may have to be shown differently, each with the time of the change that caused it:
	// zero if it was no change of a node.
	affected map[endpointKey]time.Time
}

func newPlacement(s *shape) *placement {
	return &placement{
		shape:     s,
		entries:   map[endpointKey]*entry{},
		holders:   map[claim][]*entry{},
		groups:    map[groupKey]*group{},
		placed:    map[endpointKey]*slice{},
		portless:  map[string]struct{}{},
		conflicts: map[conflict]struct{}{},
		affected:  map[endpointKey]time.Time{},
	}
}

// learn takes in what is known of a node: nil if it has no endpoints.
func (p *placement) learn(name string, node *mirror.Node, cause time.Time) {
	var ports portSet
	lacking := false
	if node != nil {
		ports = p.shape.resolve(node)
		lacking = len(ports.ports) == 0 && len(p.shape.ports) > 0
	}
	delete(p.portless, name)
	if lacking {
		p.portless[name] = struct{}{}
	}
	for _, family := range p.shape.families {
		key := endpointKey{node: name, family: family}
		var e *entry
		if node != nil && !lacking {
			if addr, found := addressOf(node, family); found {
				e = &entry{key: key, addr: addr, ports: ports, node: node}
			}
		}
		p.set(key, e, cause)
	}
}

// keep holds on to an endpoint whose node is not known.
func (p *placement) keep(key endpointKey, ports portSet, endpoint *discoveryv1.Endpoint) {
	if len(endpoint.Addresses) == 0 {
		return
	}
	addr, err := netip.ParseAddr(endpoint.Addresses[0])
	if err != nil {
		return
	}
	p.set(key, &entry{key: key, addr: addr, ports: ports, kept: endpoint.DeepCopy()}, time.Time{})
}

// keeps says whether endpoints of the node are held on to as they were found.
func (p *placement) keeps(name string) bool {
	return slices.ContainsFunc(p.shape.families, func(family discoveryv1.AddressType) bool {
		e := p.entries[endpointKey{node: name, family: family}]
		return e != nil && e.kept != nil
	})
}

// keepPlaced holds on to the endpoints of a node that has become unknown.
func (p *placement) keepPlaced(name string) {
	delete(p.portless, name)
	for _, family := range p.shape.families {
		key := endpointKey{node: name, family: family}
		s := p.placed[key]
		if s == nil {
			p.set(key, nil, time.Time{})
			continue
		}
		endpoints := s.base().Endpoints
		if i := p.find(endpoints, key); i >= 0 {
			p.keep(key, s.group.ports, &endpoints[i])
		}
	}
}

func (p *placement) set(key endpointKey, e *entry, cause time.Time) {
	old := p.entries[key]
	if old == nil && e == nil && p.placed[key] == nil {
		return
	}
	if old != nil {
		p.leave(old, cause)
	}
	if e != nil {
		p.enter(e, cause)
	}
	p.affect(key, cause)
}

// enter makes the entry's claims.
func (p *placement) enter(e *entry, cause time.Time) {
	p.entries[e.key] = e
	for c := range e.claims() {
		holders := p.holders[c]
		at, found := slices.BinarySearchFunc(holders, e, (*entry).rank)
		if found {
			continue // Two ports of the Service are one of the node.
		}
		switch {
		case at > 0:
			p.loses(c, e)
		case len(holders) > 0:
			p.loses(c, holders[0])
			p.affect(holders[0].key, cause)
		}
		p.holders[c] = slices.Insert(holders, at, e)
	}
}

// leave takes the entry's claims back.
func (p *placement) leave(e *entry, cause time.Time) {
	delete(p.entries, e.key)
	for c := range e.claims() {
		holders := p.holders[c]
		at, found := slices.BinarySearchFunc(holders, e, (*entry).rank)
		switch {
		case !found:
		case len(holders) == 1:
			delete(p.holders, c)
		default:
			delete(p.conflicts, conflict{c, e.key})
			p.holders[c] = slices.Delete(holders, at, at+1)
			if next := p.holders[c][0]; at == 0 {
				delete(p.conflicts, conflict{c, next.key})
				p.affect(next.key, cause)
			}
		}
	}
}

// loses notes that another entry has what this one claims.
func (p *placement) loses(c claim, e *entry) {
	if e.node != nil && e.ready() && !e.node.Silent {
		p.conflicts[conflict{c, e.key}] = struct{}{}
	}
}

func (p *placement) affect(key endpointKey, cause time.Time) {
	p.affected[key] = earliest(p.affected[key], cause)
}

// earliest returns the earlier of two times; the zero time stands for none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// held returns the ports of the entry that no other entry has a better claim to, and whether there is anything to show.
func (p *placement) held(e *entry) (portSet, bool) {
	if len(e.ports.ports) == 0 {
		return e.ports, p.holders[claim{addr: e.addr}][0] == e
	}
	ports := make([]discoveryv1.EndpointPort, 0, len(e.ports.ports))
	for i := range e.ports.ports {
		if p.holders[e.claim(&e.ports.ports[i])][0] == e {
			ports = append(ports, e.ports.ports[i])
		}
	}
	if len(ports) == len(e.ports.ports) {
		return e.ports, true
	}
	return newPortSet(ports), len(ports) > 0
}

// want is an endpoint as it should be, and the group that it should be in.
type want struct {
	group    *group
	endpoint discoveryv1.Endpoint
}

// want returns what is to be shown of an endpoint; nothing if there is none.
func (p *placement) want(key endpointKey) (want, bool) {
	e := p.entries[key]
	if e == nil {
		return want{}, false
	}
	ports, some := p.held(e)
	switch {
	case !some:
		return want{}, false
	case e.node == nil:
		return want{group: p.groupOf(key.family, e.ports), endpoint: *e.kept}, true
	default:
		return want{group: p.groupOf(key.family, ports), endpoint: p.shape.endpoint(e.node, e.addr)}, true
	}
}

// find returns the index of the endpoint in a slice's endpoints, -1 if it is not there.
func (p *placement) find(endpoints []discoveryv1.Endpoint, key endpointKey) int {
	for i := range endpoints {
		if name, ours := p.shape.nodeOf(&endpoints[i]); ours && name == key.node {
			return i
		}
	}
	return -1
}

func (p *placement) groupOf(family discoveryv1.AddressType, ports portSet) *group {
	key := groupKey{family: family, ports: ports.key}
	g := p.groups[key]
	if g == nil {
		g = &group{key: key, ports: ports, bySize: map[int][]*slice{}}
		p.groups[key] = g
	}
	return g
}

// join puts a slice that is in no group into one.
func (g *group) join(s *slice, size int) {
	s.group, s.size, s.at = g, size, len(g.bySize[size])
	g.bySize[size] = append(g.bySize[size], s)
}

// part takes a slice out of its group.
func (g *group) part(s *slice) {
	peers := g.bySize[s.size]
	last := len(peers) - 1
	peers[s.at] = peers[last]
	peers[s.at].at = s.at
	peers[last] = nil
	if g.bySize[s.size] = peers[:last]; last == 0 {
		delete(g.bySize, s.size)
	}
}

// resize notes that the slice has so many endpoints now.
func (s *slice) resize(size int) {
	if size != s.size {
		s.group.part(s)
		s.group.join(s, size)
	}
}
