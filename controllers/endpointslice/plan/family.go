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
	// candidates are by the name of their node.
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
}

// conflict is an address that several candidates give.
type conflict struct {
	// candidates are by rank, but while the address is disputed.
	candidates []*candidate
}

func newFamily(v *View, kind discoveryv1.AddressType) *family {
	return &family{
		view: v, kind: kind,
		candidates: map[string]*candidate{}, first: map[[16]byte]*candidate{},
		conflicts: map[netip.Addr]*conflict{}, disputed: map[netip.Addr]time.Time{}, groups: map[string]*group{},
	}
}

// fact is what is known of a node: nil if it has no endpoints, and then, whether one that is there must stay because the node may
// be there all the same. ports are those of the Service that the node has. It gets no endpoint for now if it is deferred.
type fact struct {
	name           string
	node           *mirror.Node
	ports          []discoveryv1.EndpointPort
	keep, deferred bool
	cause          time.Time
}

// learn brings the node's candidate up to date.
func (f *family) learn(n fact, current Slices) {
	c := f.candidates[n.name]
	var next candidate
	if n.node != nil && (len(n.ports) > 0 || len(f.view.ports) == 0) {
		if _, found := addressOf(n.node, f.kind); found {
			next.node = n.node
		}
	}
	if found := f.placed(c, &n, current); found != nil {
		next.node, next.kept = nil, found
	}
	switch {
	case c == nil && next == candidate{}:
		return
	case c == nil:
		c = &candidate{}
		f.candidates[n.name] = c
	}
	f.mark(c, n.name, n.cause)
	f.leave(c, n.cause)
	c.node, c.kept = next.node, next.kept
	f.enter(c, n.ports, n.cause)
}

// placed returns the endpoint as it is in its slice if it stays as it is, with the ports that it has there; nil if it does not.
func (f *family) placed(c *candidate, n *fact, current Slices) *discoveryv1.Endpoint {
	if c == nil || c.slice == nil || !n.keep && (n.node == nil || !n.node.Remembered) {
		return nil
	}
	endpoints := current.Current(c.slice.name).Endpoints
	for i := range endpoints {
		if name, ours := f.view.nodeOf(&endpoints[i]); ours && name == n.name {
			if addr, found := addressIn(&endpoints[i]); found && f.keeps(n, addr, c.slice.group) {
				return &endpoints[i]
			}
		}
	}
	return nil
}

// keeps returns true if an endpoint that was found at the address, with the ports of g, stays as it is: where a node is only
// remembered and was elsewhere, the endpoint was written later; and what is remembered may lack what the node has got since.
// Ports that the Service does not offer are no sign of that, since it is the Service that has changed.
func (f *family) keeps(n *fact, at netip.Addr, g *group) bool {
	addr, found := netip.Addr{}, false
	if n.node != nil {
		addr, found = addressOf(n.node, f.kind)
	}
	switch {
	case n.node == nil:
		n.ports = g.ports
		return true
	case !found || len(n.ports) == 0 && len(f.view.ports) > 0:
		n.ports = g.ports
		return g.offered
	case g.offered && g.key != portsKey(n.ports):
		n.ports = g.ports
		return true
	}
	return addr != at
}

// mark notes that a candidate may have to be shown differently.
func (f *family) mark(c *candidate, name string, cause time.Time) {
	if c.desired == nil {
		c.desired = &desired{candidate: c, name: name}
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
			} else if c.node != nil && c.ready() && !c.node.Silent {
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

// winner returns who has a claim at an address of c.
func (f *family) winner(c *candidate, addr netip.Addr, port claim) *candidate {
	if among := f.conflicts[addr]; among != nil {
		for _, other := range among.candidates {
			if slices.Contains(other.ports.claims, port) {
				return other
			}
		}
	}
	return c
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
