package noderegistry

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/natsconn"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// heldReason returns the reason of the condition Degraded while nodes are held for that reason.
func heldReason(reason rollcallv1alpha1.HeldReason) string {
	if reason == rollcallv1alpha1.HeldGuard {
		return rollcallv1alpha1.ReasonExpiryGuard
	}
	return string(reason)
}

// stops reports whether a registry that is degraded for that reason is not ready: spec.record is not what is in force, silence
// removes no node, or the bucket takes no heartbeat. Every other reason is worth a warning, but everything works.
func stops(reason string) bool {
	switch reason {
	case rollcallv1alpha1.ReasonInvalidExpression, rollcallv1alpha1.ReasonExpiryGuard, rollcallv1alpha1.ReasonStoreFull, rollcallv1alpha1.ReasonSealed,
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
	cause := "the disruption guard keeps them, since so many at once are rather cut off than dead. Find out what cuts them off"
	if h.Reason != rollcallv1alpha1.HeldGuard {
		cause = storeTrouble(h.Reason, &o.mirror.Bucket.Store)
	}
	if h.Silent == 0 {
		return cause + ": no node is removed for its silence"
	}
	return fmt.Sprintf("%d of %d nodes are silent and keep their endpoints: %s. If they really are gone: %s", h.Silent, h.Of, cause, o.acceptCommand())
}

// storeTrouble says why the bucket takes no heartbeats.
func storeTrouble(reason rollcallv1alpha1.HeldReason, store *kv.Store) string {
	text := map[rollcallv1alpha1.HeldReason]string{
		rollcallv1alpha1.HeldStoreFull:    "the bucket is full and may refuse heartbeats",
		rollcallv1alpha1.HeldSealed:       "the bucket is sealed and takes no heartbeats",
		rollcallv1alpha1.HeldMirrorCut:    "the bucket is fed from another one and is cut off from it",
		rollcallv1alpha1.HeldNobodyWrites: "the stream of the bucket does not take the subjects of its keys",
	}[reason]
	if detail := strings.TrimSuffix(store.Detail, "."); detail != "" && string(reason) == string(store.Refusal) {
		text += " (" + natsconn.PlainText(detail) + ")"
	}
	return text
}

// acceptCommand returns the command that lets the silent nodes go.
func (o *observation) acceptCommand() string {
	return fmt.Sprintf("kubectl annotate noderegistry %s -n %s %s=%s",
		o.registry.Name, o.registry.Namespace, rollcallv1alpha1.AnnotationAcceptExpiry, printed(o.mirror.Held.Since))
}
