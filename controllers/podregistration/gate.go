package podregistration

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// gate sets the pod's readiness gate, if it has one: True once the pod is in every bucket that it is to be in, False once
// it is known not to be. While nothing is known, as in an outage, it stays as it is.
func (c *podController) gate(ctx context.Context, pod *corev1.Pod, a *account) error {
	if !gated(pod) {
		return nil
	}
	want := c.verdict(pod, a)
	if want == nil || shows(condition(pod, rollcallv1alpha1.ReadinessGateRegistered), want) {
		return nil
	}
	patch, err := gatePatch(pod.UID, want)
	if err != nil {
		return err
	}
	err = c.client.Status().Patch(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}},
		client.RawPatch(types.StrategicMergePatchType, patch))
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // The pod is gone, or another one of the same name.
	}
	if err != nil {
		return fmt.Errorf("set the readiness gate: %w", err)
	}
	return nil
}

// shows reports whether a gate says already what it is to say. One that is missing counts as closed.
func shows(have, want *corev1.PodCondition) bool {
	if have == nil {
		return want.Status == corev1.ConditionFalse && want.Reason == rollcallv1alpha1.ReasonNotReady
	}
	return have.Status == want.Status && have.Reason == want.Reason && have.Message == want.Message
}

// verdict returns what the gate is to be, nil if it is to stay as it is.
func (c *podController) verdict(pod *corev1.Pod, a *account) *corev1.PodCondition {
	want := &corev1.PodCondition{Type: rollcallv1alpha1.ReadinessGateRegistered, Status: corev1.ConditionFalse}
	claims, waiting := 0, false
	for _, o := range a.all() {
		if o.claim != nil {
			claims++
		}
		live := o.claim != nil && c.roster(o.registry).State(o.claim.ID).Live
		if wrong := c.trouble(o); wrong != nil && !live {
			want.Reason, want.Message = wrong.reason, bounded(wrong.message)
			return want
		}
		waiting = waiting || o.pending(live)
	}
	switch {
	case waiting:
		return nil
	case claims > 0:
		want.Status, want.Reason = corev1.ConditionTrue, rollcallv1alpha1.ReasonRegistered
		return want
	case !c.ledger.settled(pod.Namespace):
		return nil
	}
	want.Reason, want.Message = rollcallv1alpha1.ReasonNotReady, "the pod is not registered while its containers are not ready"
	if len(a.all()) == 0 {
		want.Message = "no PodRegistration matches the pod"
	}
	return want
}

// pending reports whether it will be decided only later whether the pod is in the bucket.
func (o *outcome) pending(live bool) bool { return o.deferred || (o.claim != nil && !live) }

// gatePatch returns the patch that sets a condition of the pod with that UID.
func gatePatch(uid types.UID, c *corev1.PodCondition) ([]byte, error) {
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": uid},
		"status": map[string]any{"conditions": []map[string]any{{
			"type": c.Type, "status": c.Status, "reason": c.Reason, "message": c.Message,
			"lastTransitionTime": metav1.NewTime(time.Now().Truncate(time.Second)),
		}}},
	})
}
