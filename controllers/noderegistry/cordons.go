package noderegistry

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// cordons brings into the Mirrors what people write to DiscoveredNodes: spec.cordoned. It outlives the object: a deletion is
// no uncordon of a node that there is, whoever deletes, and an object that a finalizer keeps is heard as any other. It is safe for concurrent use.
type cordons struct {
	store      *mirror.Store
	departures *Departures

	// mu makes seeding a Mirror one step: what is heard before is in the seed, what is heard after goes to the Mirror.
	mu sync.Mutex
	// fallen are objects that were deleted while their registry was gone and had no Mirror: after a change of the leader, the
	// garbage collector may be faster than the NodeRegistry that is created again.
	fallen map[types.NamespacedName]map[string]*rollcallv1alpha1.DiscoveredNode
}

func registryOf(dn *rollcallv1alpha1.DiscoveredNode) types.NamespacedName {
	return types.NamespacedName{Namespace: dn.Namespace, Name: dn.Spec.RegistryName}
}

// written takes in what an object says that exists.
func (c *cordons) written(dn *rollcallv1alpha1.DiscoveredNode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.fallen[registryOf(dn)], dn.Name)
	c.store.SetCordoned(dn.Namespace, dn.Name, dn.Spec.Cordoned)
}

// deleted takes in that an object is gone. The Mirror knows what it said; without one it is remembered while the
// NodeRegistry may come back, and deleted returns true.
func (c *cordons) deleted(dn *rollcallv1alpha1.DiscoveredNode) (remembered bool) {
	registry := registryOf(dn)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.store.ForgetCordon(dn.Namespace, dn.Name)
	if c.store.Mirror(registry) != nil || !c.departures.Present(registry) {
		return false
	}
	if c.fallen == nil {
		c.fallen = map[types.NamespacedName]map[string]*rollcallv1alpha1.DiscoveredNode{}
	}
	if c.fallen[registry] == nil {
		c.fallen[registry] = map[string]*rollcallv1alpha1.DiscoveredNode{}
	}
	c.fallen[registry][dn.Name] = dn
	return true
}

// seed calls add with the objects of a registry that list returns and those that were deleted before.
func (c *cordons) seed(registry types.NamespacedName, list func() ([]*rollcallv1alpha1.DiscoveredNode, error), add func([]*rollcallv1alpha1.DiscoveredNode)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	nodes, err := list()
	if err != nil {
		return err
	}
	for _, dn := range nodes {
		delete(c.fallen[registry], dn.Name)
	}
	for _, dn := range c.fallen[registry] {
		nodes = append(nodes, dn)
	}
	delete(c.fallen, registry)
	add(nodes)
	return nil
}

// forget forgets a registry that does not come back.
func (c *cordons) forget(registry types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.fallen, registry)
}

type (
	requests   = workqueue.TypedRateLimitingInterface[reconcile.Request]
	nodeEvents = handler.TypedFuncs[*rollcallv1alpha1.DiscoveredNode, reconcile.Request]
)

// events returns the handler of the DiscoveredNodes' watch. It enqueues the registry of an object that is remembered, so
// that it is forgotten in time.
func (c *cordons) events() nodeEvents {
	return nodeEvents{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*rollcallv1alpha1.DiscoveredNode], _ requests) {
			c.written(e.Object)
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[*rollcallv1alpha1.DiscoveredNode], _ requests) {
			c.written(e.ObjectNew)
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[*rollcallv1alpha1.DiscoveredNode], q requests) {
			if c.deleted(e.Object) {
				q.Add(reconcile.Request{NamespacedName: registryOf(e.Object)})
			}
		},
	}
}
