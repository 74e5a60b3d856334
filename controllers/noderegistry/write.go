package noderegistry

import (
	"context"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/internal/dispute"
)

// writeStatus writes the status if it says anything new: at once if a condition changed, else at its pace.
func (c *Controller) writeStatus(ctx context.Context, registry *rollcallv1alpha1.NodeRegistry, m *mirror.Mirror, wrong recordFault) (ctrl.Result, error) {
	name := client.ObjectKeyFromObject(registry)
	o := &observation{registry: name, suspended: registry.Spec.Suspend, record: wrong, spec: &registry.Spec, mirror: m.State(), now: c.clock.Now()}
	if session := c.sessions.get(name); session != nil {
		o.session = session.snapshot()
	}
	if view := c.options.View; view != nil {
		o.problems, o.notShown, _ = view.Problems(name)
		o.viewRefused, o.viewDisputed = view.Refused(name), view.Disputed(name)
	}
	if c := c.options.Disputes; c != nil {
		o.contest.services, o.contest.example, o.contest.remark = c.Contested(name)
	}
	if rest := o.untold(); rest > 0 && len(registry.Status.Conditions) > 0 {
		return ctrl.Result{RequeueAfter: rest}, nil
	}
	if registry.Status.ObservedGeneration != registry.Generation {
		c.written.edited(name)
	}
	status := statusOf(registry, o)
	wait, news := c.written.wait(name, registry, status, o.now)
	if wait > 0 {
		return ctrl.Result{RequeueAfter: o.within(wait)}, nil
	}
	before := registry.DeepCopy()
	registry.Status = status
	if err := c.client.Status().Patch(ctx, registry, client.MergeFrom(before)); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	c.written.set(name, news, o.now)
	firm, _ := sameBut(before.Status, status)
	c.written.say(name, status, firm, o.now)
	c.emit(registry, before.Status.Conditions)
	return ctrl.Result{RequeueAfter: o.within(interval(registry))}, nil
}

// emit records the Events that say what became of the conditions. What is wrong again and again is one Event that is counted:
// it must not name the version of the object, which would make it another one each time.
func (c *Controller) emit(registry *rollcallv1alpha1.NodeRegistry, before []metav1.Condition) {
	for _, now := range changed(before, registry.Status.Conditions) {
		if (now.Status == metav1.ConditionTrue) != (now.Type == rollcallv1alpha1.ConditionDegraded) {
			c.recorder.Eventf(registry, nil, corev1.EventTypeNormal, now.Reason, "Observe", "%s", now.Message)
			continue
		}
		kind, regarding := corev1.EventTypeWarning, registry.DeepCopy()
		if now.Reason == rollcallv1alpha1.ReasonSuspended {
			kind = corev1.EventTypeNormal
		}
		regarding.ResourceVersion = ""
		c.recorder.Eventf(regarding, nil, kind, now.Reason, "Observe", "%s", now.Message)
	}
}

func interval(registry *rollcallv1alpha1.NodeRegistry) time.Duration {
	if set := duration(registry.Spec.StatusInterval); set > 0 {
		return max(set, leastDuration)
	}
	return 5 * time.Minute
}

// A status that says something else is written at once, unless that happens again and again, as with a server that accepts and
// refuses in turn: then newsBurst of them are, and after these one in newsPace.
const (
	newsBurst = 10
	newsPace  = 10 * time.Second
)

// writeTimes knows when each status was written last. It is safe for concurrent use.
type writeTimes struct {
	mu sync.Mutex
	at map[types.NamespacedName]writeTime
}

// writeTime is when a status was written last, and until when its news are paid for, each with newsPace.
type writeTime struct {
	last, paid time.Time
	// said is what was written then, and fight is with somebody else who writes something else.
	said  rollcallv1alpha1.NodeRegistryStatus
	fight dispute.Fight
}

// repeats returns true if the status was written already as it is.
func (w *writeTime) repeats(status rollcallv1alpha1.NodeRegistryStatus) bool {
	return equality.Semantic.DeepEqual(w.said, timeless(status))
}

// timeless returns what a status says, without what moves all the time.
func timeless(status rollcallv1alpha1.NodeRegistryStatus) rollcallv1alpha1.NodeRegistryStatus {
	status = *status.DeepCopy()
	if status.LastSyncTime = nil; status.Bucket != nil {
		status.Bucket.Revision = 0
	}
	for i := range status.Conditions {
		status.Conditions[i].LastTransitionTime = metav1.Time{}
	}
	return status
}

// wait returns how long the status is to wait for being written, zero if it is its time, and whether it says something else than
// before rather than the same in other words or counts. One that is written already waits for the interval, after which what
// moves all the time is brought up to date.
func (w *writeTimes) wait(name types.NamespacedName, registry *rollcallv1alpha1.NodeRegistry, status rollcallv1alpha1.NodeRegistryStatus, now time.Time) (rest time.Duration, news bool) {
	firm, exact := sameBut(registry.Status, status)
	if exact {
		return interval(registry), false
	}
	written := w.get(name, firm, now)
	if !firm && written.repeats(status) {
		if rest := written.fight.Wait(now); rest > 0 {
			return rest, false
		}
	}
	retold := registry.Status
	retold.Conditions = reworded(retold.Conditions, status.Conditions)
	onlyText, _ := sameBut(retold, status)
	counted := retold
	counted.Nodes, counted.Held = status.Nodes, heldAnew(counted.Held, status.Held)
	onlyCounts, _ := sameBut(counted, status)
	least := pace
	switch {
	case firm:
		least = interval(registry)
	case onlyText:
		least = textPace
	case !onlyCounts:
		return max(0, written.paid.Add(-(newsBurst-1)*newsPace).Sub(now)), true
	}
	return max(0, written.last.Add(least).Sub(now)), false
}

// heldAnew returns what is held with the counts as they are now, if it is for the same reason and since the same time.
func heldAnew(before, now *rollcallv1alpha1.HeldStatus) *rollcallv1alpha1.HeldStatus {
	if before == nil || now == nil || before.Reason != now.Reason || !before.Since.Equal(&now.Since) {
		return before
	}
	return now
}

// reworded returns the conditions with the messages as they are now, where the reason is the same.
func reworded(before, now []metav1.Condition) []metav1.Condition {
	conditions := slices.Clone(before)
	for i := range conditions {
		c := meta.FindStatusCondition(now, conditions[i].Type)
		if c != nil && c.Reason == conditions[i].Reason {
			conditions[i].Message = c.Message
		}
	}
	return conditions
}

// get returns when the status was written last. Of one that this process has not written, what moves all the time counts
// as written now: a restart alone is no reason for a write.
func (w *writeTimes) get(name types.NamespacedName, firm bool, now time.Time) writeTime {
	w.mu.Lock()
	defer w.mu.Unlock()
	written, known := w.at[name]
	if !known && firm {
		written.last = now
		w.put(name, written)
	}
	return written
}

// say notes what was written; firm is true if only what moves all the time was another one.
func (w *writeTimes) say(name types.NamespacedName, status rollcallv1alpha1.NodeRegistryStatus, firm bool, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	written := w.at[name]
	if !firm && written.repeats(status) {
		written.fight.Repaired(now)
	}
	written.said = timeless(status)
	w.put(name, written)
}

func (w *writeTimes) set(name types.NamespacedName, news bool, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	written := w.at[name]
	written.last = now
	if news {
		if written.paid.Before(now) {
			written.paid = now
		}
		written.paid = written.paid.Add(newsPace)
	}
	w.put(name, written)
}

// edited has what follows from an edit told at once, whatever was told before: a person waits for it.
func (w *writeTimes) edited(name types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	written := w.at[name]
	written.paid = time.Time{}
	w.put(name, written)
}

func (w *writeTimes) put(name types.NamespacedName, written writeTime) {
	if w.at == nil {
		w.at = map[types.NamespacedName]writeTime{}
	}
	w.at[name] = written
}

func (w *writeTimes) forget(name types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.at, name)
}
