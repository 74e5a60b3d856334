package discoverednode

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

// defaultInterval is spec.statusInterval's default, for an object that was stored before the field had one.
const defaultInterval = 5 * time.Minute

// interval returns how long a heartbeat may go unwritten.
func interval(registry *rollcallv1alpha1.NodeRegistry) time.Duration {
	if set := registry.Spec.StatusInterval; set != nil && set.Duration > 0 {
		return max(set.Duration, time.Second)
	}
	return defaultInterval
}

// emit records an Event if the phase changed and the registry has one left, and returns after how long the others are to be
// counted. A node that joins is no change, and neither is one that keeps its traffic: the registry says why it is held. A node
// that expires is no Warning, since fleets shrink; many at once are one of the registry's.
func (c *Controller) emit(registry *rollcallv1alpha1.NodeRegistry, before, after *rollcallv1alpha1.DiscoveredNode) time.Duration {
	is := meta.FindStatusCondition(after.Status.Conditions, rollcallv1alpha1.ConditionReady)
	kept := meta.IsStatusConditionTrue(before.Status.Conditions, rollcallv1alpha1.ConditionReady) && is.Status == metav1.ConditionTrue
	if before.Status.Phase == after.Status.Phase || kept {
		return 0
	}
	granted, wait := c.budget.spend(client.ObjectKeyFromObject(registry), fmt.Sprintf("became %s", after.Status.Phase))
	if !granted {
		return wait
	}
	kind := corev1.EventTypeNormal
	if after.Status.Phase == rollcallv1alpha1.NodeInvalid {
		kind = corev1.EventTypeWarning
	}
	c.recorder.Eventf(after, nil, kind, is.Reason, "PhaseChange", "%s", record.Note(fmt.Sprintf("phase changed from %s to %s: %s",
		before.Status.Phase, after.Status.Phase, is.Message)))
	return 0
}

// emitShared records an Event once two writers write the node's key in turn, if the registry has one left, and returns after how
// long those without are to be counted. What comes and goes is one Event that is counted, so it must not name the version.
func (c *Controller) emitShared(registry *rollcallv1alpha1.NodeRegistry, node *mirror.Node, object *rollcallv1alpha1.DiscoveredNode) time.Duration {
	if !c.schedule.shares(client.ObjectKeyFromObject(object), node.Shared) {
		return 0
	}
	granted, wait := c.budget.spend(client.ObjectKeyFromObject(registry), "got a second writer")
	if !granted {
		return wait
	}
	regarding := object.DeepCopy()
	regarding.ResourceVersion = ""
	c.recorder.Eventf(regarding, nil, corev1.EventTypeWarning, rollcallv1alpha1.ReasonKeyShared, "Observe", "%s", record.Note(fmt.Sprintf(
		"two writers write the key %q in turn, and the endpoint jumps from one to the other: give each machine an ID of its own", record.Bounded(node.Key))))
	return 0
}

// emitSum records an Event that counts the changes of phase that have none, once it is time.
func (c *Controller) emitSum(ctx context.Context, name client.ObjectKey) {
	text := c.budget.sum(name)
	if text == "" {
		return
	}
	if registry, err := c.registry(ctx, name); err == nil && registry != nil {
		c.recorder.Eventf(registry, nil, corev1.EventTypeWarning, rollcallv1alpha1.ReasonNodesChanged, "PhaseChange", "%s", text)
	}
}
