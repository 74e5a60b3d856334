package registry

import (
	"context"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// writeStatus writes the status if it says anything new: at once if a condition changed, else at its pace.
func (c *Controller) writeStatus(ctx context.Context, registry *rollcallv1alpha1.NodeRegistry, m *mirror.Mirror, invalid error) (ctrl.Result, error) {
	name := client.ObjectKeyFromObject(registry)
	o := &observation{registry: name, suspended: registry.Spec.Suspend, invalid: invalid, mirror: m.State(), now: c.clock.Now()}
	if session := c.sessions.get(name); session != nil {
		o.session = session.snapshot()
	}
	if rest := o.untold(); rest > 0 && len(registry.Status.Conditions) > 0 {
		return ctrl.Result{RequeueAfter: rest}, nil
	}
	status := statusOf(registry, o)
	if wait := c.written.wait(name, registry, status, o.now); wait > 0 {
		return ctrl.Result{RequeueAfter: o.within(wait)}, nil
	}
	before := registry.DeepCopy()
	registry.Status = status
	if err := c.client.Status().Patch(ctx, registry, client.MergeFrom(before)); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	c.written.set(name, o.now)
	c.emit(registry, before.Status.Conditions)
	return ctrl.Result{RequeueAfter: o.within(interval(registry))}, nil
}

// emit records the Events that say what became of the conditions.
func (c *Controller) emit(registry *rollcallv1alpha1.NodeRegistry, before []metav1.Condition) {
	for _, now := range changed(before, registry.Status.Conditions) {
		kind := corev1.EventTypeWarning
		if (now.Status == metav1.ConditionTrue) != (now.Type == rollcallv1alpha1.ConditionDegraded) || now.Reason == rollcallv1alpha1.ReasonSuspended {
			kind = corev1.EventTypeNormal
		}
		c.recorder.Eventf(registry, nil, kind, now.Reason, "Observe", "%s", now.Message)
	}
}

func interval(registry *rollcallv1alpha1.NodeRegistry) time.Duration {
	if set := duration(registry.Spec.StatusInterval); set > 0 {
		return set
	}
	return 5 * time.Minute
}

// writeTimes knows when each status was written last. It is safe for concurrent use.
type writeTimes struct {
	mu sync.Mutex
	at map[types.NamespacedName]time.Time
}

// wait returns how long the status is to wait for being written; zero if it is its time. One that is written already
// waits for the interval, after which what moves all the time is brought up to date.
func (w *writeTimes) wait(name types.NamespacedName, registry *rollcallv1alpha1.NodeRegistry, status rollcallv1alpha1.NodeRegistryStatus, now time.Time) time.Duration {
	firm, exact := sameBut(registry.Status, status)
	if exact {
		return interval(registry)
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
		return 0
	}
	return max(0, w.last(name, firm, now).Add(least).Sub(now))
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

// last returns when the status was written last. Of one that this process has not written, what moves all the time counts
// as written now: a restart alone is no reason for a write.
func (w *writeTimes) last(name types.NamespacedName, firm bool, now time.Time) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, known := w.at[name]
	if !known && firm {
		at = now
		w.put(name, at)
	}
	return at
}

func (w *writeTimes) set(name types.NamespacedName, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.put(name, at)
}

func (w *writeTimes) put(name types.NamespacedName, at time.Time) {
	if w.at == nil {
		w.at = map[types.NamespacedName]time.Time{}
	}
	w.at[name] = at
}

func (w *writeTimes) forget(name types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.at, name)
}
