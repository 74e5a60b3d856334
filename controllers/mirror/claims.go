package mirror

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

const reasonAddressConflict = "AddressConflict"

// claim is what no two nodes of a registry can both have.
type claim struct {
	addr     netip.Addr
	port     int32
	protocol corev1.Protocol
}

// claims knows for each claim the entries that make it; the first of them, the oldest, keeps it. To add an entry takes
// time that does not depend on how many make the same claim, so that a fleet behind one address is no burden.
type claims map[claim][]*entry

// each calls yield for every claim of the entry; there are none if it takes no traffic for a reason of its own.
func (claims) each(e *entry, yield func(claim)) {
	if !e.expired.IsZero() || e.facts.verdict.reason != "" || e.double {
		return
	}
	for _, addr := range e.facts.addresses {
		for _, port := range e.facts.ports {
			yield(claim{addr: addr, port: port.Port, protocol: port.Protocol})
		}
	}
}

// enter makes the entry's claims and returns the other entries whose rival that changes.
func (c claims) enter(e *entry) (touched []*entry) {
	c.each(e, func(claim claim) {
		c[claim] = append(c[claim], e)
		holders := c[claim]
		if last := len(holders) - 1; last > 0 && e.older(holders[0]) {
			holders[0], holders[last] = holders[last], holders[0]
			touched = append(touched, holders[1:]...)
		}
	})
	c.judge(e)
	return c.judge(touched...)
}

// leave takes the entry's claims back and returns the other entries whose rival that changes.
func (c claims) leave(e *entry) (touched []*entry) {
	c.each(e, func(claim claim) {
		holders := c[claim]
		at := slices.Index(holders, e)
		if at < 0 {
			return
		}
		last := len(holders) - 1
		holders[at] = holders[last]
		holders[last] = nil
		holders = holders[:last]
		if last == 0 {
			delete(c, claim)
			return
		}
		c[claim] = holders
		if at == 0 {
			oldestFirst(holders)
			touched = append(touched, holders...)
		}
	})
	e.rival = ""
	return c.judge(touched...)
}

// judge finds the rivals of the entries anew, and returns the entries.
func (c claims) judge(entries ...*entry) []*entry {
	for _, e := range entries {
		e.rival = ""
		c.each(e, func(claim claim) {
			if holders := c[claim]; len(holders) > 0 && holders[0] != e && e.rival == "" {
				e.rival = holders[0].name
			}
		})
		e.junior = e.junior && e.rival != ""
	}
	return entries
}

func oldestFirst(holders []*entry) {
	for i := range holders {
		if holders[i].older(holders[0]) {
			holders[0], holders[i] = holders[i], holders[0]
		}
	}
}
