package mirror

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// Seed fills a new Mirror with what was last written down of the registry's nodes: their DiscoveredNodes. They are
// unconfirmed until the bucket has been listed.
func (m *Mirror) Seed(nodes []*rollcallv1alpha1.DiscoveredNode) {
	m.mu.Lock()
	// Those that have the name of their node ID come first, so that they keep it.
	m.seed(nodes, func(dn *rollcallv1alpha1.DiscoveredNode) string { return Name(m.registry.Name, dn.Spec.NodeID) })
	m.seed(nodes, func(dn *rollcallv1alpha1.DiscoveredNode) string { return keyName(m.registry.Name, dn.Spec.Key) })
	m.unlockAndTell()
}

// seed takes in the nodes whose name is as given. Others are none that a Mirror of this registry can have written.
func (m *Mirror) seed(nodes []*rollcallv1alpha1.DiscoveredNode, name func(*rollcallv1alpha1.DiscoveredNode) string) {
	for _, dn := range nodes {
		if dn.Name != name(dn) || m.entries[dn.Spec.Key] != nil || m.names[dn.Name] != nil {
			continue
		}
		e := m.remember(dn)
		if !m.policy.mirrors(e.key, e.facts.origin) {
			continue
		}
		e.facts.anonymous = dn.Name == keyName(m.registry.Name, e.key) && e.facts.id == e.key
		e.facts.judge(m.labels, &m.policy)
		m.insert(e, e.written)
	}
}

// remember is the inverse of what the projection to a DiscoveredNode writes.
func (m *Mirror) remember(dn *rollcallv1alpha1.DiscoveredNode) *entry {
	e := &entry{
		key: dn.Spec.Key, facts: remembered(dn), load: dn.Status.Load,
		revision: uint64(max(0, dn.Status.Revision)), cordoned: dn.Spec.Cordoned,
		firstSeen: dn.CreationTimestamp.Time, stale: dn.Status.Phase == rollcallv1alpha1.NodeStale,
	}
	if dn.Status.LastHeartbeatTime != nil {
		e.written = dn.Status.LastHeartbeatTime.Time
	}
	if dn.Status.Phase == rollcallv1alpha1.NodeExpired {
		e.expired = m.now()
	}
	ready := meta.FindStatusCondition(dn.Status.Conditions, rollcallv1alpha1.ConditionReady)
	if ready == nil {
		return e
	}
	e.junior = ready.Reason == reasonAddressConflict
	switch ready.Reason {
	case rollcallv1alpha1.ReasonInvalidRecord, rollcallv1alpha1.ReasonInvalidKey, rollcallv1alpha1.ReasonNodeIDMismatch:
		e.facts.fault = fault{ready.Reason, ready.Message}
	}
	for _, note := range []string{noteEndpoint, noteClock} {
		if strings.Contains(ready.Message, note) {
			e.facts.notes = append(e.facts.notes, note)
		}
	}
	return e
}

func remembered(dn *rollcallv1alpha1.DiscoveredNode) facts {
	f := facts{
		id: dn.Spec.NodeID, displayName: dn.Spec.DisplayName, zone: dn.Spec.Zone, metadata: dn.Spec.Metadata,
		draining: dn.Status.Phase == rollcallv1alpha1.NodeDraining, origin: dn.Labels[rollcallv1alpha1.LabelOrigin],
	}
	for _, address := range dn.Spec.Addresses {
		if addr, err := netip.ParseAddr(address); err == nil {
			f.addresses = append(f.addresses, addr)
		}
	}
	for _, port := range dn.Spec.Ports {
		f.ports = append(f.ports, Port{Name: port.Name, Port: port.Port, Protocol: corev1.Protocol(port.Protocol)})
	}
	return f
}
