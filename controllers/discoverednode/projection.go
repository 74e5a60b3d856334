package discoverednode

import (
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// project returns what the DiscoveredNode of a node is to be. It starts from what exists, nil if nothing does, and leaves
// alone what belongs to people: spec.cordoned and annotations.
func project(n *mirror.Node, registry *rollcallv1alpha1.NodeRegistry, existing *rollcallv1alpha1.DiscoveredNode) *rollcallv1alpha1.DiscoveredNode {
	dn := &rollcallv1alpha1.DiscoveredNode{ObjectMeta: metav1.ObjectMeta{Namespace: n.Namespace, Name: n.Name}}
	dn.Spec.Cordoned = n.Cordoned // A person's word outlives the object that shows it.
	if existing != nil {
		dn = existing.DeepCopy()
	}
	dn.Labels = maps.Clone(n.Labels)
	dn.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(registry, rollcallv1alpha1.GroupVersion.WithKind("NodeRegistry"))}
	// A blocking owner reference needs a right on the owner's finalizers, and nothing here needs the owner to wait.
	dn.OwnerReferences[0].BlockOwnerDeletion = nil
	dn.Spec = specOf(n, dn.Spec.Cordoned)
	setStatus(&dn.Status, n)
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
	// heartbeat: only what every heartbeat changes differs. It is written when its turn comes.
	heartbeat
	// visible: something differs that people and controllers act on.
	visible
)

func compare(got, want *rollcallv1alpha1.DiscoveredNode) difference {
	if !maps.Equal(got.Labels, want.Labels) || !slices.EqualFunc(got.OwnerReferences, want.OwnerReferences, sameOwner) ||
		!equality.Semantic.DeepEqual(got.Spec, want.Spec) ||
		got.Status.Phase != want.Status.Phase || !equality.Semantic.DeepEqual(got.Status.Conditions, want.Status.Conditions) {
		return visible
	}
	if got.Status.Load != want.Status.Load || got.Status.Revision != want.Status.Revision ||
		!got.Status.LastHeartbeatTime.Equal(want.Status.LastHeartbeatTime) {
		return heartbeat
	}
	return none
}

func sameOwner(a, b metav1.OwnerReference) bool { return equality.Semantic.DeepEqual(a, b) }
