package mirror

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

// seed adds what was last written down of the registry's nodes: their DiscoveredNodes.
func (t *table) seed(nodes []*rollcallv1alpha1.DiscoveredNode) {
	for _, dn := range nodes {
		if dn.Status.Phase == "" {
			// A person made it, and Rollcall has not written to it: it says who is cordoned, and nothing of a node.
			t.cordon(dn.Name, dn.Spec.Cordoned)
			continue
		}
		named := dn.Name == record.Name(t.registry.Name, dn.Spec.NodeID)
		byKey := dn.Name == record.KeyName(t.registry.Name, dn.Spec.Key)
		if t.entries[dn.Spec.Key] != nil || !named && !byKey {
			continue // No Mirror of this registry can have written it.
		}
		e := remember(dn)
		e.foreign = !strings.HasPrefix(e.key, t.policy.Record.KeyPrefix)
		if !e.foreign && !t.policy.Record.Mirrors(e.key, e.facts.Origin) {
			continue
		}
		e.facts.Anonymous = byKey && e.facts.ID == e.key
		e.junior = byKey && !e.facts.Anonymous
		e.facts.Judge(t.labels, &t.policy.Record, record.WrittenLabels(dn))
		t.guard.active = t.guard.active || e.silence == held
		t.insert(e)
	}
}

// remember is the inverse of what the projection to a DiscoveredNode writes.
func remember(dn *rollcallv1alpha1.DiscoveredNode) *entry {
	e := &entry{
		key: dn.Spec.Key, facts: remembered(dn), load: dn.Status.Load, absent: never, remembered: true,
		revision: uint64(max(0, dn.Status.Revision)), cordoned: dn.Spec.Cordoned,
		firstSeen: dn.CreationTimestamp.Time,
	}
	if dn.Status.LastHeartbeatTime != nil {
		e.written = dn.Status.LastHeartbeatTime.Time
	}
	switch dn.Status.Phase {
	case rollcallv1alpha1.NodeStale:
		e.silence = stale
	case rollcallv1alpha1.NodeExpired:
		e.silence = expired
	}
	ready := condition(dn, rollcallv1alpha1.ConditionReady).Reason
	if ready == rollcallv1alpha1.ReasonHeld {
		e.silence = held
	}
	if ready == rollcallv1alpha1.ReasonSuperseded {
		e.shadow = superseded
	}
	return e
}

// condition returns a condition, its zero value if the node has none of that type.
func condition(dn *rollcallv1alpha1.DiscoveredNode, kind string) metav1.Condition {
	return ptr.Deref(meta.FindStatusCondition(dn.Status.Conditions, kind), metav1.Condition{})
}

func remembered(dn *rollcallv1alpha1.DiscoveredNode) record.Facts {
	f := record.Facts{
		ID: dn.Spec.NodeID, DisplayName: dn.Spec.DisplayName, Zone: dn.Spec.Zone, Metadata: dn.Spec.Metadata,
		Draining: dn.Status.Phase == rollcallv1alpha1.NodeDraining, Origin: dn.Labels[rollcallv1alpha1.LabelOrigin],
	}
	rememberAcceptance(&f, dn)
	for _, address := range dn.Spec.Addresses {
		if addr, err := netip.ParseAddr(address); err == nil {
			f.Addresses = append(f.Addresses, addr)
		}
	}
	for _, port := range dn.Spec.Ports {
		f.Ports = append(f.Ports, record.Port{Name: port.Name, Port: port.Port, Protocol: corev1.Protocol(port.Protocol)})
	}
	return f
}

// rememberAcceptance takes over whether the node has a good record, and what was said of its last one.
func rememberAcceptance(f *record.Facts, dn *rollcallv1alpha1.DiscoveredNode) {
	accepted := condition(dn, rollcallv1alpha1.ConditionRecordAccepted)
	// A node that is Invalid for its addresses alone has a good record.
	f.Good = dn.Status.Phase != rollcallv1alpha1.NodeInvalid || accepted.Status == metav1.ConditionTrue ||
		condition(dn, rollcallv1alpha1.ConditionReady).Reason == rollcallv1alpha1.ReasonAddressRefused
	switch {
	case accepted.Reason == rollcallv1alpha1.ReasonAcceptedWithRemarks:
		f.Notes = []string{accepted.Message}
	case accepted.Reason == "" && !f.Good:
		f.Refusal = record.Fault{Reason: rollcallv1alpha1.ReasonInvalidRecord, Message: "the record has not been read yet"}
	case accepted.Status != metav1.ConditionTrue:
		f.Refusal = record.Fault{Reason: accepted.Reason, Message: accepted.Message}
	}
}
