package discoverednode

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// defaultInterval is spec.statusInterval's default, for an object that was stored before the field had one.
const defaultInterval = 5 * time.Minute

// interval returns how long a heartbeat may go unwritten.
func interval(registry *rollcallv1alpha1.NodeRegistry) time.Duration {
	if set := registry.Spec.StatusInterval; set != nil && set.Duration > 0 {
		return set.Duration
	}
	return defaultInterval
}

// tell records an Event if the phase changed. A node that joins is no change: 10,000 of them would be 10,000 Events.
func (c *Controller) tell(before, after *rollcallv1alpha1.DiscoveredNode) {
	if before.Status.Phase == after.Status.Phase {
		return
	}
	kind := corev1.EventTypeWarning
	if after.Status.Phase == rollcallv1alpha1.NodeReady || after.Status.Phase == rollcallv1alpha1.NodeDraining {
		kind = corev1.EventTypeNormal
	}
	ready := meta.FindStatusCondition(after.Status.Conditions, rollcallv1alpha1.ConditionReady)
	c.recorder.Eventf(after, nil, kind, ready.Reason, "PhaseChange", "phase changed from %s to %s: %s",
		before.Status.Phase, after.Status.Phase, ready.Message)
}
