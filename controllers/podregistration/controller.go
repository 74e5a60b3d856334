package podregistration

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/podregistration/roster"
	"github.com/rollcall-dev/rollcall/internal/outage"
	"github.com/rollcall-dev/rollcall/internal/todo"
)

//+kubebuilder:rbac:groups=rollcall.dev,resources=podregistrations,verbs=list;watch
//+kubebuilder:rbac:groups=rollcall.dev,resources=podregistrations/status,verbs=patch
//+kubebuilder:rbac:groups=rollcall.dev,resources=noderegistries,verbs=list;watch
//+kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// retry is the longest wait before a failed reconciliation is tried again.
const retry = 5 * time.Second

// Metrics records what the controller has done. Its methods do not block, and may be called from several goroutines at once.
type Metrics interface {
	// HeartbeatSent records the end of a pod's heartbeat.
	HeartbeatSent(registry types.NamespacedName, b roster.Beat)
}

// Controller reconciles PodRegistrations: it makes the plans, and writes the status.
type Controller struct {
	metrics  Metrics
	client   client.Client
	recorder events.EventRecorder
	cluster  string
	ledger   *ledger
	queue    *todo.List
	pods     podController
	paces    paces

	mu      sync.Mutex
	rosters map[types.NamespacedName]*roster.Roster
	// left are the registries that were left and not followed since.
	left sets.Set[types.NamespacedName]
}

// New returns a Controller. The client must read from a cache; cluster is this cluster's name.
func New(c client.Client, recorder events.EventRecorder, metrics Metrics, cluster string) *Controller {
	made := &Controller{
		metrics: metrics, client: c, recorder: recorder, cluster: cluster, ledger: newLedger(), queue: todo.New(),
		rosters: map[types.NamespacedName]*roster.Roster{}, left: sets.New[types.NamespacedName](),
	}
	made.pods.Controller, made.pods.queue = made, todo.New()
	return made
}

// SetupWithManager adds the controllers of PodRegistrations and of pods to the manager. What they write to buckets ends
// with the manager.
func (c *Controller) SetupWithManager(mgr ctrl.Manager) error {
	c.paces.at = map[types.NamespacedName]time.Time{}
	if err := mgr.Add(starter(func(ctx context.Context) error { return c.start(ctx, mgr) })); err != nil {
		return err
	}
	if err := c.pods.setup(mgr); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("podregistration").
		For(&rollcallv1alpha1.PodRegistration{}).
		Watches(&rollcallv1alpha1.NodeRegistry{}, handler.EnqueueRequestsFromMapFunc(c.ofRegistry)).
		WatchesRawSource(c.queue).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: 2,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](5*time.Millisecond, retry),
		}).
		Complete(c)
}

// ofRegistry returns the PodRegistrations that name a NodeRegistry.
func (c *Controller) ofRegistry(ctx context.Context, registry client.Object) []reconcile.Request {
	list := &rollcallv1alpha1.PodRegistrationList{}
	if err := c.client.List(ctx, list, client.InNamespace(registry.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "podregistrations not listed", "registry", client.ObjectKeyFromObject(registry).String())
		return nil
	}
	var requests []reconcile.Request
	for i := range list.Items {
		if p := &list.Items[i]; p.Spec.RegistryName == registry.GetName() {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(p)})
		}
	}
	return requests
}

// Reconcile makes the plan of one PodRegistration what its spec asks for, and its status what became of it.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	return outage.Result(c.reconcile(ctx, req))
}

func (c *Controller) reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	p := &rollcallv1alpha1.PodRegistration{}
	err := c.client.Get(ctx, req.NamespacedName, p)
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	if err != nil || !p.DeletionTimestamp.IsZero() {
		c.paces.forget(req.NamespacedName)
		return ctrl.Result{}, c.replan(ctx, req.NamespacedName, nil)
	}
	registry := &rollcallv1alpha1.NodeRegistry{}
	err = c.client.Get(ctx, types.NamespacedName{Namespace: p.Namespace, Name: p.Spec.RegistryName}, registry)
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	if err != nil || !registry.DeletionTimestamp.IsZero() {
		registry = nil
	}
	next, wrong := newPlan(p, registry, c.cluster)
	if wrong == nil {
		bucket := c.roster(next.registry).Info().Bucket
		wrong = next.tooSlow(bucket.TTL)
		next.refused, next.deferred = wrong != nil, bucket.Name == ""
	}
	if err := c.replan(ctx, req.NamespacedName, next); err != nil {
		return ctrl.Result{}, err
	}
	return c.writeStatus(ctx, p, wrong)
}

// replan puts another plan in force, nil for none, and has the pods looked at that this may concern. A plan that can't be
// used leaves a good one of the same PodRegistration in force, unless it is for another registry.
func (c *Controller) replan(ctx context.Context, name types.NamespacedName, next *plan) error {
	if c.stands(ctx, c.ledger.plan(name), next) {
		c.ledger.reconciled(name)
		return nil
	}
	if err := c.pods.watch(); err != nil {
		return err
	}
	list := &corev1.PodList{}
	if err := c.client.List(ctx, list, client.InNamespace(name.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	names := c.ledger.known(name.Namespace)
	for i := range list.Items {
		names = append(names, client.ObjectKeyFromObject(&list.Items[i]))
	}
	c.ledger.put(name, next, names)
	c.ledger.reconciled(name)
	for _, pod := range names {
		c.pods.queue.Add(pod)
	}
	return nil
}

// stands reports whether the old plan stays in force.
func (c *Controller) stands(ctx context.Context, old, next *plan) bool {
	switch {
	case old == nil || next == nil:
		return old == next
	case next.same(old):
		return true
	}
	return (next.refused || next.deferred) && !old.refused && !old.deferred && old.uid == next.uid && old.registry == next.registry && c.exists(ctx, next.registry)
}

// exists reports whether there is a NodeRegistry of that name, or may be again: one that is gone is left before it is over.
func (c *Controller) exists(ctx context.Context, registry types.NamespacedName) bool {
	found := &rollcallv1alpha1.NodeRegistry{}
	if c.client.Get(ctx, registry, found) == nil && found.DeletionTimestamp.IsZero() {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.left.Has(registry)
}
