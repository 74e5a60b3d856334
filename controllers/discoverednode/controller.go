// Package discoverednode projects the Mirror to DiscoveredNodes: the view of the fleet, which follows the traffic.
//
// It writes an object when something differs that an endpoint, a label or the status of a condition depends on, and else leaves
// it alone for statusInterval, however often the node heartbeats and whatever it says of itself. What others change or delete is
// put back at once, except what belongs to people: spec.cordoned, which the Mirror hears of from a watch, and annotations. Only a
// display name or metadata that was changed while no manager ran, and texts and times of the status, wait for statusInterval. An
// object that somebody deletes is written back with the cordon that the Mirror knows.
package discoverednode

import (
	"context"
	"iter"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/internal/outage"
)

//+kubebuilder:rbac:groups=rollcall.dev,resources=discoverednodes,verbs=list;watch;create;update;delete
//+kubebuilder:rbac:groups=rollcall.dev,resources=noderegistries,verbs=list;watch
//+kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// workers is the number of objects written at the same time: enough to keep an API server busy, which answers a create in
// a few milliseconds.
const workers = 16

// retry is the longest wait before a failed write is tried again.
const retry = time.Second

// precedence is for how long slices go first: a fleet that changes all the time must not keep the view from ever following.
const precedence = 2 * time.Second

// Nodes is what the controller needs of the Store. No method blocks.
type Nodes interface {
	// Node returns the node whose DiscoveredNode has that name, nil if there is none.
	Node(namespace, name string) *mirror.Node
	// Select returns all nodes of the namespace whose labels match.
	Select(namespace string, selector labels.Selector) iter.Seq[*mirror.Node]
	// Settled says whether a DiscoveredNode of that registry may be deleted because its node is unknown.
	Settled(namespace, registry string) bool
	// Revision returns the revision that what the other methods return has at least.
	Revision() uint64
}

// Slices is what the view follows.
type Slices interface {
	// Wait waits until the EndpointSlices show what the Mirrors had at that revision, but no longer than for the duration.
	Wait(ctx context.Context, revision uint64, most time.Duration)
}

// Metrics records what the controller has done. Its methods do not block, and may be called from several goroutines at once.
type Metrics interface {
	// NodeWritten records that an object shows the last change of its node.
	NodeWritten(*mirror.Node)
}

// Controller writes DiscoveredNodes.
type Controller struct {
	client   client.Client
	recorder events.EventRecorder
	nodes    Nodes
	cursor   *mirror.Cursor
	slices   Slices
	metrics  Metrics
	gate     *outage.Gate
	clock    clock.PassiveClock
	schedule *schedule
	budget   *budget
}

// New returns a Controller. The client must read from a cache, and write through the gate. It takes what changes from the cursor.
func New(
	c client.Client, recorder events.EventRecorder, nodes Nodes, cursor *mirror.Cursor, slices Slices, metrics Metrics, gate *outage.Gate, clk clock.PassiveClock,
) *Controller {
	return &Controller{
		client: c, recorder: recorder, nodes: nodes, cursor: cursor, slices: slices, metrics: metrics, gate: gate, clock: clk,
		schedule: newSchedule(), budget: newBudget(clk),
	}
}

// SetupWithManager adds the controller to the manager.
func (c *Controller) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("discoverednode").
		For(&rollcallv1alpha1.DiscoveredNode{}).
		Watches(&rollcallv1alpha1.NodeRegistry{}, handler.EnqueueRequestsFromMapFunc(c.ofRegistry), builder.WithPredicates(relevant())).
		WatchesRawSource(c.Changes()).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](5*time.Millisecond, retry),
		}).
		Complete(c.gate.Reconciler(c))
}

// Changes is the source of the controller: the nodes that change in the Store.
func (c *Controller) Changes() source.Source {
	return source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-c.cursor.Wake():
				}
				for name, change := range c.cursor.Take().Nodes {
					if !waits(change) {
						queue.Add(reconcile.Request{NamespacedName: name})
					}
				}
			}
		}()
		return nil
	})
}

// waits returns true if the object shows already as much as it is to show of a node that flaps.
func waits(c mirror.Change) bool {
	return c.Old != nil && c.New != nil && c.Old.Flapping && c.New.Flapping && c.Old.Traffic() == c.New.Traffic()
}

// Reconcile makes one DiscoveredNode what its node is.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	c.slices.Wait(ctx, c.nodes.Revision(), precedence) // Traffic first.
	c.emitSum(ctx, client.ObjectKey{Namespace: req.Namespace, Name: record.RegistryOf(req.Name)})
	existing := &rollcallv1alpha1.DiscoveredNode{}
	if err := c.client.Get(ctx, req.NamespacedName, existing); apierrors.IsNotFound(err) {
		existing = nil
	} else if err != nil {
		return ctrl.Result{}, err
	}
	if existing != nil && !existing.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil // Its end is an event of its own.
	}
	node := c.nodes.Node(req.Namespace, req.Name)
	if node == nil {
		c.schedule.forget(req.NamespacedName)
		return c.remove(ctx, existing)
	}
	registry, err := c.registry(ctx, client.ObjectKey{Namespace: node.Namespace, Name: node.Registry})
	if registry == nil {
		return ctrl.Result{}, err // An object needs an owner. One that comes back has all of them looked at.
	}
	return c.write(ctx, node, registry, existing)
}

// registry returns the NodeRegistry of that name, nil if there is none, or it is about to go.
func (c *Controller) registry(ctx context.Context, name client.ObjectKey) (*rollcallv1alpha1.NodeRegistry, error) {
	registry := &rollcallv1alpha1.NodeRegistry{}
	if err := c.client.Get(ctx, name, registry); err != nil || !registry.DeletionTimestamp.IsZero() {
		return nil, client.IgnoreNotFound(err)
	}
	return registry, nil
}

// remove deletes an object whose node is gone. One whose registry is gone too is left to the garbage collector, unless
// somebody had it orphaned.
func (c *Controller) remove(ctx context.Context, existing *rollcallv1alpha1.DiscoveredNode) (ctrl.Result, error) {
	if existing == nil {
		return ctrl.Result{}, nil
	}
	name := client.ObjectKey{Namespace: existing.Namespace, Name: record.RegistryOf(existing.Name)}
	registry, err := c.registry(ctx, name)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !c.nodes.Settled(name.Namespace, name.Name) {
		return ctrl.Result{RequeueAfter: retry}, nil
	}
	if registry == nil && metav1.GetControllerOfNoCopy(existing) != nil {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, client.IgnoreNotFound(c.client.Delete(ctx, existing, client.Preconditions{UID: &existing.UID}))
}

// ofRegistry returns the nodes of a NodeRegistry.
func (c *Controller) ofRegistry(_ context.Context, registry client.Object) []reconcile.Request {
	var requests []reconcile.Request
	selector := labels.SelectorFromSet(labels.Set{rollcallv1alpha1.LabelRegistry: registry.GetName()})
	for node := range c.nodes.Select(registry.GetNamespace(), selector) {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: node.Namespace, Name: node.Name}})
	}
	return requests
}

// relevant lets through the NodeRegistries that are new, also where the watch took one for another of its name, and those with
// another statusInterval: a shorter one counts at once.
func relevant() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return true },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, known := e.ObjectOld.(*rollcallv1alpha1.NodeRegistry)
			after, is := e.ObjectNew.(*rollcallv1alpha1.NodeRegistry)
			return known && is && (before.UID != after.UID || interval(before) != interval(after))
		},
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// write sends the difference, if there is one and its time has come.
func (c *Controller) write(ctx context.Context, node *mirror.Node, registry *rollcallv1alpha1.NodeRegistry, existing *rollcallv1alpha1.DiscoveredNode) (ctrl.Result, error) {
	want, interval := project(node, registry, existing), interval(registry)
	if existing == nil {
		err := c.client.Create(ctx, want)
		if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			return ctrl.Result{}, nil
		}
		return c.after(node, want, interval, err)
	}
	sharedWait := c.emitShared(registry, node, existing)
	if wait := c.unchanged(node, existing, want, interval); wait > 0 {
		return ctrl.Result{RequeueAfter: sooner(wait, sharedWait)}, nil
	}
	if err := c.client.Update(ctx, want); err != nil {
		return c.after(node, want, interval, err)
	}
	result, err := c.after(node, want, interval, nil)
	result.RequeueAfter = sooner(result.RequeueAfter, c.emit(registry, existing, want), sharedWait)
	return result, err
}

// unchanged returns how long an object may stay as it is; zero or less: it is to be written now.
func (c *Controller) unchanged(node *mirror.Node, existing, want *rollcallv1alpha1.DiscoveredNode, interval time.Duration) time.Duration {
	name, now, found := client.ObjectKeyFromObject(want), c.clock.Now(), compare(existing, want)
	if node.Flapping && found != none && gistOf(&existing.Status).waits(gistOf(&want.Status)) {
		found = lazy
	}
	if found == visible || found == described && c.schedule.changed(name, existing.ResourceVersion) {
		return 0
	}
	c.schedule.accept(name, existing.ResourceVersion)
	c.schedule.shows(name, node.Changed)
	if found == none {
		return c.schedule.written(name, interval, now)
	}
	return c.schedule.next(name, interval, now)
}

// sooner returns the least of the durations that are above zero.
func sooner(d time.Duration, others ...time.Duration) time.Duration {
	for _, other := range others {
		if other > 0 && (d <= 0 || other < d) {
			d = other
		}
	}
	return d
}

// after says when to look at the object again after a write that ended with err.
func (c *Controller) after(node *mirror.Node, written *rollcallv1alpha1.DiscoveredNode, interval time.Duration, err error) (ctrl.Result, error) {
	switch {
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
		// The cache is behind. What it lacks is an event of its own; this is for one that was merged into another.
		return ctrl.Result{RequeueAfter: retry}, nil
	case err != nil:
		return ctrl.Result{}, err
	}
	name := types.NamespacedName{Namespace: node.Namespace, Name: node.Name}
	c.schedule.accept(name, written.ResourceVersion)
	if c.schedule.shows(name, node.Changed) {
		c.metrics.NodeWritten(node)
	}
	return ctrl.Result{RequeueAfter: c.schedule.written(name, interval, c.clock.Now())}, nil
}
