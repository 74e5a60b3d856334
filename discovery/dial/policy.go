package dial

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Policy decides which servers may be dialled. The zero value allows every server, as a nil one does.
//
// A policy has two gates. A host name is matched against the names of the policy; the addresses that it resolves to are
// matched against the addresses of the policy, and are checked against those that are refused. Nothing but the addresses
// that were checked is dialled, so a name that resolves to another address the next time gains nothing.
type Policy struct {
	// names and prefixes are what is allowed. If there is neither, whatever is not refused is allowed.
	names    []string // in lower case, without a dot at the end; "*.example.com" for all names below example.com
	prefixes []netip.Prefix
	refused  []netip.Prefix
}

// ParsePolicy returns the policy that allows the given host names ("nats.example.com"), all names below one
// ("*.example.com"), addresses ("192.0.2.1") and CIDR ranges ("192.0.2.0/24").
//
// Without any, every server is allowed whose address is not refused. Refused are loopback, link-local, multicast,
// unspecified and reserved addresses, the metadata services of the clouds, and the addresses in refused. A name never
// lifts these refusals; an address or a range does.
func ParsePolicy(allowed []string, refused []netip.Addr) (*Policy, error) {
	p := &Policy{refused: slices.Clone(alwaysRefused)}
	for _, a := range refused {
		a = a.Unmap().WithZone("")
		p.refused = append(p.refused, netip.PrefixFrom(a, a.BitLen()))
	}
	for _, entry := range allowed {
		if err := p.allow(strings.TrimSpace(entry)); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *Policy) allow(entry string) error {
	if a, err := netip.ParseAddr(strings.Trim(entry, "[]")); err == nil && a.Zone() == "" {
		a = a.Unmap()
		p.prefixes = append(p.prefixes, netip.PrefixFrom(a, a.BitLen()))
		return nil
	}
	if r, err := netip.ParsePrefix(entry); err == nil {
		if r.Addr().Is4In6() {
			return fmt.Errorf("the range %q mixes IPv4 and IPv6: write it as an IPv4 range", entry)
		}
		p.prefixes = append(p.prefixes, r.Masked())
		return nil
	}
	name := normalizeHost(entry)
	if !validName(strings.TrimPrefix(name, "*.")) {
		return fmt.Errorf("%q is no host name, no address and no CIDR range: write nats.example.com, *.example.com, 192.0.2.1 or 192.0.2.0/24", entry)
	}
	p.names = append(p.names, name)
	return nil
}

// open reports whether every address is allowed that is not refused.
func (p *Policy) open() bool { return len(p.names) == 0 && len(p.prefixes) == 0 }

// allowsName reports whether the host may be dialled by its name, at addresses that are not refused.
func (p *Policy) allowsName(host string) bool {
	if p == nil || p.open() {
		return true
	}
	return slices.ContainsFunc(p.names, func(name string) bool {
		below, wildcard := strings.CutPrefix(name, "*")
		return name == host || wildcard && len(host) > len(below) && strings.HasSuffix(host, below)
	})
}

// allowsAddress reports whether the address may be dialled; named says that the policy allows the name it comes from.
func (p *Policy) allowsAddress(a netip.Addr, named bool) bool {
	if p == nil {
		return true
	}
	a = a.Unmap().WithZone("")
	if contains(p.prefixes, a) {
		return true
	}
	return named && !slices.ContainsFunc(spellings(a), func(s netip.Addr) bool { return contains(p.refused, s) })
}

// resolves reports whether the policy has something to say about the addresses of a host that it does not allow by name.
func (p *Policy) resolves() bool { return p != nil && len(p.prefixes) > 0 }

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// alwaysRefused are the addresses that only an address or a range of a policy allows.
var alwaysRefused = prefixes(
	"0.0.0.0/8", "::/128", // this host
	"127.0.0.0/8", "::1/128", // loopback
	"169.254.0.0/16", "fe80::/10", // link-local, where most metadata services are
	"224.0.0.0/4", "ff00::/8", // multicast
	"240.0.0.0/4",        // reserved, and broadcast
	"fd00:ec2::/64",      // AWS
	"fd20:ce::/64",       // Google Cloud
	"100.100.100.200/32", // Alibaba Cloud
	"168.63.129.16/32",   // Azure
	"192.0.0.192/32",     // Oracle Cloud
)

func prefixes(texts ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, t := range texts {
		p = append(p, netip.MustParsePrefix(t))
	}
	return p
}

// spellings returns the address and the IPv4 addresses that it may lead to by way of a translator or a tunnel.
func spellings(a netip.Addr) []netip.Addr {
	s := []netip.Addr{a}
	if !a.Is6() {
		return s
	}
	b := a.As16()
	at := func(i, j, k, l int) { s = append(s, netip.AddrFrom4([4]byte{b[i], b[j], b[k], b[l]})) }
	for _, t := range translated {
		if t.within.Contains(a) {
			at(t.at[0], t.at[1], t.at[2], t.at[3])
		}
	}
	if teredo.Contains(a) {
		s = append(s, netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}))
	}
	if b[10] == 0x5e && b[11] == 0xfe && b[8]&^2 == 0 && b[9] == 0 { // ISATAP
		at(12, 13, 14, 15)
	}
	return s
}

// translated are the ranges whose addresses hold an IPv4 address, and where.
var translated = []struct {
	within netip.Prefix
	at     [4]int
}{
	{netip.MustParsePrefix("::/96"), [4]int{12, 13, 14, 15}},           // IPv4-compatible
	{netip.MustParsePrefix("::ffff:0:0:0/96"), [4]int{12, 13, 14, 15}}, // SIIT
	{netip.MustParsePrefix("2002::/16"), [4]int{2, 3, 4, 5}},           // 6to4
	{netip.MustParsePrefix("64:ff9b::/96"), [4]int{12, 13, 14, 15}},    // NAT64
	{netip.MustParsePrefix("64:ff9b:1::/48"), [4]int{12, 13, 14, 15}},  // NAT64 of one's own
	{netip.MustParsePrefix("64:ff9b:1::/48"), [4]int{6, 7, 9, 10}},     // the same with a prefix of 48 bits
	{netip.MustParsePrefix("64:ff9b:1::/48"), [4]int{7, 9, 10, 11}},    // of 56 bits
	{netip.MustParsePrefix("64:ff9b:1::/48"), [4]int{9, 10, 11, 12}},   // of 64 bits
	{teredo, [4]int{4, 5, 6, 7}},                                       // the server of a Teredo tunnel
}

// teredo holds the inverted IPv4 address of the other end.
var teredo = netip.MustParsePrefix("2001::/32")
