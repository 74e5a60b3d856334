package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"runtime"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/rollcall-dev/rollcall/controllers/discoverednode"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

var (
	simulatedRegistry = types.NamespacedName{Namespace: "fleet", Name: registryName}
	simulatedService  = types.NamespacedName{Namespace: "fleet", Name: serviceName}
)

// simulation is a Mirror with both projections, and an API server that only encodes and decodes.
type simulation struct {
	*mirror.Mirror
	child  *child
	slices *endpointslice.Controller
	nodes  *discoverednode.Controller
}

// unmeasured is what takes no measurements.
type unmeasured struct{}

// SliceWritten implements endpointslice.Metrics.
func (unmeasured) SliceWritten(string, time.Time) {}

// NodeWritten implements discoverednode.Metrics.
func (unmeasured) NodeWritten(*mirror.Node) {}

// runEvent takes in the events of a bucket, as the manager does. Seen counts those that it is done with.
func runEvent(ctx context.Context, args []string, c *child) error {
	flags := flag.NewFlagSet(childEvent, flag.ContinueOnError)
	url := flags.String("nats", "", "URL of the NATS server.")
	bucket := flags.String("bucket", "", "The bucket to watch.")
	size := flags.Int64("nodes", 0, "How many nodes there are to see before all is ready.")
	if err := flags.Parse(args); err != nil {
		return err
	}
	connection, err := nats.Connect(*url)
	if err != nil {
		return err
	}
	defer connection.Close()
	s := newSimulation(c)
	if err := s.project(ctx, *size); err != nil {
		return err
	}
	go s.Read(ctx)
	watcher, err := kv.NewWatcher(connection, kv.WatcherOptions{
		Bucket: *bucket, KeyPrefix: keyPrefix, Logger: slog.New(slog.DiscardHandler),
	}, s)
	if err != nil {
		return err
	}
	return watcher.Run(ctx)
}

func newSimulation(c *child) *simulation {
	clk := clock.RealClock{}
	store := mirror.NewStore(clk, func(types.NamespacedName) bool { return true })
	api, progress, measured := newMemory(), endpointslice.NewProgress(clk), unmeasured{}
	s := &simulation{
		child:  c,
		slices: endpointslice.New(api, api, store, store.Cursor(), progress, measured, clk, sliceOptions()),
		nodes:  discoverednode.New(&discoverednode.API{Client: api, Live: api}, &events.FakeRecorder{}, store, store.Cursor(), progress, measured, clk, discoverednode.Limits{}, store.States()),
	}
	s.Mirror = store.Add(simulatedRegistry, mirror.Policy{
		Record: record.Policy{KeyPrefix: keyPrefix, Labels: map[string]string{"role": "role"}},
	}, nil, nil)
	return s
}

// Entry implements kv.Sink. It waits until the message is read, so that every message is seen: the Mirror reads the last one of
// a key alone. What changes nothing is done with then.
func (s *simulation) Entry(e kv.Entry) {
	name := record.Name(simulatedRegistry.Name, strings.TrimPrefix(e.Key, keyPrefix))
	before := s.Node(name)
	s.Mirror.Entry(e)
	node := s.Node(name)
	for e.Operation == kv.Put && (node == nil || node.Revision < e.Revision) {
		runtime.Gosched()
		node = s.Node(name)
	}
	if before != nil && node != nil && node.Changed.Equal(before.Changed) {
		s.child.seen.Add(1)
	}
}

// project brings slices and DiscoveredNodes up to date with every change, as the manager does, and says when those of the whole
// fleet are.
func (s *simulation) project(ctx context.Context, size int64) error {
	shown := int64(0)
	done := func() {
		s.child.seen.Add(1)
		if shown++; shown >= size {
			s.child.ready.Store(true)
		}
	}
	return errors.Join(work(ctx, s.slices.Changes(), s.slices, func() {}), work(ctx, s.nodes.Changes(), s.nodes, done))
}

// work has what comes from the source reconciled, one object after the other.
func work(ctx context.Context, from source.Source, r reconcile.Reconciler, done func()) error {
	queue := newQueue(ctx)
	go handle(ctx, queue, r, done)
	return from.Start(ctx, queue)
}

// queue has objects to be reconciled.
type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

func newQueue(ctx context.Context) queue {
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	context.AfterFunc(ctx, q.ShutDown)
	return q
}

// handle has the objects of a queue reconciled, one after the other.
func handle(ctx context.Context, q queue, r reconcile.Reconciler, done func()) {
	for request, over := q.Get(); !over; request, over = q.Get() {
		result, err := r.Reconcile(ctx, request)
		if err != nil || result.RequeueAfter > 0 && result.RequeueAfter < time.Second {
			q.AddRateLimited(request)
		} else {
			done()
		}
		q.Done(request)
	}
}
