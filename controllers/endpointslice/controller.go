package endpointslice

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/plan"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/internal/outage"
	"github.com/rollcall-dev/rollcall/internal/todo"
)

// again is when to look at a Service again whose slices were changed by somebody else between the plan and the write.
const again = 10 * time.Millisecond

// crowded is when to look at a Service again of whose namespace too many others get no answer.
const crowded = time.Second

//+kubebuilder:rbac:groups="",resources=services,verbs=get;list;watch
//+kubebuilder:rbac:groups="",resources=services/status,verbs=patch
//+kubebuilder:rbac:groups="",resources=services/finalizers,verbs=update
//+kubebuilder:rbac:groups=rollcall.dev,resources=noderegistries,verbs=list;watch
//+kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
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
	turns    *turns
	queue    *todo.List
	options  Options
}

// Options are the rest of what a Controller needs.
type Options struct {
	// FieldOwner is the field manager under which it writes.
	FieldOwner string
	// Recorder records its Events.
	Recorder events.EventRecorder
	// Disputes gets to know which Services somebody else writes as well.
	Disputes *Disputes
}

// New returns a Controller that writes the nodes with the client, whose reads come from the manager's cache. It takes what
// changes from the cursor, and tells how far it has come to progress.
func New(
	c client.Client, live client.Reader, nodes Nodes, cursor *mirror.Cursor, progress *Progress, metrics Metrics, clk clock.Clock,
	o Options,
) *Controller {
	return &Controller{
		client: c, live: live, nodes: nodes, cursor: cursor, progress: progress, metrics: metrics, clock: clk,
		states: newStates(), turns: newTurns(clk), queue: todo.New(), options: o,
	}
}

// Reconcile brings the slices of one Service up to date.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	last := c.progress.begin(req.NamespacedName)
	shown := func() { c.progress.end(req.NamespacedName, last) }
	defer shown()
	end, err := c.turns.take(ctx, req.Namespace, shown)
	if err != nil {
		return ctrl.Result{}, err
	}
	if end == nil {
		return ctrl.Result{RequeueAfter: crowded}, nil
	}
	defer end()
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
		c.stop(req.NamespacedName, st)
		after, err := c.report(ctx, service, st, problem(rollcallv1alpha1.ReasonInvalidSelector, err))
		return ctrl.Result{RequeueAfter: after}, err
	}
	return c.sync(ctx, service, st, selector)
}

// sync writes what the slices of a Service lack.
func (c *Controller) sync(ctx context.Context, service *corev1.Service, st *state, selector labels.Selector) (ctrl.Result, error) {
	w := c.writer(client.ObjectKeyFromObject(service), service, st)
	plain := plan.NewView(service)
	view := plain.Without(st.aside.Without())
	todo := c.states.begin(st, selector, st.placement == nil || !st.placement.View().Equal(view))
	st.aside.Begin(c.clock.Now(), st.tried.differs(plain, service) || todo.settled)
	operations, err := w.plan(ctx, view, selector, todo)
	var rest time.Duration
	if err == nil {
		operations, rest = w.schedule(view, creatable(service, operations), todo.full)
		err = w.apply(ctx, operations)
	}
	switch {
	case err == nil && service.DeletionTimestamp == nil:
		return c.written(ctx, service, st, selector, todo.full, rest)
	case err == nil:
		// All of it is looked at again should it outlive this.
		st.placement = nil
		return ctrl.Result{RequeueAfter: sooner(rest, st.aside.End())}, nil
	case terminating(err):
		st.placement = nil
		return ctrl.Result{}, nil
	}
	c.states.retry(st, todo)
	return c.failed(ctx, service, st, err)
}

// stop makes the Service hear of no nodes any more.
func (c *Controller) stop(name types.NamespacedName, st *state) {
	c.states.pause(st)
	st.contest = contest{}
	c.options.Disputes.Forget(name)
}

// failed ends a reconcile that could not write all, for another reason than what is in it.
func (c *Controller) failed(ctx context.Context, service *corev1.Service, st *state, err error) (ctrl.Result, error) {
	if errors.Is(err, errOutdated) {
		return ctrl.Result{RequeueAfter: again}, nil
	}
	if !outage.Unanswered(err) && !outage.Unserved(err) && ctx.Err() == nil {
		_, failed := c.report(ctx, service, st, problem(rollcallv1alpha1.ReasonWriteFailed, err))
		err = errors.Join(err, failed)
	}
	return ctrl.Result{}, err
}

// schedule returns which of the operations may be carried out now, and after how long to look again at the others; zero: there are none.
func (w *writer) schedule(view *plan.View, operations []plan.Operation, full bool) ([]plan.Operation, time.Duration) {
	st := w.state
	if !full || st.view == nil || !st.view.Equal(view) || !st.slices.contested() {
		return operations, 0
	}
	s := st.contest.schedule(operations, st.slices.snapshot(), st.aside.Refuses, w.options.FieldOwner, w.clock.Now())
	writing := map[string]bool{}
	for _, op := range s.now {
		writing[op.Slice.Name] = true
	}
	st.slices.intend(s.held, writing)
	for name := range s.partial {
		st.slices.writingPart(name)
	}
	return s.now, s.rest
}

// written says what there is to say once all was written that may be and that the API server takes, and looks again after the rest,
// unless that is zero.
func (c *Controller) written(
	ctx context.Context, service *corev1.Service, st *state, selector labels.Selector, full bool, rest time.Duration,
) (ctrl.Result, error) {
	if rest == 0 {
		st.slices.settle()
		st.view = st.placement.View()
	}
	waits := rest > 0
	if waits || st.aside.Any() {
		c.states.retry(st, work{}) // The slices are not as they were planned.
	}
	rest = sooner(rest, st.aside.End())
	var unwritten []remark
	if r := refusals(st.aside.Summary()); r != nil {
		unwritten = append(unwritten, *r)
	}
	if text := c.contested(service, st, selector); text != "" {
		unwritten = append(unwritten, remark{metav1.ConditionFalse, rollcallv1alpha1.ReasonChangedBack, text})
		rest = sooner(rest, st.contest.fight.Left(c.clock.Now()))
	}
	if waits && len(unwritten) == 0 {
		return ctrl.Result{RequeueAfter: rest}, nil // It is about to be written.
	}
	next, err := c.tell(ctx, service, st, selector, full, unwritten)
	return ctrl.Result{RequeueAfter: sooner(rest, next)}, err
}

// tell has the condition say how things are, now that all is written but for what is said to be unwritten, and looks for the slices of
// others if it is time. It returns when to do so again.
func (c *Controller) tell(
	ctx context.Context, service *corev1.Service, st *state, selector labels.Selector, full bool, unwritten []remark,
) (next time.Duration, err error) {
	if full && len(unwritten) == 0 { // Else each pass is a full one.
		st.foreign.soon(c.clock.Now())
	}
	c.look(ctx, service, &st.foreign)
	r := st.placement.Report()
	around, err := c.surround(ctx, client.ObjectKeyFromObject(service), st, selector, full, r.Selected == 0)
	if err != nil {
		return 0, err
	}
	next = st.foreign.due.Sub(c.clock.Now())
	if r.Selected == 0 {
		next = min(next, textPause) // Which nodes and registries there are instead no event tells.
	}
	told := compose(counts(service, &r, st.aside.Summary().Refused), append(unwritten, remarks(service, &r, around)...))
	after, err := c.report(ctx, service, st, told)
	if after > 0 {
		next = min(next, after)
	}
	return max(next, again), err
}

// contested returns what to say of those who change the slices back; empty if nobody does. It tells the NodeRegistries, and makes an
// Event of what was not said before.
func (c *Controller) contested(service *corev1.Service, st *state, selector labels.Selector) string {
	remark := st.contest.remark(c.options.FieldOwner, c.clock.Now())
	if remark == st.contest.told {
		return remark
	}
	st.contest.told = remark
	name := client.ObjectKeyFromObject(service)
	if remark == "" {
		c.options.Disputes.Forget(name)
		return ""
	}
	registries := sets.New[string]()
	for node := range c.nodes.Select(service.Namespace, selector) {
		registries.Insert(node.Registry)
	}
	c.options.Disputes.Tell(name, registries, remark)
	regarding := service.DeepCopy()
	regarding.ResourceVersion = "" // What comes again is one Event that is counted.
	c.options.Recorder.Eventf(regarding, nil, corev1.EventTypeWarning, rollcallv1alpha1.ReasonChangedBack, "Write", "%s", record.Note(remark))
	return remark
}

// sooner returns the lesser of two durations that is above zero.
func sooner(a, b time.Duration) time.Duration {
	if a <= 0 || b > 0 && b < a {
		return b
	}
	return a
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
	// Asked before the nodes are read: of a registry that is settled, what is not among them is not there.
	nodes.Unsettled = w.nodes.Unsettled(w.service.Namespace, selector)
	selected := w.nodes.Select(w.service.Namespace, selector)
	w.state.placement, operations = plan.Build(view, w.state.placement, append(todo.exist, found...), selected, nodes, w.state.slices)
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
