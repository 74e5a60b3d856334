package v1alpha1_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// router keeps a routing table up to date: it reacts to the phases of nodes and to nothing else.
type router struct {
	actions chan string
}

// OnAdd is called for every node that there is at the start, and for every one that joins.
func (r *router) OnAdd(object any, _ bool) {
	r.react("", object.(*rollcallv1alpha1.DiscoveredNode))
}

// OnUpdate is called for every change, most of which bring nothing but a newer heartbeat.
func (r *router) OnUpdate(before, after any) {
	r.react(before.(*rollcallv1alpha1.DiscoveredNode).Status.Phase, after.(*rollcallv1alpha1.DiscoveredNode))
}

// OnDelete is called for every node that is gone: it unregistered, or expired some time ago.
func (r *router) OnDelete(object any) {
	if missed, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = missed.Obj
	}
	r.actions <- "forget " + object.(*rollcallv1alpha1.DiscoveredNode).Spec.NodeID
}

func (r *router) react(before rollcallv1alpha1.NodePhase, node *rollcallv1alpha1.DiscoveredNode) {
	if node.Status.Phase == before {
		return
	}
	switch node.Status.Phase {
	case rollcallv1alpha1.NodeReady:
		r.actions <- fmt.Sprintf("route to %s at %s:%d", node.Spec.NodeID, node.Spec.Addresses[0], node.Spec.Ports[0].Port)
	case rollcallv1alpha1.NodeDraining:
		r.actions <- "no new requests to " + node.Spec.NodeID
	case rollcallv1alpha1.NodeStale, rollcallv1alpha1.NodeExpired, rollcallv1alpha1.NodeInvalid:
		r.actions <- "no requests to " + node.Spec.NodeID
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A controller of your own watches DiscoveredNodes through an informer and reacts to their phase. Here a stand-in for
// Rollcall writes them.
func Example_informer() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rollcall := newStandIn(ctx)

	scheme := runtime.NewScheme()
	check(rollcallv1alpha1.AddToScheme(scheme))
	informers, err := cache.New(env.Config, cache.Options{
		Scheme:            scheme,
		DefaultNamespaces: map[string]cache.Config{rollcall.namespace: {}},
	})
	check(err)
	nodes, err := informers.GetInformer(ctx, &rollcallv1alpha1.DiscoveredNode{})
	check(err)
	router := &router{actions: make(chan string)}
	_, err = nodes.AddEventHandler(router)
	check(err)
	go func() { check(informers.Start(ctx)) }()

	for _, happens := range []func(){
		rollcall.join,
		func() { rollcall.beat("0.7"); rollcall.phase(rollcallv1alpha1.NodeStale) },
		func() { rollcall.phase(rollcallv1alpha1.NodeReady) },
		func() { rollcall.phase(rollcallv1alpha1.NodeDraining) },
		rollcall.leave,
	} {
		happens()
		select {
		case action := <-router.actions:
			fmt.Println(action)
		case <-ctx.Done():
			check(ctx.Err())
		}
	}
	// Output:
	// route to web-1 at 10.0.0.5:8080
	// no requests to web-1
	// route to web-1 at 10.0.0.5:8080
	// no new requests to web-1
	// forget web-1
}
