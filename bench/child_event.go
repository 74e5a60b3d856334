package main

import (
	"context"
	"flag"
	"log/slog"
	"runtime"
	"strings"

	"github.com/nats-io/nats.go"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

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
	// changed has what the projections have to look at.
	changed chan []mirror.Change
}

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
	go s.project(ctx, *size)
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
	api := newMemory()
	s := &simulation{
		child:  c,
		slices: endpointslice.New(api, store), nodes: discoverednode.New(api, &events.FakeRecorder{}, store, clk),
		changed: make(chan []mirror.Change, 2*moves.count),
	}
	store.OnNodes(s.slices.NodesChanged)
	store.OnNodes(s.nodes.NodesChanged)
	store.OnNodes(func(changes []mirror.Change) { s.changed <- changes })
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

// project brings slices and DiscoveredNodes up to date with every change, and says when those of the whole fleet are. Until
// then it takes what there is at once, as the manager's queue does.
func (s *simulation) project(ctx context.Context, size int64) {
	var shown int64
	for {
		changes, ok := s.next(ctx, shown < size)
		if !ok || s.reconcile(ctx, changes) != nil {
			return
		}
		s.child.seen.Add(int64(len(changes)))
		if shown += int64(len(changes)); shown >= size {
			s.child.ready.Store(true)
		}
	}
}

// next waits for a change, and returns with it all others that there are, if all is set; false once ctx has ended.
func (s *simulation) next(ctx context.Context, all bool) (changes []mirror.Change, ok bool) {
	select {
	case <-ctx.Done():
		return nil, false
	case changes = <-s.changed:
	}
	for all && len(s.changed) > 0 {
		changes = append(changes, <-s.changed...)
	}
	return changes, true
}

func (s *simulation) reconcile(ctx context.Context, changes []mirror.Change) error {
	for again := true; again; {
		result, err := s.slices.Reconcile(ctx, ctrl.Request{NamespacedName: simulatedService})
		if err != nil {
			return err
		}
		if again = result.RequeueAfter > 0; again {
			if err := pause(ctx, result.RequeueAfter); err != nil {
				return err
			}
		}
	}
	for _, change := range changes {
		if _, err := s.nodes.Reconcile(ctx, ctrl.Request{NamespacedName: change.Name()}); err != nil {
			return err
		}
	}
	return nil
}
