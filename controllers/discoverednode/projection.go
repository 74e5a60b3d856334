package discoverednode

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

// project returns what the DiscoveredNode of a node is to be. It starts from what exists, nil if nothing does, and leaves
// alone what belongs to others: spec.cordoned and the metadata that is not Rollcall's.
func project(n *mirror.Node, registry *rollcallv1alpha1.NodeRegistry, existing *rollcallv1alpha1.DiscoveredNode) *rollcallv1alpha1.DiscoveredNode {
	dn := &rollcallv1alpha1.DiscoveredNode{ObjectMeta: metav1.ObjectMeta{Namespace: n.Namespace, Name: n.Name}}
	dn.Spec.Cordoned = n.Cordoned // A person's word outlives the object that shows it.
	if existing != nil {
		dn = existing.DeepCopy()
	}
	setMeta(dn, n, registry)
	dn.Spec = specOf(n, dn.Spec.Cordoned)
	setStatus(&dn.Status, n)
	if known := existing != nil && meta.FindStatusCondition(existing.Status.Conditions, rollcallv1alpha1.ConditionRecordAccepted) != nil; !known || !n.Remembered {
		// Of a node that is only remembered no record was read since start: what is written down stands.
		meta.SetStatusCondition(&dn.Status.Conditions, recordAccepted(n))
	}
	return dn
}

func specOf(n *mirror.Node, cordoned bool) rollcallv1alpha1.DiscoveredNodeSpec {
	spec := rollcallv1alpha1.DiscoveredNodeSpec{
		RegistryName: n.Registry,
		Key:          n.Key,
		NodeID:       n.ID,
		DisplayName:  n.DisplayName,
		Zone:         n.Zone,
		Metadata:     maps.Clone(n.Metadata),
		Cordoned:     cordoned,
	}
	for _, addr := range n.Addresses {
		spec.Addresses = append(spec.Addresses, addr.String())
	}
	for _, port := range n.Ports {
		spec.Ports = append(spec.Ports, rollcallv1alpha1.NodePort{Name: port.Name, Port: port.Port, Protocol: string(port.Protocol)})
	}
	return spec
}

func setStatus(status *rollcallv1alpha1.DiscoveredNodeStatus, n *mirror.Node) {
	status.Phase = n.Phase
	status.Load = n.Load
	status.LastHeartbeatTime = wholeSeconds(n.LastHeartbeat)
	status.Revision = int64(n.Revision)
	ready := metav1.ConditionFalse
	if n.Traffic() == mirror.TrafficReady {
		ready = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type:               rollcallv1alpha1.ConditionReady,
		Status:             ready,
		Reason:             n.Reason,
		Message:            n.Message,
		LastTransitionTime: metav1.NewTime(n.Changed.Truncate(time.Second)),
	})
}

// recordAccepted says what became of the last record of the node's entry.
func recordAccepted(n *mirror.Node) metav1.Condition {
	c := metav1.Condition{
		Type: rollcallv1alpha1.ConditionRecordAccepted, Status: metav1.ConditionTrue,
		LastTransitionTime: metav1.NewTime(n.Changed.Truncate(time.Second)),
	}
	switch {
	case n.Refusal.Reason != "":
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, n.Refusal.Reason, record.Bounded(n.Refusal.Message)
		if n.Phase != rollcallv1alpha1.NodeInvalid {
			c.Message += "; the last good record stays in force"
		}
	case len(n.Remarks) > 0:
		c.Reason, c.Message = rollcallv1alpha1.ReasonAcceptedWithRemarks, record.Bounded(strings.Join(n.Remarks, "; "))
	default:
		c.Reason, c.Message = rollcallv1alpha1.ReasonAccepted, "the record is accepted"
	}
	return c
}

// wholeSeconds returns the time as the API keeps it, nil for none.
func wholeSeconds(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	rounded := metav1.NewTime(t.Truncate(time.Second))
	return &rounded
}

// difference is how far a DiscoveredNode is from what it is to be.
type difference int

const (
	// none: it is the same to the letter.
	none difference = iota
	// lazy: only what nothing depends on differs, such as the heartbeat and the load. It is written when its turn comes.
	lazy
	// described: what nothing depends on differs in the spec as well. It is written when its turn comes, or at once if somebody
	// else changed it.
	described
	// visible: something differs that people and controllers act on.
	visible
)

func compare(got, want *rollcallv1alpha1.DiscoveredNode) difference {
	invalid := got.Status.Phase == rollcallv1alpha1.NodeInvalid && want.Status.Phase == rollcallv1alpha1.NodeInvalid
	sameSpec, sameStatus := equality.Semantic.DeepEqual(got.Spec, want.Spec), equality.Semantic.DeepEqual(got.Status, want.Status)
	switch {
	case !maps.Equal(got.Labels, want.Labels) || !slices.EqualFunc(got.OwnerReferences, want.OwnerReferences, sameOwner),
		!sameSpec && !equality.Semantic.DeepEqual(essence(got.Spec, invalid), essence(want.Spec, invalid)),
		!sameStatus && gistOf(&got.Status) != gistOf(&want.Status):
		return visible
	case !sameSpec:
		return described
	case !sameStatus, !maps.Equal(got.Annotations, want.Annotations):
		return lazy
	default:
		return none
	}
}

// wordOf returns a hash of what of an object is visible and Rollcall's: two that differ in nothing else have the same. labels are those
// that are Rollcall's.
func wordOf(dn *rollcallv1alpha1.DiscoveredNode, labels map[string]string) uint64 {
	h := fnv.New64a()
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		_, _ = fmt.Fprintf(h, "%s=%q,", label, dn.Labels[label])
	}
	for _, owner := range dn.OwnerReferences {
		if owns(owner) {
			_, _ = fmt.Fprintf(h, "%s/%t", owner.UID, ptr.Deref(owner.Controller, false))
		}
	}
	spec := essence(dn.Spec, dn.Status.Phase == rollcallv1alpha1.NodeInvalid)
	spec.Cordoned = false // A person's.
	_, _ = fmt.Fprintf(h, "%q%+v", fmt.Sprintf("%+v", spec), gistOf(&dn.Status))
	return h.Sum64()
}

// essence returns of a spec what an endpoint or a person's decision depends on. A node that is and stays invalid has no endpoint.
func essence(spec rollcallv1alpha1.DiscoveredNodeSpec, invalid bool) rollcallv1alpha1.DiscoveredNodeSpec {
	spec.DisplayName, spec.Metadata, spec.Addresses = "", nil, published(spec.Addresses)
	if invalid {
		spec.Addresses, spec.Ports = nil, nil
	}
	return spec
}

// published returns the addresses that slices can show: the first of each family.
func published(addresses []string) []string {
	var first [2]string
	for _, address := range addresses {
		family := strings.Count(address, ":")
		if i := min(family, 1); first[i] == "" {
			first[i] = address
		}
	}
	return first[:]
}

// gist is of a status what people and controllers act on.
type gist struct {
	phase    rollcallv1alpha1.NodePhase
	ready    metav1.ConditionStatus
	reason   string
	accepted bool
}

func gistOf(status *rollcallv1alpha1.DiscoveredNodeStatus) gist {
	g := gist{phase: status.Phase, accepted: !meta.IsStatusConditionFalse(status.Conditions, rollcallv1alpha1.ConditionRecordAccepted)}
	if ready := meta.FindStatusCondition(status.Conditions, rollcallv1alpha1.ConditionReady); ready != nil {
		g.ready, g.reason = ready.Status, ready.Reason
	}
	return g
}

// waits returns true if the object of a node that changes too often shows so: what else differs follows once its budget has refilled.
func (g gist) waits(want gist) bool {
	return g.reason == rollcallv1alpha1.ReasonFlapping && g.ready == want.ready
}

func sameOwner(a, b metav1.OwnerReference) bool { return equality.Semantic.DeepEqual(a, b) }
