package record

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
)

// Policy says how the entries of a bucket are read: the part of a NodeRegistry that makes facts out of bytes.
type Policy struct {
	// KeyPrefix is what a key has in front of its node ID.
	KeyPrefix string
	// Reader reads the entries; nil: they are Rollcall's own records. Another value means another Reader.
	Reader Reader
	// Labels maps label keys of the DiscoveredNode to metadata keys of the record.
	Labels map[string]string
	// Cluster is the name of this cluster. IncludeLocal mirrors the entries that it owns, too.
	Cluster      string
	IncludeLocal bool
	// Allowed and Denied are the address policy; no Allowed means all.
	Allowed, Denied []netip.Prefix
	// Refused are addresses that are refused besides those that always are: the API server's own.
	Refused []netip.Addr
	// DeniedToAll are what no registry may allow: --denied-cidr of the manager.
	DeniedToAll []netip.Prefix
}

// own is the Mapping of Rollcall's own records.
var own Mapping

func (p *Policy) reader() Reader {
	if p.Reader == nil {
		return &own
	}
	return p.Reader
}

// Plain returns true if records are Rollcall's own, and no expression replaces anything of them: one that repeats another need not
// be decoded to find that out, and what reading one takes is a matter of its length.
func (p *Policy) Plain() bool {
	m, is := p.reader().(*Mapping)
	return is && m.plain()
}

// Mirrors returns true if an entry of that key and origin is mirrored at all.
func (p *Policy) Mirrors(key, origin string) bool {
	return strings.HasPrefix(key, p.KeyPrefix) && (p.IncludeLocal || origin != p.Cluster)
}

// ReadsLike returns true if two policies make the same of a message, before they judge it.
func (p *Policy) ReadsLike(o *Policy) bool { return p.KeyPrefix == o.KeyPrefix && p.Reader == o.Reader }

// Equal returns true if two policies are the same. Readers are compared by identity.
func (p Policy) Equal(o Policy) bool {
	if p.Reader != o.Reader {
		return false
	}
	p.Reader, o.Reader = nil, nil
	return reflect.DeepEqual(p, o)
}

// Refusal says why an address takes no traffic; empty if it may. An IPv6 address that stands for an IPv4 address is
// refused as that one is.
func (p *Policy) Refusal(addr netip.Addr) string {
	if why := p.denial(addr); why != "" {
		return why
	}
	if inner := embedded(addr); inner.IsValid() {
		if why := p.denial(inner); why != "" {
			return "stands for " + inner.String() + ", which " + why
		}
	}
	if _, allowed := within(p.Allowed, addr); len(p.Allowed) > 0 && !allowed {
		return "is outside of allowedCIDRs"
	}
	return ""
}

// denial says why an address is refused, whatever is allowed.
//
// Loopback, link-local, multicast and unspecified addresses are those that Kubernetes itself refuses in an EndpointSlice
// (ValidateEndpointIP of k8s.io/kubernetes/pkg/apis/core/validation), since they would reach the node that forwards.
func (p *Policy) denial(addr netip.Addr) string {
	switch {
	case addr.IsUnspecified():
		return "is the unspecified address"
	case addr.IsLoopback():
		return "is a loopback address"
	case addr.IsLinkLocalUnicast(), addr.IsLinkLocalMulticast():
		return "is a link-local address"
	case addr.IsMulticast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "is a multicast or broadcast address"
	case slices.Contains(p.Refused, addr):
		return "is the API server's address"
	}
	if denied, found := within(p.DeniedToAll, addr); found {
		return "is within " + denied.String() + ", which Rollcall is set to deny"
	}
	if denied, found := within(p.Denied, addr); found {
		return "is within deniedCIDRs " + denied.String()
	}
	return ""
}

// within returns the first prefix that contains the address.
func within(prefixes []netip.Prefix, addr netip.Addr) (netip.Prefix, bool) {
	for _, prefix := range prefixes {
		if prefix.Contains(addr) {
			return prefix, true
		}
	}
	return netip.Prefix{}, false
}

// transitions are the ranges of IPv6 addresses that stand for IPv4 addresses, and where in them the four bytes are.
// IPv4-mapped addresses are not among them: they are unmapped where a record is read.
var transitions = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("::/96"), 12},           // IPv4-compatible, RFC 4291
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12}, // IPv4-translated, RFC 2765
	{netip.MustParsePrefix("64:ff9b::/96"), 12},    // NAT64, RFC 6052
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12},  // NAT64 for local use, RFC 8215
	{netip.MustParsePrefix("2002::/16"), 2},        // 6to4, RFC 3056
}

// embedded returns the IPv4 address that an IPv6 address stands for; the zero Addr if it stands for none.
func embedded(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return netip.Addr{}
	}
	for _, t := range transitions {
		if t.prefix.Contains(addr) {
			bytes := addr.As16()
			return netip.AddrFrom4([4]byte(bytes[t.at : t.at+4]))
		}
	}
	return netip.Addr{}
}
