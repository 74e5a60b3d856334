package endpointslice

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/plan"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/internal/outage"
	"github.com/rollcall-dev/rollcall/internal/todo"
)

// again is when to look at a Service again whose slices were changed by somebody else between the plan and the write.
const again = 10 * time.Millisecond

//+kubebuilder:rbac:groups="",resources=services,verbs=get;list;watch
//+kubebuilder:rbac:groups="",resources=services/status,verbs=patch
//+kubebuilder:rbac:groups="",resources=services/finalizers,verbs=update
//+kubebuilder:rbac:groups=rollcall.dev,resources=noderegistries,verbs=list;watch
//+kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=get;list;watch;create;update;delete

// Metrics records what the controller has done. Its methods do not block, and may be called from several goroutines at once.
type Metrics interface {
	// SliceWritten records that a slice in the namespace shows a change of a node of that time.
	SliceWritten(namespace string, changed time.Time)
}

// Controller writes the EndpointSlices of annotated Services.
type Controller struct {
	client client.Client
	// live reads from the API server itself, where the cache is not enough to go by.
	live     client.Reader
	nodes    Nodes
	cursor   *mirror.Cursor
	progress *Progress
	metrics  Metrics
	clock    clock.Clock
	states   *states
	queue    *todo.List
}

// New returns a Controller that writes the nodes with the client, whose reads come from the manager's cache. It takes what
// changes from the cursor, and tells how far it has come to progress.
func New(
	c client.Client, live client.Reader, nodes Nodes, cursor *mirror.Cursor, progress *Progress, metrics Metrics, clk clock.Clock,
) *Controller {
	return &Controller{
		client: c, live: live, nodes: nodes, cursor: cursor, progress: progress, metrics: metrics, clock: clk,
		states: newStates(), queue: todo.New(),
	}
}

// Reconcile brings the slices of one Service up to date.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	defer c.progress.end(req.NamespacedName, c.progress.begin(req.NamespacedName))
	return outage.Result(c.reconcile(ctx, req))
}

func (c *Controller) reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	service := &corev1.Service{}
	if err := c.client.Get(ctx, req.NamespacedName, service); apierrors.IsNotFound(err) {
		return c.release(ctx, req.NamespacedName, nil)
	} else if err != nil {
		return ctrl.Result{}, fmt.Errorf("get service: %w", err)
	}
	if !annotated(service) || unsupported(service) != nil {
		return c.release(ctx, req.NamespacedName, service)
	}
	st := c.states.get(req.NamespacedName)
	selector, err := parseSelector(service)
	if err != nil {
		c.states.pause(st)
		after, err := c.report(ctx, service, st, problem(rollcallv1alpha1.ReasonInvalidSelector, err))
		return ctrl.Result{RequeueAfter: after}, err
	}
	return c.sync(ctx, service, st, selector)
}

// sync writes what the slices of a Service lack.
func (c *Controller) sync(ctx context.Context, service *corev1.Service, st *state, selector labels.Selector) (ctrl.Result, error) {
	view := plan.NewView(service)
	w := &writer{Controller: c, service: client.ObjectKeyFromObject(service), state: st, uid: service.UID}
	todo := c.states.begin(st, selector, st.placement == nil || !st.placement.View().Equal(view))
	operations, err := w.plan(ctx, view, selector, todo)
	if err == nil {
		err = w.apply(ctx, creatable(service, operations))
	}
	switch {
	case err == nil && service.DeletionTimestamp == nil:
		return c.tell(ctx, service, st, selector, todo.full)
	case err == nil || terminating(err):
		// All of it is looked at again should it outlive this.
		st.placement = nil
		return ctrl.Result{}, nil
	}
	c.states.retry(st, todo)
	if errors.Is(err, errOutdated) {
		return ctrl.Result{RequeueAfter: again}, nil
	}
	if refused(err) {
		_, failed := c.report(ctx, service, st, problem(rollcallv1alpha1.ReasonWriteFailed, err))
		err = errors.Join(err, failed)
	}
	return ctrl.Result{}, err
}

// tell has the condition say how things are, now that all is written, and looks for the slices of others if it is time.
func (c *Controller) tell(ctx context.Context, service *corev1.Service, st *state, selector labels.Selector, full bool) (ctrl.Result, error) {
	if full {
		st.foreign.soon(c.clock.Now())
	}
	c.look(ctx, service, &st.foreign)
	r := st.placement.Report()
	around, err := c.surround(ctx, client.ObjectKeyFromObject(service), st, selector, full, r.Selected == 0)
	if err != nil {
		return ctrl.Result{}, err
	}
	next := st.foreign.due.Sub(c.clock.Now())
	after, err := c.report(ctx, service, st, compose(counts(service, &r), remarks(service, &r, around)))
	if after > 0 {
		next = min(next, after)
	}
	return ctrl.Result{RequeueAfter: max(next, again)}, err
}

// plan returns the writes that the work comes down to.
func (w *writer) plan(ctx context.Context, view *plan.View, selector labels.Selector, todo work) ([]plan.Operation, error) {
	nodes := plan.Nodes{Lookup: w.lookup(w.service.Namespace, selector, todo.latest), Changed: todo.changed}
	if !todo.full {
		return w.state.placement.Revise(nodes, w.state.slices), nil
	}
	found, err := w.lookFor(ctx, todo.vanished)
	if err != nil {
		return nil, err
	}
	var operations []plan.Operation
	selected := w.nodes.Select(w.service.Namespace, selector)
	w.state.placement, operations = plan.Build(view, append(todo.exist, found...), selected, nodes, w.state.slices)
	return operations, nil
}

// lookup returns the plan.Nodes.Lookup of a Service. What a node is now is known of those that changed: to read each from its Mirror
// would take the lock that the goroutine of the Watcher needs, for each Service. Whether the registry is settled is asked before the
// first of its nodes is read: if it is, a node's absence means something.
func (c *Controller) lookup(namespace string, selector labels.Selector, latest map[string]*mirror.Node) func(name string) (*mirror.Node, bool) {
	return func(name string) (*mirror.Node, bool) {
		node, known := latest[name]
		settled := (!known || node == nil || node.Remembered || node.Forgotten) && c.nodes.Settled(namespace, name)
		if !known {
			node = c.nodes.Node(namespace, name)
		}
		if node == nil {
			return nil, !settled
		}
		keep := (node.Remembered || node.Forgotten) && !settled
		switch {
		case !selector.Matches(labels.Set(node.Labels)):
			return nil, keep
		case node.Traffic() == mirror.TrafficNone:
			return node, keep
		}
		return node, false
	}
}
