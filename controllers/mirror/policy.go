package mirror

import (
	"net/netip"
	"slices"
	"time"
)

// Policy is the part of a NodeRegistry that decides what becomes of its nodes. Durations of zero mean what their field
// says.
type Policy struct {
	// KeyPrefix is what a key has in front of its node ID.
	KeyPrefix string
	// StaleAfter is how long after its last heartbeat a node is no longer ready for traffic; zero: never.
	StaleAfter time.Duration
	// RetainExpired is how long an expired node stays visible.
	RetainExpired time.Duration
	// ReconnectGrace is how long after a complete listing that follows a gap no deadline passes; zero: the TTL.
	ReconnectGrace time.Duration
	// FallbackTTL is the TTL wished for, in force only for keys that are absent from a bucket which has none.
	FallbackTTL time.Duration
	// MaxExpiredPercent and MinNodes are the disruption guard's.
	MaxExpiredPercent, MinNodes int
	// Labels maps label keys of the DiscoveredNode to metadata keys of the record.
	Labels map[string]string
	// Cluster is the name of this cluster, IncludeLocal whether entries that it owns are mirrored too.
	Cluster      string
	IncludeLocal bool
	// Allowed and Denied are the address policy; no Allowed means all.
	Allowed, Denied []netip.Prefix
	// Refused are addresses that are refused besides those that always are: the API server's own.
	Refused []netip.Addr
}

// grace returns for how long after a complete listing that follows a gap no deadline passes, in a bucket with that TTL.
func (p *Policy) grace(ttl time.Duration) time.Duration {
	switch {
	case p.ReconnectGrace > 0:
		return p.ReconnectGrace
	case ttl > 0:
		return ttl
	default:
		return p.FallbackTTL
	}
}

// refusal says why an address takes no traffic; empty if it may.
//
// Loopback, link-local, multicast and unspecified addresses are those that Kubernetes itself refuses in an EndpointSlice
// (ValidateEndpointIP of k8s.io/kubernetes/pkg/apis/core/validation), since they would reach the node that forwards.
func (p *Policy) refusal(addr netip.Addr) string {
	switch {
	case addr.IsUnspecified():
		return "is the unspecified address"
	case addr.IsLoopback():
		return "is a loopback address"
	case addr.IsLinkLocalUnicast(), addr.IsLinkLocalMulticast():
		return "is a link-local address"
	case addr.IsMulticast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "is a multicast or broadcast address"
	}
	if slices.Contains(p.Refused, addr) {
		return "is the API server's address"
	}
	return p.cidrRefusal(addr)
}

func (p *Policy) cidrRefusal(addr netip.Addr) string {
	for _, denied := range p.Denied {
		if denied.Contains(addr) {
			return "is within deniedCIDRs " + denied.String()
		}
	}
	for _, allowed := range p.Allowed {
		if allowed.Contains(addr) {
			return ""
		}
	}
	if len(p.Allowed) > 0 {
		return "is outside of allowedCIDRs"
	}
	return ""
}
