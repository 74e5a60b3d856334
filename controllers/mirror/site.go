package mirror

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/rollcall-dev/rollcall/controllers/record"
)

// site is where a node is reached: a published address and a port of it.
type site struct {
	addr     netip.Addr
	port     int32
	protocol corev1.Protocol
}

// sites know the entries that are reached at each site, in the order in which they registered there.
type sites map[site][]*entry

// maxSuccessors bounds how many of the entries at one site are looked at for a successor, so that a fleet behind one proxy is no
// burden.
const maxSuccessors = 8

// sites calls yield with each site of the reach until it returns false.
func (r reach) sites(yield func(site) bool) {
	for addr := range record.Published(r.addresses) {
		for _, port := range r.ports {
			if !yield(site{addr, port.Port, port.Protocol}) {
				return
			}
		}
	}
}

func (s sites) enter(e *entry) {
	for at := range e.indexed.sites {
		s[at] = append(s[at], e)
	}
}

func (s sites) leave(e *entry) {
	for at := range e.indexed.sites {
		if s[at] = slices.DeleteFunc(s[at], func(o *entry) bool { return o == e }); len(s[at]) == 0 {
			delete(s, at)
		}
	}
}

// newest returns the last of the entries that are reached there.
func (s sites) newest(at site) []*entry { return s[at][max(0, len(s[at])-maxSuccessors):] }

// shadow returns what the others at its sites make of an entry that is silent: it is superseded if at each another node answers
// that registered there after it was last heard.
func (s sites) shadow(e *entry) (is shadow) {
	replaces := func(o *entry) bool { return o != e && o.answers() && o.placed.after(e.lastHeard()) }
	replaced := true
	for at := range e.indexed.sites {
		if len(s[at]) > 1 {
			is = hushed
		}
		replaced = replaced && slices.ContainsFunc(s.newest(at), replaces)
	}
	if is == hushed && replaced {
		return superseded
	}
	return is
}
