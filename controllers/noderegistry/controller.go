package noderegistry

import (
	"context"
	"net/netip"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	watch "sigs.k8s.io/controller-runtime/pkg/source"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/natsconn"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/internal/outage"
	"github.com/rollcall-dev/rollcall/internal/todo"
)

//+kubebuilder:rbac:groups=rollcall.dev,resources=noderegistries,verbs=list;watch;patch
//+kubebuilder:rbac:groups=rollcall.dev,resources=noderegistries/status,verbs=patch
//+kubebuilder:rbac:groups=rollcall.dev,resources=discoverednodes,verbs=list;watch
//+kubebuilder:rbac:groups="",resources=services,verbs=list;watch
//+kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// pace is the least time between two writes of one status that only counts nodes anew.
const pace = 2 * time.Second

// textPace is the same for a status that says the same in other words.
const textPace = 10 * time.Second

// Options are what is the same for every registry.
type Options struct {
	// Cluster is the name of this cluster, by which it knows its own entries.
	Cluster string
	// Refused are addresses that no node may have: the API server's own.
	Refused []netip.Addr
	// Denied are addresses that no node may have because the manager's flags say so.
	Denied []netip.Prefix
	// View tells of the DiscoveredNodes; nil: nobody does.
	View View
	// Disputes counts the Services that somebody else writes as well; nil: nobody does.
	Disputes Disputes
	// Follower sees the buckets beside the Mirrors; nil: nobody does.
	Follower Follower
	// Connections has the connections to NATS.
	Connections *natsconn.Pool
}

// View tells of the DiscoveredNodes of a registry. Its methods must not block.
type View interface {
	// Problems counts the nodes that a person should look at, and those of them that have no DiscoveredNode; ok is false if all nodes
	// have one.
	Problems(registry types.NamespacedName) (problems, notShown int, ok bool)
	// Refused says what the API server does not let be written; empty: nothing.
	Refused(registry types.NamespacedName) string
	// Disputed says what somebody changes back of what was written; empty: nothing.
	Disputed(registry types.NamespacedName) string
}

// Disputes counts the Services with nodes of a registry whose EndpointSlices somebody else changes back, names one of them, and says
// what its condition says. It must not block.
type Disputes interface {
	Contested(registry types.NamespacedName) (services int, example, remark string)
}

// Controller keeps one session and one Mirror per NodeRegistry.
type Controller struct {
	client     client.Client
	recorder   events.EventRecorder
	store      *mirror.Store
	departures *Departures
	clock      clock.Clock
	options    Options
	queue      *todo.List
	sessions   sessions
	cordons    cordons
	written    writeTimes
	mappings   record.Cache
	answers    answers
}

// New returns a Controller. The client must read from a cache.
func New(c client.Client, recorder events.EventRecorder, store *mirror.Store, departures *Departures, clk clock.Clock, o Options) *Controller {
	controller := &Controller{client: c, recorder: recorder, store: store, departures: departures, clock: clk, options: o, queue: store.States()}
	controller.cordons.store, controller.cordons.departures = store, departures
	controller.sessions.clock, controller.sessions.pool = clk, o.Connections
	controller.sessions.changed = func(name types.NamespacedName) { controller.queue.Add(name) }
	controller.sessions.follower = o.Follower
	return controller
}

// SetupWithManager adds the controller to the manager. Its sessions end with the manager.
func (c *Controller) SetupWithManager(mgr ctrl.Manager) error {
	c.sessions.log = mgr.GetLogger().WithName("session")
	if err := mgr.Add(&c.sessions); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("noderegistry").
		For(&rollcallv1alpha1.NodeRegistry{}).
		WatchesRawSource(watch.Kind(mgr.GetCache(), &rollcallv1alpha1.DiscoveredNode{}, c.cordons.events())).
		WatchesRawSource(c.queue).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: 4,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](5*time.Millisecond, time.Second),
		}).
		Complete(c)
}

// Reconcile makes a registry's session what its spec asks for, and its status what the session and the Mirror say.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	return outage.Result(c.reconcile(ctx, req))
}

func (c *Controller) reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	registry := &rollcallv1alpha1.NodeRegistry{}
	err := c.client.Get(ctx, req.NamespacedName, registry)
	switch {
	case apierrors.IsNotFound(err), err == nil && !registry.DeletionTimestamp.IsZero():
		return c.depart(ctx, req.NamespacedName)
	case err != nil:
		return ctrl.Result{}, err
	}
	c.departures.back(req.NamespacedName)
	inForce, invalid := c.mappings.Mapping(req.NamespacedName, registry.Spec.Record)
	idle := registry.Spec.Suspend || inForce == nil
	if idle {
		// Before the Mirror gets its policy: without a mapping nothing may be read.
		c.sessions.stop(req.NamespacedName)
	}
	read := readBy(registry, inForce)
	m, err := c.mirror(ctx, read, inForce)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !idle {
		c.sessions.ensure(req.NamespacedName, planOf(read), m)
	}
	if err := c.acceptExpiry(ctx, registry, m); err != nil {
		return ctrl.Result{}, err
	}
	return c.writeStatus(ctx, registry, m, recordFault{err: invalid, survived: inForce != nil})
}

// readBy returns the registry with the spec.record that is in force: an edit of it that does not compile changes nothing,
// while the rest of the edit takes effect.
func readBy(registry *rollcallv1alpha1.NodeRegistry, inForce *record.Mapping) *rollcallv1alpha1.NodeRegistry {
	if inForce == nil || inForce.Spec == registry.Spec.Record {
		return registry
	}
	read := registry.DeepCopy()
	read.Spec.Record = inForce.Spec
	return read
}

// mirror returns the registry's Mirror with its policy in force; a new one is seeded with what was last written down.
func (c *Controller) mirror(ctx context.Context, registry *rollcallv1alpha1.NodeRegistry, mapping *record.Mapping) (*mirror.Mirror, error) {
	name := client.ObjectKeyFromObject(registry)
	policy := policyOf(registry, mapping, c.options)
	if m := c.store.Mirror(name); m != nil {
		m.SetPolicy(policy)
		return m, nil
	}
	var m *mirror.Mirror
	err := c.cordons.seed(name, func() ([]*rollcallv1alpha1.DiscoveredNode, error) { return c.nodesOf(ctx, name) },
		func(nodes []*rollcallv1alpha1.DiscoveredNode) {
			m = c.store.Add(name, policy, heldOf(registry.Status.Held), nodes)
		})
	return m, err
}

// nodesOf returns the DiscoveredNodes of a registry.
func (c *Controller) nodesOf(ctx context.Context, name types.NamespacedName) ([]*rollcallv1alpha1.DiscoveredNode, error) {
	list := &rollcallv1alpha1.DiscoveredNodeList{}
	if err := c.client.List(ctx, list, client.InNamespace(name.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	var nodes []*rollcallv1alpha1.DiscoveredNode
	for i := range list.Items {
		if list.Items[i].Spec.RegistryName == name.Name {
			nodes = append(nodes, &list.Items[i])
		}
	}
	return nodes, nil
}
