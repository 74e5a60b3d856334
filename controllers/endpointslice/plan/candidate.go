package plan

import (
	"cmp"
	"net/netip"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// candidate is what a node could have an endpoint for in one family, whether or not it is shown. There is one for each endpoint
// of each Service, so what can be found out from the node or the slice is not in here.
type candidate struct {
	// node is the candidate's node; nil if it is not known.
	node *mirror.Node
	// kept is the endpoint as it was found, where its node is not known and it may not be removed yet, or nothing has been heard of
	// it. With neither a node nor this the candidate goes at the end of the step.
	kept *kept
	// ports are those that the candidate has, shown those of them that no other candidate has a better claim to: nil if there is
	// nothing to show.
	ports, shown *group
	// slice is where the endpoint is; nil if it is nowhere.
	slice *slice
	// desired is what the step makes of the candidate; nil unless it may have to be shown differently.
	desired *desired
}

// kept is an endpoint that stays as it was found.
type kept struct {
	endpoint *discoveryv1.Endpoint
	// name is what its candidate is found by: the name of its node, or, if nobody knows whose it is, one that no node has.
	name     string
	nameless bool
}

func (c *candidate) name() string {
	switch {
	case c.node != nil:
		return c.node.Name
	case c.kept != nil:
		return c.kept.name
	}
	return c.desired.name
}

// address returns where the candidate is reached; false if it is about to go.
func (c *candidate) address(family discoveryv1.AddressType) (netip.Addr, bool) {
	switch {
	case c.kept != nil:
		return addressIn(c.kept.endpoint)
	case c.node != nil:
		return addressOf(c.node, family)
	}
	return netip.Addr{}, false
}

// addressIn returns the address of an endpoint that was found; false if it has none.
func addressIn(endpoint *discoveryv1.Endpoint) (netip.Addr, bool) {
	if len(endpoint.Addresses) == 0 {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(endpoint.Addresses[0])
	return addr, err == nil && addr.Zone() == ""
}

// standing is the first part of a candidate's rank: of those that make the same claim the least is the winner.
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

// ready returns true if the candidate takes traffic.
func (c *candidate) ready() bool {
	if c.kept != nil {
		return lookOf(c.kept.endpoint).by(c.node).ready
	}
	return c.node != nil && c.node.Traffic() == mirror.TrafficReady
}

func (c *candidate) standing() standing {
	switch {
	case c.node == nil:
		return unknown
	case c.node.Cordoned:
		return cordoned
	case c.node.Silent, c.node.Refusal.Reason != "", c.node.Traffic() == mirror.TrafficNotReady:
		return doubtful
	case c.node.Traffic() == mirror.TrafficTerminating:
		return draining
	}
	return serving
}

// rank orders the candidates that make the same claim: the first is the winner. One that was heard of is before one that is kept. Of
// two doubtful ones that which takes traffic is before that which takes none; then the older node comes first.
func (c *candidate) rank(o *candidate) int {
	byName := strings.Compare(c.name(), o.name())
	if order := cmp.Or(cmp.Compare(c.doubts(), o.doubts()), cmp.Compare(c.standing(), o.standing())); order != 0 || c.node == nil {
		return cmp.Or(order, byName)
	}
	return cmp.Or(cmp.Compare(o.node.Traffic(), c.node.Traffic()), c.node.FirstSeen.Compare(o.node.FirstSeen), byName)
}

// doubts returns 1 for a candidate that is kept.
func (c *candidate) doubts() int {
	if c.kept != nil {
		return 1
	}
	return 0
}
