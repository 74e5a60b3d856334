// Package discoverednode projects the Mirror to DiscoveredNodes: the view of the fleet, which follows the traffic.
//
// It writes an object when something differs that an endpoint, a label or the status of a condition depends on, and else leaves
// it alone for statusInterval, however often the node heartbeats and whatever it says of itself. What others change or delete is
// put back at once. What belongs to others stays: spec.cordoned, which the Mirror hears of from a watch, and the labels, annotations,
// owner references and finalizers that are not Rollcall's. Only a display name or metadata that was changed while no manager ran, and
// texts and times of the status, wait for statusInterval. An object that somebody deletes is written back with the cordon that the
// Mirror knows.
//
// With the view Problems the nodes that a person should look at have an object, and no others; see choice. An object that a person
// makes to cordon a node stays, also while there is no such node.
package discoverednode

import (
	"context"
	"iter"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	"github.com/rollcall-dev/rollcall/internal/todo"
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

// echo is after how long the cache shows what was just written.
const echo = 20 * time.Millisecond

// respite is how much later than the slices the view follows, so that the API server tells of a slice before it takes the writes of
// the view.
const respite = 10 * time.Millisecond

// Nodes is what the controller needs of the Store. No method blocks.
type Nodes interface {
	// Node returns the node whose DiscoveredNode has that name, nil if there is none.
	Node(namespace, name string) *mirror.Node
	// Select returns all nodes of the namespace whose labels match.
	Select(namespace string, selector labels.Selector) iter.Seq[*mirror.Node]
	// Settled says whether the DiscoveredNode of that name may be deleted because its node is unknown.
	Settled(namespace, name string) bool
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
	clock    clock.Clock
	schedule *schedule
	budget   *budget
	views    *views
	gate     *gate
	// others are nodes that have an object now, or have none any more, for the sake of another node.
	others *todo.List
}

// API is the way to the API server.
type API struct {
	// Client reads from a cache, and Live does not.
	client.Client

	Live client.Reader
	// FieldOwner is the field manager under which the Client writes.
	FieldOwner string
}

// New returns a Controller. It takes what changes from the cursor.
func New(
	api *API, recorder events.EventRecorder, nodes Nodes, cursor *mirror.Cursor, slices Slices, metrics Metrics, clk clock.Clock,
	limits Limits, counts Counts,
) *Controller {
	others := todo.New()
	return &Controller{
		client: api, recorder: recorder, nodes: nodes, cursor: cursor, slices: slices, metrics: metrics, clock: clk,
		schedule: newSchedule(), budget: newBudget(clk), views: newViews(limits, counts), others: others,
		gate: &gate{live: api.Live, clock: clk, refusals: newRefusals(counts, others.Add), disputes: newDisputes(counts, api.FieldOwner)},
	}
}

// Refused says what the API server does not let be written of a registry's objects, and Disputed what somebody else changes back;
// empty: nothing. They do not block.
func (c *Controller) Refused(registry types.NamespacedName) string {
	return c.gate.refusals.text(registry)
}

// Disputed says what somebody changes back of what was written of a registry.
func (c *Controller) Disputed(registry types.NamespacedName) string {
	return c.gate.disputes.text(registry, c.clock.Now())
}

// Problems counts the nodes of a registry that a person should look at, and those of them that have no object; ok is false if all
// nodes have one. It does not block.
func (c *Controller) Problems(registry types.NamespacedName) (problems, notShown int, ok bool) {
	return c.views.problems(registry)
}

// SetupWithManager adds the controller to the manager.
func (c *Controller) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("discoverednode").
		For(&rollcallv1alpha1.DiscoveredNode{}, builder.WithPredicates(c.external())).
		Watches(&rollcallv1alpha1.NodeRegistry{}, handler.EnqueueRequestsFromMapFunc(c.ofRegistry), builder.WithPredicates(relevant())).
		WatchesRawSource(c.Changes()).
		WatchesRawSource(c.others).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](5*time.Millisecond, retry),
		}).
		Complete(c)
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
				c.follow(ctx)
				for _, name := range c.views.change(c.cursor.Take().Nodes, c.clock.Now()) {
					c.gate.refusals.change(name, c.clock.Now())
					queue.Add(reconcile.Request{NamespacedName: name})
				}
			}
		}()
		return nil
	})
}

// follow waits until the slices show what the Store has, and for a moment more.
func (c *Controller) follow(ctx context.Context) {
	c.slices.Wait(ctx, c.nodes.Revision(), precedence)
	select {
	case <-ctx.Done():
	case <-c.clock.After(respite):
	}
}

// waits returns true if the object shows already as much as it is to show of a node that flaps.
func waits(c mirror.Change) bool {
	return c.Old != nil && c.New != nil && c.Old.Flapping && c.New.Flapping && c.Old.Traffic() == c.New.Traffic()
}

// Reconcile makes one DiscoveredNode what its node is.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	return outage.Result(c.reconcile(ctx, req))
}

func (c *Controller) reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	c.slices.Wait(ctx, c.nodes.Revision(), precedence) // Traffic first.
	c.emitSum(ctx, client.ObjectKey{Namespace: req.Namespace, Name: record.RegistryOf(req.Name)})
	existing := &rollcallv1alpha1.DiscoveredNode{}
	if err := c.client.Get(ctx, req.NamespacedName, existing); apierrors.IsNotFound(err) {
		existing = nil
	} else if err != nil {
		return ctrl.Result{}, err
	}
	if existing != nil && !existing.DeletionTimestamp.IsZero() {
		return c.nothing(req.NamespacedName) // Its end is an event of its own.
	}
	node := c.nodes.Node(req.Namespace, req.Name)
	if node == nil {
		return c.remove(ctx, req.NamespacedName, existing)
	}
	registry, err := c.registry(ctx, client.ObjectKey{Namespace: node.Namespace, Name: node.Registry})
	if registry == nil {
		return ctrl.Result{}, err // An object needs an owner. One that comes back has all of them looked at.
	}
	c.views.rule(registry, c.nodesOf(registry), c.clock.Now())
	shown, rest, others := c.views.shows(node, c.clock.Now())
	c.others.Add(others...)
	if !shown && (existing == nil || !existing.Spec.Cordoned) { // What a person has just written, the Mirror may not know yet.
		return c.hide(ctx, req.NamespacedName, existing)
	}
	result, err := c.write(ctx, node, registry, existing)
	result.RequeueAfter = sooner(result.RequeueAfter, rest)
	return result, err
}

// nothing notes that there is nothing to write.
func (c *Controller) nothing(name types.NamespacedName) (ctrl.Result, error) {
	c.gate.settle(name)
	return ctrl.Result{}, nil
}

// hide deletes an object whose node lives on and needs none, in its turn.
func (c *Controller) hide(ctx context.Context, name types.NamespacedName, existing *rollcallv1alpha1.DiscoveredNode) (ctrl.Result, error) {
	if existing == nil {
		return c.nothing(name)
	}
	if wait := c.views.turn(name, c.clock.Now()); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	// Of that version: a person may be about to cordon the node.
	result, err := c.delete(ctx, existing, client.Preconditions{UID: &existing.UID, ResourceVersion: &existing.ResourceVersion})
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: retry}, nil
	}
	return result, err
}

// delete deletes an object. One that was not written since start and is there again, somebody else has made.
func (c *Controller) delete(ctx context.Context, existing *rollcallv1alpha1.DiscoveredNode, of client.Preconditions) (ctrl.Result, error) {
	name := client.ObjectKeyFromObject(existing)
	out, err := c.gate.try(ctx, &write{
		name: name, registry: client.ObjectKey{Namespace: name.Namespace, Name: record.RegistryOf(name.Name)}, does: remove,
		repairs: !c.schedule.knows(name),
		send: func() (bool, error) {
			err := client.IgnoreNotFound(c.client.Delete(ctx, existing, of))
			if err == nil {
				c.schedule.forget(name)
			}
			return false, err
		},
	})
	return ctrl.Result{RequeueAfter: out.again}, err
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
// somebody had it orphaned. One that a person made, to cordon a node that is to come, is the person's.
func (c *Controller) remove(ctx context.Context, object types.NamespacedName, existing *rollcallv1alpha1.DiscoveredNode) (ctrl.Result, error) {
	if existing == nil || existing.Status.Phase == "" && existing.Spec.Cordoned {
		c.schedule.forget(object)
		return c.nothing(object)
	}
	name := client.ObjectKey{Namespace: object.Namespace, Name: record.RegistryOf(object.Name)}
	registry, err := c.registry(ctx, name)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !c.nodes.Settled(existing.Namespace, existing.Name) {
		return ctrl.Result{RequeueAfter: retry}, nil
	}
	if registry == nil {
		c.views.forget(name)
	}
	if registry == nil && owned(existing) {
		c.schedule.forget(object)
		return c.nothing(object)
	}
	return c.delete(ctx, existing, client.Preconditions{UID: &existing.UID})
}

// nodesOf returns the nodes of a NodeRegistry.
func (c *Controller) nodesOf(registry client.Object) iter.Seq[*mirror.Node] {
	return c.nodes.Select(registry.GetNamespace(), labels.SelectorFromSet(labels.Set{rollcallv1alpha1.LabelRegistry: registry.GetName()}))
}

// ofRegistry returns the nodes of a NodeRegistry, after its view is in force: that of the cache, since of an edit it gets what was before
// it as well.
func (c *Controller) ofRegistry(ctx context.Context, object client.Object) []reconcile.Request {
	if registry, err := c.registry(ctx, client.ObjectKeyFromObject(object)); err == nil && registry != nil {
		c.views.rule(registry, c.nodesOf(registry), c.clock.Now())
	}
	var requests []reconcile.Request
	for node := range c.nodesOf(object) {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: node.Namespace, Name: node.Name}})
	}
	return requests
}

// external lets through what others do to the objects. What we have written is on its schedule already.
func (c *Controller) external() predicate.Predicate {
	is := func(o client.Object) bool {
		return !c.schedule.accepted(client.ObjectKeyFromObject(o), o.GetResourceVersion())
	}
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return is(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool { return is(e.ObjectNew) },
	}
}

// relevant lets through the NodeRegistries that are new, also where the watch took one for another of its name, and those with
// another view or statusInterval: a shorter one counts at once.
func relevant() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return true },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, known := e.ObjectOld.(*rollcallv1alpha1.NodeRegistry)
			after, is := e.ObjectNew.(*rollcallv1alpha1.NodeRegistry)
			return known && is && (before.UID != after.UID || before.Spec.View != after.Spec.View || interval(before) != interval(after))
		},
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// draft is what an object is to be.
type draft struct {
	node *mirror.Node
	// existing is nil if there is no object.
	existing, want *rollcallv1alpha1.DiscoveredNode
	found          difference
	// edited is true if somebody else has written the object since it was last accepted.
	edited   bool
	interval time.Duration
}

// write sends the difference, if there is one and its time has come.
func (c *Controller) write(ctx context.Context, node *mirror.Node, registry *rollcallv1alpha1.NodeRegistry, existing *rollcallv1alpha1.DiscoveredNode) (ctrl.Result, error) {
	d := &draft{node: node, existing: existing, want: project(node, registry, existing), found: visible, interval: interval(registry)}
	if existing == nil {
		result, _, err := c.send(ctx, d)
		return result, err
	}
	name := client.ObjectKeyFromObject(existing)
	d.found, d.edited = compare(existing, d.want), c.schedule.changed(name, existing.ResourceVersion)
	if node.Flapping && d.found != none && !d.edited && gistOf(&existing.Status).waits(gistOf(&d.want.Status)) {
		d.found = lazy
	}
	sharedWait := c.emitShared(registry, node, existing)
	if wait := c.unchanged(name, d); wait > 0 {
		c.gate.settle(name)
		return ctrl.Result{RequeueAfter: sooner(wait, sharedWait)}, nil
	}
	result, sent, err := c.send(ctx, d)
	if sent {
		result.RequeueAfter = sooner(result.RequeueAfter, c.emit(registry, existing, d.want))
	}
	result.RequeueAfter = sooner(result.RequeueAfter, sharedWait)
	return result, err
}

// unchanged returns how long an object may stay as it is; zero or less: it is to be written now.
func (c *Controller) unchanged(name types.NamespacedName, d *draft) time.Duration {
	if d.found == visible || d.found == described && d.edited {
		return 0
	}
	c.schedule.accept(name, d.existing.ResourceVersion)
	c.schedule.shows(name, d.node.Changed)
	if d.found == none {
		return c.schedule.written(name, d.interval, c.clock.Now())
	}
	return c.schedule.next(name, d.interval, c.clock.Now())
}

// send creates or updates an object, if it is time for it.
func (c *Controller) send(ctx context.Context, d *draft) (result ctrl.Result, sent bool, err error) {
	name, word := client.ObjectKeyFromObject(d.want), wordOf(d.want, d.node.Labels)
	w := &write{name: name, registry: client.ObjectKey{Namespace: d.node.Namespace, Name: d.node.Registry}, does: update}
	// What was written last is what is to be written: if that is not there, it is somebody's doing.
	w.repairs = d.found == visible && c.schedule.said(name) == word || d.found == described && d.edited
	push := func() error { return c.client.Update(ctx, d.want) }
	if d.existing == nil {
		w.does, push = create, func() error { return c.client.Create(ctx, d.want) }
	}
	w.send = func() (bool, error) {
		err := push()
		return wordOf(d.want, d.node.Labels) != word, err
	}
	out, err := c.gate.try(ctx, w)
	switch {
	case out.held, apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return ctrl.Result{RequeueAfter: out.again}, false, nil
	case err == nil:
		c.schedule.say(name, word)
	}
	result, wrong := c.after(d, err)
	result.RequeueAfter = sooner(result.RequeueAfter, out.again)
	return result, err == nil, wrong
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
func (c *Controller) after(d *draft, err error) (ctrl.Result, error) {
	name := client.ObjectKeyFromObject(d.want)
	switch {
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
		// The cache is behind. What it lacks is an event of its own, unless it is what was written here; else this is for one that was
		// merged into another.
		if c.schedule.behind(name, d.want.ResourceVersion) {
			return ctrl.Result{RequeueAfter: echo}, nil
		}
		return ctrl.Result{RequeueAfter: retry}, nil
	case err != nil:
		return ctrl.Result{}, err
	}
	c.schedule.accept(name, d.want.ResourceVersion)
	if c.schedule.shows(name, d.node.Changed) {
		c.metrics.NodeWritten(d.node)
	}
	return ctrl.Result{RequeueAfter: c.schedule.written(name, d.interval, c.clock.Now())}, nil
}
