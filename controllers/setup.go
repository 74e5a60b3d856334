package controllers

import (
	"context"
	"fmt"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	served "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/rollcall-dev/rollcall/controllers/discoverednode"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice"
	"github.com/rollcall-dev/rollcall/controllers/metrics"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/natsconn"
	"github.com/rollcall-dev/rollcall/controllers/noderegistry"
	"github.com/rollcall-dev/rollcall/controllers/podregistration"
	"github.com/rollcall-dev/rollcall/discovery/dial"
)

// component is what reports Events.
const component = "rollcall"

// Setup adds all controllers to the manager, and what they are measured by to the metrics that it serves. It is the only
// list of them. owner is the field manager of all that they write, servers says which NATS servers may be dialled, and limits how many
// DiscoveredNodes there are with the view Problems.
func Setup(mgr ctrl.Manager, owner string, measured *metrics.Metrics, servers *dial.Policy, limits discoverednode.Limits, o noderegistry.Options) error {
	clk := clock.RealClock{}
	reader, live, recorder := mgr.GetClient(), mgr.GetAPIReader(), mgr.GetEventRecorder(component)
	departures := noderegistry.NewDepartures(reader, clk)
	store := mirror.NewStore(clk, departures.Present)
	progress := endpointslice.NewProgress(clk)

	disputes := endpointslice.NewDisputes(store.States())

	slices := endpointslice.New(reader, live, store, store.Cursor(), progress, measured, clk, endpointslice.Options{
		FieldOwner: owner, Recorder: recorder, Disputes: disputes,
	})
	api := &discoverednode.API{Client: reader, Live: live, FieldOwner: owner}
	nodes := discoverednode.New(api, recorder, store, store.Cursor(), progress, measured, clk, limits, store.States())
	pods := podregistration.New(reader, recorder, measured, o.Cluster)
	o.Follower, o.View, o.Disputes = pods, nodes, disputes
	o.Connections = natsconn.NewPool(natsconn.Options{
		Reader: live, Clock: clk, Log: mgr.GetLogger().WithName("connection"), Policy: servers,
	})
	registries := noderegistry.New(reader, recorder, store, departures, clk, o)

	if err := measured.Register(served.Registry, store, registries, pods, nodes); err != nil {
		return fmt.Errorf("register the metrics: %w", err)
	}
	// Endpoints of a NodeRegistry that has been gone since before the start may be removed once it had its time to come back.
	if err := mgr.Add(manager.RunnableFunc(func(ctx context.Context) error { return departures.Await(ctx, store.Reconsider) })); err != nil {
		return fmt.Errorf("await the registries that are gone: %w", err)
	}
	for _, controller := range []interface{ SetupWithManager(ctrl.Manager) error }{slices, nodes, registries, pods} {
		if err := controller.SetupWithManager(mgr); err != nil {
			return fmt.Errorf("set up %T: %w", controller, err)
		}
	}
	return nil
}
