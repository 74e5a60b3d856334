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
	if rest := o.unsettled(); rest > 0 && len(registry.Status.Conditions) > 0 {
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
	c.tell(registry, before.Status.Conditions)
	return ctrl.Result{RequeueAfter: o.within(interval(registry))}, nil
}

// tell records an Event for each condition that another reason holds for now. Ready is a summary and tells nothing new.
func (c *Controller) tell(registry *rollcallv1alpha1.NodeRegistry, before []metav1.Condition) {
	for _, now := range registry.Status.Conditions {
		was := meta.FindStatusCondition(before, now.Type)
		if now.Type == rollcallv1alpha1.ConditionReady || was == nil || (was.Status == now.Status && was.Reason == now.Reason) {
			continue
		}
		kind := corev1.EventTypeWarning
		if (now.Status == metav1.ConditionTrue) != (now.Type == rollcallv1alpha1.ConditionDegraded) {
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
	counted := registry.Status
	counted.Nodes, counted.Conditions = status.Nodes, recounted(counted.Conditions, status.Conditions)
	onlyCounts, _ := sameBut(counted, status)
	if !onlyCounts {
		return 0
	}
	least := pace
	if firm {
		least = interval(registry)
	}
	return max(0, w.last(name, firm, now).Add(least).Sub(now))
}

// recounted returns the conditions with those messages as they are now that only count anew.
func recounted(before, now []metav1.Condition) []metav1.Condition {
	conditions := slices.Clone(before)
	for i := range conditions {
		c := meta.FindStatusCondition(now, conditions[i].Type)
		if c != nil && c.Reason == conditions[i].Reason && c.Reason == rollcallv1alpha1.ReasonTooManyNodes {
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
