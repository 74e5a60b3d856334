package podregistration

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/podregistration/roster"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/internal/outage"
	"github.com/rollcall-dev/rollcall/internal/todo"
)

//+kubebuilder:rbac:groups="",resources=pods,verbs=list;watch
//+kubebuilder:rbac:groups="",resources=pods/status,verbs=patch

// podWorkers is how many pods are reconciled at the same time: more than one for the sake of readiness gates, each of
// which waits for the API server.
const podWorkers = 8

// podController looks at one pod at a time.
type podController struct {
	*Controller
	queue   *todo.List
	cache   cache.Cache
	control controller.Controller

	mu       sync.Mutex
	watching bool
	told     map[types.NamespacedName]map[string]fault
}

func (c *podController) setup(mgr ctrl.Manager) error {
	c.cache = mgr.GetCache()
	c.told = map[types.NamespacedName]map[string]fault{}
	var err error
	c.control, err = ctrl.NewControllerManagedBy(mgr).
		Named("pod").
		WatchesRawSource(c.queue).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: podWorkers,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](5*time.Millisecond, retry),
		}).
		Build(c)
	return err
}

// watch begins to watch pods, unless that has been done.
func (c *podController) watch() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watching {
		return nil
	}
	err := c.control.Watch(source.Kind(c.cache, &corev1.Pod{}, &handler.TypedEnqueueRequestForObject[*corev1.Pod]{}))
	c.watching = err == nil
	return err
}

// Reconcile claims what the plans make of one pod, takes back what they don't, and lets the pod and people know.
func (c *podController) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	pod := &corev1.Pod{}
	err := c.client.Get(ctx, req.NamespacedName, pod)
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	if err != nil {
		pod = nil
	}
	plans, epoch := c.ledger.plansOf(req.Namespace)
	next := open(pod, plans)
	old := c.ledger.exchange(req.NamespacedName, next)
	for registry, u := range difference(old, next) {
		c.roster(registry).Update(u.release, u.claims)
	}
	c.ledger.looked(req.NamespacedName, epoch)
	c.recount(req.Namespace, old, next)
	if pod == nil || pod.DeletionTimestamp != nil {
		c.forget(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	c.tell(pod, next)
	return outage.Result(ctrl.Result{}, c.gate(ctx, pod, next))
}

// open returns the account of a pod; nil for no pod.
func open(pod *corev1.Pod, plans []*plan) *account {
	if pod == nil || len(plans) == 0 {
		return nil
	}
	a := &account{uid: pod.UID, outcomes: map[string]outcome{}, gated: gated(pod)}
	for _, p := range plans {
		if p.matches(pod) {
			claim, wrong := p.desired(pod)
			a.outcomes[p.name.Name] = outcome{registry: p.registry, claim: claim, fault: wrong, deferred: p.deferred}
		}
	}
	return a
}

// recount has the PodRegistrations looked at that count the pod in another way than before.
func (c *podController) recount(namespace string, old, next *account) {
	for name, was := range old.all() {
		is, matched := next.all()[name]
		if !matched || (was.claim == nil) != (is.claim == nil) || (was.fault == nil) != (is.fault == nil) {
			c.Controller.queue.Add(types.NamespacedName{Namespace: namespace, Name: name})
		}
	}
	for name := range next.all() {
		if _, matched := old.all()[name]; !matched {
			c.Controller.queue.Add(types.NamespacedName{Namespace: namespace, Name: name})
		}
	}
}

// all returns the outcomes of an account that may be nil.
func (a *account) all() map[string]outcome {
	if a == nil {
		return nil
	}
	return a.outcomes
}

// trouble returns what keeps a pod from being registered as one plan wants it; nil if nothing does.
func (c *Controller) trouble(o outcome) *fault {
	switch {
	case o.fault != nil:
		return o.fault
	case o.claim == nil:
		return nil
	}
	switch state := c.roster(o.registry).State(o.claim.ID); state.Phase {
	case roster.Conflict:
		if state.Impostor {
			return &fault{rollcallv1alpha1.ReasonClusterNameConflict, state.Message}
		}
		return &fault{rollcallv1alpha1.ReasonConflict, state.Message}
	case roster.Failed:
		return &fault{rollcallv1alpha1.ReasonRegistrationFailed, state.Message}
	default:
		return nil
	}
}

// tell reports an Event for each trouble that is new.
func (c *podController) tell(pod *corev1.Pod, a *account) {
	name := client.ObjectKeyFromObject(pod)
	now := map[string]fault{}
	for registration, o := range a.all() {
		if wrong := c.trouble(o); wrong != nil {
			now[registration] = *wrong
		}
	}
	c.mu.Lock()
	before := c.told[name]
	delete(c.told, name)
	if len(now) > 0 {
		c.told[name] = now
	}
	c.mu.Unlock()
	for registration, wrong := range now {
		if before[registration] != wrong {
			c.recorder.Eventf(pod, nil, corev1.EventTypeWarning, wrong.reason, "Register", "PodRegistration %s: %s", registration, bounded(wrong.message))
		}
	}
}

// complained reports whether the last Event about the pod told of trouble.
func (c *podController) complained(pod types.NamespacedName) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.told[pod]) > 0
}

func (c *podController) forget(pod types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.told, pod)
}

// maxNote is the greatest length of an Event's note that the API server takes, in bytes, less room for what surrounds a message.
const maxNote = 800

// bounded returns a message as an Event and a condition take it.
func bounded(message string) string {
	message = record.Note(message)
	if len(message) <= maxNote {
		return message
	}
	return record.Cut(message, maxNote) + "…"
}
