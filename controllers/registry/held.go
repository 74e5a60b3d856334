package registry

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// heldReason returns the reason of the condition Degraded while nodes are held for that reason.
func heldReason(reason rollcallv1alpha1.HeldReason) string {
	if reason == rollcallv1alpha1.HeldGuard {
		return rollcallv1alpha1.ReasonExpiryGuard
	}
	return string(reason)
}

// stops reports whether a registry that is degraded for that reason is not ready: silence removes no node, or the bucket
// takes no heartbeat. Every other reason is worth a warning, but everything works.
func stops(reason string) bool {
	switch reason {
	case rollcallv1alpha1.ReasonExpiryGuard, rollcallv1alpha1.ReasonStoreFull, rollcallv1alpha1.ReasonSealed,
		rollcallv1alpha1.ReasonMirrorCut, rollcallv1alpha1.ReasonNobodyWrites:
		return true
	}
	return false
}

// printed returns a time as the API server prints it.
func printed(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// heldStatus returns status.held.
func heldStatus(h *mirror.Held) *rollcallv1alpha1.HeldStatus {
	if h == nil {
		return nil
	}
	return &rollcallv1alpha1.HeldStatus{
		Since: metav1.NewTime(h.Since.UTC().Truncate(time.Second)), Reason: h.Reason, Silent: int32(h.Silent), Of: int32(h.Of),
	}
}

// heldOf is the inverse of heldStatus: what a new Mirror is to know of what was held before the start.
func heldOf(s *rollcallv1alpha1.HeldStatus) *mirror.Held {
	if s == nil {
		return nil
	}
	return &mirror.Held{Since: s.Since.Time, Reason: s.Reason, Silent: int(s.Silent), Of: int(s.Of)}
}

// heldMessage says how many nodes are held, why, and how a person lets them go.
func (o *observation) heldMessage() string {
	h := o.mirror.Held
	text := fmt.Sprintf("%d of %d nodes are silent and keep their endpoints: ", h.Silent, h.Of)
	if h.Reason == rollcallv1alpha1.HeldGuard {
		text += "that is more than the disruption guard allows at once, so find out what cuts them off"
	} else {
		text += o.storeTrouble(h.Reason)
	}
	if h.Silent == 0 {
		return text
	}
	return text + ". If they really are gone: " + o.acceptCommand()
}

// storeTrouble says why the bucket takes no heartbeats.
func (o *observation) storeTrouble(reason rollcallv1alpha1.HeldReason) string {
	switch reason {
	case rollcallv1alpha1.HeldStoreFull:
		return "the bucket is full and may refuse heartbeats"
	case rollcallv1alpha1.HeldSealed:
		return "the bucket is sealed and takes no heartbeats"
	case rollcallv1alpha1.HeldMirrorCut:
		return "the bucket is a mirror or has sources, and is cut off from its origin"
	default:
		return "the stream of the bucket does not take the subjects of its keys"
	}
}

// acceptCommand returns the command that lets the silent nodes go.
func (o *observation) acceptCommand() string {
	return fmt.Sprintf("kubectl annotate noderegistry %s -n %s %s=%s",
		o.registry.Name, o.registry.Namespace, rollcallv1alpha1.AnnotationAcceptExpiry, printed(o.mirror.Held.Since))
}
