package endpointslice

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/refusal"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/internal/dispute"
)

const (
	// textPause is for how long a condition that only words its reason otherwise waits, and so at least how long after one such patch
	// the next one comes: a storm of nodes is no storm of conditions.
	textPause = 10 * time.Second
	// reasonPause is at least how long after a patch the next one comes.
	reasonPause = time.Second
)

// outcome is what the condition of a Service is to say; nil if there is to be none.
type outcome struct {
	status          metav1.ConditionStatus
	reason, message string
}

// problem returns the outcome of a reconcile that could not do what the annotation asks for.
func problem(reason string, err error) *outcome {
	return compose("", []remark{{metav1.ConditionFalse, reason, record.Note(err.Error())}})
}

// unanswered returns the outcome of a reconcile one of whose writes gets no answer.
func unanswered() *outcome {
	return compose("", []remark{{metav1.ConditionFalse, rollcallv1alpha1.ReasonWriteUnanswered, fmt.Sprintf(
		"An EndpointSlice of the Service has been written for %s without an answer: an admission webhook hangs, or the API server does. "+
			"Look at the webhooks that take EndpointSlices of this namespace.", unansweredAfter)}})
}

// refusals says what of the slices the API server refused; nil: nothing.
func refusals(s refusal.Summary) *remark {
	said := func(reason string, n int, what, cure string) *remark {
		return &remark{metav1.ConditionFalse, reason, fmt.Sprintf(
			"%d of the Service's endpoints %s, such as %s: %s. %s; it is tried again within %s.", n, what, s.Example, s.Words, cure, within)}
	}
	switch {
	case s.Stuck > 0:
		return said(rollcallv1alpha1.ReasonRemovalRefused, s.Stuck, "should be gone, and the API server refuses to take them out",
			"Let the policy or webhook that says so take updates of EndpointSlices")
	case s.Refused == 0 && s.Slices == 0:
		return nil
	case s.Refused == 0:
		return &remark{metav1.ConditionFalse, rollcallv1alpha1.ReasonWriteFailed, fmt.Sprintf(
			"%d of the Service's EndpointSlices have the right endpoints, and the API server refuses what else there is to write, such as labels: "+
				"%s. It is tried again within %s.", s.Slices, s.Words, within)}
	case s.Quota:
		return said(rollcallv1alpha1.ReasonQuotaExceeded, s.Refused, "have no room, since a quota allows no other EndpointSlice",
			"All else is written. Raise the quota of this namespace")
	}
	return said(rollcallv1alpha1.ReasonEndpointsRefused, s.Refused, "are left out, since the API server refuses them",
		"All else is written. Change the nodes, or the policy or webhook that says so")
}

// within is after what time all that is refused is tried again.
const within = "5 minutes"

// reported is what was written last, and when.
type reported struct {
	// revision is the version of the Service that has the condition: the cache may be behind.
	revision  string
	condition *metav1.Condition
	at        time.Time
	// differs is since when the condition words its reason otherwise than it should; zero if it does not.
	differs time.Time
	// fight is with somebody else who writes the condition.
	fight dispute.Brisk
}

// repeats returns true if the condition was written already as the outcome says.
func (r *reported) repeats(o *outcome) bool {
	c := r.condition
	return c != nil && o != nil && c.Status == o.status && c.Reason == o.reason && c.Message == o.message
}

// report makes the Service's condition say the outcome. If it is not time for that yet it returns when to call it again.
func (c *Controller) report(ctx context.Context, service *corev1.Service, st *state, o *outcome) (after time.Duration, err error) {
	found := meta.FindStatusCondition(service.Status.Conditions, rollcallv1alpha1.ConditionEndpointsSynced)
	if order, err := resourceversion.CompareResourceVersion(service.ResourceVersion, st.reported.revision); err == nil && order < 0 {
		found = st.reported.condition
	}
	now := c.clock.Now()
	change, next := difference(found, o, now)
	if change == nil {
		st.reported.differs = time.Time{}
		return 0, nil
	}
	if wait := st.reported.wait(found, o, now); wait > 0 {
		return wait, nil
	}
	if st.reported.repeats(o) {
		if wait := st.reported.fight.Wait(now); wait > 0 {
			return wait, nil
		}
		st.reported.fight.Repaired(now)
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []any{change}}})
	if err != nil {
		return 0, fmt.Errorf("encode condition %s: %w", rollcallv1alpha1.ConditionEndpointsSynced, err)
	}
	err = c.client.Status().Patch(ctx, service, client.RawPatch(types.StrategicMergePatchType, patch),
		client.FieldOwner(c.options.FieldOwner))
	if client.IgnoreNotFound(err) != nil {
		return 0, fmt.Errorf("write condition %s: %w", rollcallv1alpha1.ConditionEndpointsSynced, err)
	}
	st.reported.revision, st.reported.condition = service.ResourceVersion, next
	st.reported.at, st.reported.differs = now, time.Time{}
	return 0, nil
}

// wait returns for how long a condition that differs from the outcome stays as it is. A registry that is not listed yet mostly is
// soon.
func (r *reported) wait(found *metav1.Condition, o *outcome, now time.Time) time.Duration {
	switch {
	case found == nil, o == nil:
		return 0
	case found.Status == o.status && found.Reason == o.reason, o.reason == rollcallv1alpha1.ReasonRegistryNotListed:
		if r.differs.IsZero() {
			r.differs = now
		}
		return r.differs.Add(textPause).Sub(now)
	}
	return r.at.Add(reasonPause).Sub(now)
}

// difference returns the change that turns the condition found into one that says the outcome, and what it then is. The
// change is nil if there is none.
func difference(found *metav1.Condition, o *outcome, now time.Time) (change any, next *metav1.Condition) {
	switch {
	case o == nil && found == nil:
		return nil, nil
	case o == nil:
		return map[string]string{"$patch": "delete", "type": rollcallv1alpha1.ConditionEndpointsSynced}, nil
	case found != nil && found.Status == o.status && found.Reason == o.reason && found.Message == o.message:
		return nil, found
	}
	next = &metav1.Condition{
		Type: rollcallv1alpha1.ConditionEndpointsSynced, Status: o.status, Reason: o.reason, Message: o.message,
		LastTransitionTime: metav1.NewTime(now),
	}
	if found != nil && found.Status == o.status {
		next.LastTransitionTime = found.LastTransitionTime
	}
	return next, next
}
