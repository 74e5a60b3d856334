package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// family is the part of a Placement that has one address family. What one has no other one needs.
type family struct {
	view *View
	kind discoveryv1.AddressType
	// candidates are by the name of their node, or of what is kept.
	candidates map[string]*candidate
	// first has one candidate of each address. Of a family its bytes say all; a netip.Addr takes half as much again.
	first map[[16]byte]*candidate
	// conflicts are the addresses that several candidates give, and disputed those of which the winners have to be found out, with
	// the time of the change that led to that.
	conflicts map[netip.Addr]*conflict
	disputed  map[netip.Addr]time.Time
	groups    map[string]*group
	lost      losses
	// desired are the candidates that may have to be shown differently.
	desired []*desired
	// adopted are the slices that were found, and that no step has looked at.
	adopted []*slice
	// before is the family as it was before this one was built, nil if there was none, and found what is in adopted slices by address.
	// Both are there while the Placement is built.
	before *family
	found  map[[16]byte][]place
}

// place is an endpoint in a slice that was adopted.
type place struct {
	slice    *slice
	endpoint *discoveryv1.Endpoint
}

// conflict is an address that several candidates give.
type conflict struct {
	// candidates are by rank, but while the address is disputed.
	candidates []*candidate
}

func newFamily(v *View, kind discoveryv1.AddressType, before *family) *family {
	return &family{
		view: v, kind: kind, before: before, found: map[[16]byte][]place{},
		candidates: map[string]*candidate{}, first: map[[16]byte]*candidate{},
		conflicts: map[netip.Addr]*conflict{}, disputed: map[netip.Addr]time.Time{}, groups: map[string]*group{},
	}
}

// fact is what is known of a node: nil if it has no endpoints, and then, whether one that is there must stay because the node may
// be there all the same. A node that nothing has been heard of gets an endpoint where it has none only if it adds. ports are those of
// the Service that the node has. It gets no endpoint for now if it is deferred.
type fact struct {
	name                 string
	node                 *mirror.Node
	ports                []discoveryv1.EndpointPort
	keep, adds, deferred bool
	cause                time.Time
}

// learn brings the node's candidate up to date.
func (f *family) learn(n fact) {
	c := f.candidates[n.name]
	node, k := f.shows(c, &n)
	switch {
	case c == nil && node == nil && k == nil:
		return
	case c == nil:
		c = &candidate{}
		f.candidates[n.name] = c
	}
	f.mark(c, n.name, n.cause)
	f.leave(c, n.cause)
	c.node, c.kept = node, k
	f.enter(c, n.ports, n.cause)
}

// shows returns what a node that is known, or was, has an endpoint by: what is known of it, or what was found.
func (f *family) shows(c *candidate, n *fact) (*mirror.Node, *kept) {
	switch {
	case n.node == nil && n.keep:
		return nil, f.left(c, n)
	case n.node == nil:
		return nil, nil
	case n.node.Remembered:
		if k := f.remembered(c, n); k != nil {
			return n.node, k
		}
		if !n.adds && !f.trusted(c, n.name) {
			return nil, nil
		}
	}
	if _, found := addressOf(n.node, f.kind); !found || len(n.ports) == 0 && len(f.view.ports) > 0 {
		return nil, nil
	}
	return n.node, nil
}

// trusted returns true if the node is shown, or was before, on no other evidence than that it is remembered. c is its candidate.
func (f *family) trusted(c *candidate, name string) bool {
	if c != nil && c.node != nil {
		return true
	}
	if f.before == nil {
		return false
	}
	c = f.before.candidates[name]
	return c != nil && c.node != nil && c.kept == nil
}

// remembered returns the endpoint of a node that nothing has been heard of, as it was found at the node's address; nil if it has none.
// Slices are written before the DiscoveredNode, so the endpoint knows better.
func (f *family) remembered(c *candidate, n *fact) *kept {
	if f.before != nil {
		c = f.before.candidates[n.name]
	}
	if c != nil && c.kept != nil {
		return f.keptAs(c.kept.endpoint, c.ports, n)
	}
	addr, found := addressOf(n.node, f.kind)
	if !found {
		return nil
	}
	key := portsKey(n.ports)
	if places := f.found[addr.As16()]; len(places) > 0 {
		at := max(0, slices.IndexFunc(places, func(p place) bool { return p.slice.group.key == key }))
		return f.keptAs(places[at].endpoint, places[at].slice.group, n)
	}
	other := f.among(addr, func(c *candidate) bool { return c.kept != nil && c.ports.key == key })
	if other == nil {
		other = f.among(addr, func(c *candidate) bool { return c.kept != nil })
	}
	if other == nil {
		return nil
	}
	return f.keptAs(other.kept.endpoint, other.ports, n)
}

// keptAs returns an endpoint that was found as that of a node, and gives the node the ports that the endpoint has: they may have been
// written later than what is known of the node. Ports that the Service does not offer are no sign of that, since it is the Service
// that has changed.
func (f *family) keptAs(endpoint *discoveryv1.Endpoint, g *group, n *fact) *kept {
	if f.offers(g) {
		n.ports = g.ports
	}
	if len(n.ports) == 0 && len(f.view.ports) > 0 {
		return nil
	}
	return &kept{endpoint: endpoint, name: n.name}
}

// left returns the endpoint of a node that is not known any more, which stays as it is; nil if it has none.
func (f *family) left(c *candidate, n *fact) *kept {
	from := f
	if f.before != nil {
		from, c = f.before, f.before.candidates[n.name]
	}
	if c == nil || c.shown == nil {
		return nil
	}
	n.ports = f.restated(c.shown)
	if c.kept != nil {
		return &kept{endpoint: c.kept.endpoint, name: n.name}
	}
	addr, _ := c.address(f.kind)
	return &kept{endpoint: new(from.view.endpoint(c.node, addr)), name: n.name}
}

// offers returns true if the Service, as it is now, can have the ports of a group, which may be that of another family.
func (f *family) offers(g *group) bool {
	if own := f.groups[g.key]; own != nil {
		return own.offered
	}
	return f.view.offers(g.ports)
}

// restated returns the ports of an endpoint that stays and that was found with those of the group.
func (f *family) restated(found *group) []discoveryv1.EndpointPort {
	if !f.offers(found) {
		if ports := f.view.restate(found.ports); len(ports) > 0 {
			return ports
		}
	}
	return found.ports
}

// keepFound has the endpoints stay that nobody knows the nodes of: those that were found, and later those that stayed before.
func (f *family) keepFound() {
	for _, places := range f.found {
		for _, p := range places {
			name := p.endpoint.Addresses[0] + " " + p.slice.name
			f.keep(&kept{endpoint: p.endpoint, name: name, nameless: true}, f.restated(p.slice.group))
		}
	}
	if f.before == nil {
		return
	}
	for _, c := range f.before.candidates {
		if c.kept != nil && c.kept.nameless && c.shown != nil {
			f.keep(c.kept, f.restated(c.shown))
		}
	}
}

// keep has an endpoint stay, unless it is that of a candidate.
func (f *family) keep(k *kept, ports []discoveryv1.EndpointPort) {
	addr, found := addressIn(k.endpoint)
	key := portsKey(ports)
	if !found || f.candidates[k.name] != nil || f.among(addr, func(c *candidate) bool { return c.ports.key == key }) != nil {
		return
	}
	c := &candidate{kept: k}
	f.candidates[k.name] = c
	f.mark(c, k.name, time.Time{})
	f.enter(c, ports, time.Time{})
}

// among returns the first candidate at the address that is as it is asked for; nil if there is none.
func (f *family) among(addr netip.Addr, is func(*candidate) bool) *candidate {
	if len(f.conflicts) > 0 {
		if all := f.conflicts[addr]; all != nil {
			if at := slices.IndexFunc(all.candidates, is); at >= 0 {
				return all.candidates[at]
			}
			return nil
		}
	}
	if c := f.first[addr.As16()]; c != nil && is(c) {
		return c
	}
	return nil
}

// mark notes that a candidate may have to be shown differently.
func (f *family) mark(c *candidate, name string, cause time.Time) {
	if c.desired == nil {
		c.desired = &desired{candidate: c, name: name}
		c.desired.was, _ = c.address(f.kind)
		f.desired = append(f.desired, c.desired)
	}
	c.desired.cause = earliest(c.desired.cause, cause)
}

// earliest returns the earlier of two times; the zero time stands for none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// enter gives a candidate its ports, and makes its claims.
func (f *family) enter(c *candidate, ports []discoveryv1.EndpointPort, cause time.Time) {
	addr, found := c.address(f.kind)
	if !found {
		f.point(&c.ports, nil)
		f.point(&c.shown, nil)
		return
	}
	f.point(&c.ports, f.group(ports))
	switch other := f.first[addr.As16()]; {
	case other == nil:
		f.first[addr.As16()] = c
		f.point(&c.shown, c.ports)
		return
	case f.conflicts[addr] == nil:
		f.conflicts[addr] = &conflict{candidates: []*candidate{other}}
	}
	f.conflicts[addr].candidates = append(f.conflicts[addr].candidates, c)
	f.disputed[addr] = earliest(f.disputed[addr], cause)
}

// leave takes the candidate's claims back.
func (f *family) leave(c *candidate, cause time.Time) {
	addr, found := c.address(f.kind)
	if !found {
		return
	}
	among := f.conflicts[addr]
	if among == nil {
		delete(f.first, addr.As16())
		return
	}
	at := slices.Index(among.candidates, c)
	among.candidates = slices.Delete(among.candidates, at, at+1)
	f.disputed[addr] = earliest(f.disputed[addr], cause)
	if len(among.candidates) > 0 {
		f.first[addr.As16()] = among.candidates[0]
	} else {
		delete(f.first, addr.As16())
		delete(f.conflicts, addr)
	}
}

// resolve finds out who wins the addresses that are disputed.
func (f *family) resolve() {
	for addr, cause := range f.disputed {
		among := f.conflicts[addr]
		if among == nil {
			f.lost.set(addr, nil)
			continue
		}
		f.lost.set(addr, f.award(addr, among, cause))
		if len(among.candidates) == 1 {
			delete(f.conflicts, addr)
		}
	}
	// A map never shrinks, and to go over one costs as much as it once held.
	f.disputed = map[netip.Addr]time.Time{}
}

// award gives each claim to the first by rank that makes it, and returns what there is to say of the others.
func (f *family) award(addr netip.Addr, among *conflict, cause time.Time) (lost []Conflict) {
	slices.SortFunc(among.candidates, (*candidate).rank)
	winners := map[claim]*candidate{}
	for _, c := range among.candidates {
		for _, port := range c.ports.claims {
			winner := winners[port]
			if winner == nil {
				winners[port] = c
			} else if c.kept == nil && c.ready() && !c.node.Silent {
				// That one which is silent, drains or is cordoned gives way is as it should be.
				lost = append(lost, Conflict{port.at(addr), winner.name(), c.name()})
			}
		}
		if shown := f.won(c, winners); shown != c.shown {
			f.point(&c.shown, shown)
			f.mark(c, c.name(), cause)
		}
	}
	return lost
}

// won returns the group of the ports of which the candidate is the winner; nil if there is none. An endpoint that is kept is kept
// whole.
func (f *family) won(c *candidate, winners map[claim]*candidate) *group {
	var ports []discoveryv1.EndpointPort
	for i := range c.ports.ports {
		if winners[claimOf(&c.ports.ports[i])] == c {
			ports = append(ports, c.ports.ports[i])
		}
	}
	switch {
	case len(ports) == len(c.ports.ports) && winners[c.ports.claims[0]] == c, len(ports) > 0 && c.kept != nil:
		return c.ports
	case len(ports) == 0:
		return nil
	}
	return f.group(ports)
}

// winner returns who has a claim at an address; nil if nobody has.
func (f *family) winner(addr netip.Addr, port claim) *candidate {
	return f.among(addr, func(c *candidate) bool { return slices.Contains(c.ports.claims, port) })
}

// at returns the claim at the address, for example "10.0.0.5:9100/TCP".
func (c claim) at(addr netip.Addr) string {
	if c.port == 0 {
		return addr.String()
	}
	return fmt.Sprintf("%s/%s", netip.AddrPortFrom(addr, uint16(c.port)), c.protocol)
}

// group returns the group of the ports.
func (f *family) group(ports []discoveryv1.EndpointPort) *group {
	key := portsKey(ports)
	g := f.groups[key]
	if g == nil {
		g = newGroup(key, ports, f.view)
		f.groups[key] = g
	}
	return g
}

// point makes a candidate's pointer point to another group.
func (f *family) point(at **group, g *group) {
	old := *at
	*at = g
	if g != nil {
		g.users++
	}
	if old != nil {
		old.users--
		f.drop(old)
	}
}

// drop forgets a group that is not used any more.
func (f *family) drop(g *group) {
	if g.users == 0 && len(g.slices) == 0 {
		delete(f.groups, g.key)
	}
}
