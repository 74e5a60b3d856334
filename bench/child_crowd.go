package main

import (
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/discovery/kv"
	"github.com/rollcall-dev/rollcall/internal/todo"
)

// crowdWorkers is how many Services are reconciled at once, as in the manager.
const crowdWorkers = 4

// crowd is many Services over the nodes of one registry, with an API server that only encodes and decodes.
type crowd struct {
	*mirror.Mirror
	memory   *memory
	moves    int
	revision uint64
	// nodes are as many as there are, services of as many each of them is in one, or in all.
	nodes, services int
	all             bool
}

// runCrowd brings the slices of many Services up to date with what changes. It is ready once they show all nodes.
func runCrowd(ctx context.Context, args []string, c *child) error {
	w := &crowd{}
	flags := flag.NewFlagSet(childCrowd, flag.ContinueOnError)
	flags.IntVar(&w.nodes, "nodes", 0, "How many nodes there are.")
	flags.IntVar(&w.services, "services", 0, "How many Services there are.")
	flags.BoolVar(&w.all, "all", false, "Each Service selects all nodes.")
	if err := flags.Parse(args); err != nil {
		return err
	}
	debug.SetMemoryLimit(goMemoryLimit)
	if err := w.start(ctx); err != nil {
		return err
	}
	c.mux.HandleFunc("/strike", func(rw http.ResponseWriter, r *http.Request) {
		s, err := w.strike(r.Context())
		if err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(rw).Encode(s)
	})
	if _, err := w.change(ctx, kv.CauseStart); err != nil {
		return err
	}
	c.ready.Store(true)
	<-ctx.Done()
	return nil
}

func crowdService(n int) types.NamespacedName {
	return types.NamespacedName{Namespace: simulatedRegistry.Namespace, Name: "service-" + strconv.Itoa(n)}
}

// start makes the Services, and the controller that looks after them.
func (w *crowd) start(ctx context.Context) error {
	clk := clock.RealClock{}
	w.memory = newMemory()
	store := mirror.NewStore(clk, func(types.NamespacedName) bool { return true })
	slices := endpointslice.New(w.memory, w.memory, store, store.Cursor(), endpointslice.NewProgress(clk), unmeasured{}, clk, sliceOptions())
	for n := range w.services {
		service := w.memory.service.DeepCopy()
		service.Name, service.UID = crowdService(n).Name, types.UID(crowdService(n).Name)
		selector := rollcallv1alpha1.LabelRegistry + "=" + registryName
		if !w.all {
			selector += ",role=" + crowdRole(n)
		}
		service.Annotations[rollcallv1alpha1.AnnotationNodeSelector] = selector
		w.memory.services[crowdService(n)] = service
	}
	w.Mirror = store.Add(simulatedRegistry, mirror.Policy{
		Record: record.Policy{KeyPrefix: keyPrefix, Labels: map[string]string{"role": "role"}},
	}, nil, nil)
	go w.Read(ctx)
	q := newQueue(ctx)
	for range crowdWorkers {
		go handle(ctx, q, slices, func() {})
	}
	for n := range w.services {
		q.Add(reconcile.Request{NamespacedName: crowdService(n)})
	}
	return slices.Changes().Start(ctx, q)
}

func crowdRole(n int) string { return "role-" + strconv.Itoa(n) }

// strike has all nodes change while the bucket is followed, and then between two listings. It returns for how long the goroutine
// that tells the Mirror of it was held at most.
func (w *crowd) strike(ctx context.Context) (s sampled, err error) {
	for _, cause := range []kv.Cause{"", kv.CauseReconnect} {
		one, err := w.change(ctx, cause)
		if err != nil {
			return s, err
		}
		s.Held, s.Loop = max(s.Held, one.Held), max(s.Loop, one.Loop)
	}
	return s, nil
}

// change gives all nodes other addresses, and waits until the slices show them; with a cause, a listing finds the changes. It
// returns how long the longest call took, and the longest of the loops over a map of the nodes that the same goroutine goes through
// meanwhile: it has to share the processors with the same work.
func (w *crowd) change(ctx context.Context, cause kv.Cause) (s sampled, err error) {
	w.moves++
	entries, err := w.entries()
	if err != nil {
		return s, err
	}
	all := map[string]*mirror.Node{}
	for _, n := range w.Nodes() {
		all[n.Name] = n
	}
	call := func(f func()) { s.Held = max(s.Held, took(f)) }
	if cause != "" {
		call(func() { w.Listing(cause) })
	}
	for i, e := range entries {
		if i%crowdBatch == 0 {
			call(func() { w.Arrived(time.Now()) })
			call(func() { w.Overdue() })
			s.Loop = max(s.Loop, took(func() { loop(all) }))
		}
		call(func() { w.Entry(e) })
	}
	if cause != "" {
		call(func() { w.Synced(kv.Bucket{TTL: ttl}) })
	}
	return s, w.await(ctx)
}

// took returns how long f takes.
func took(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

// crowdBatch is how many messages come at once.
const crowdBatch = 64

// entries returns the messages of all nodes.
func (w *crowd) entries() ([]kv.Entry, error) {
	entries := make([]kv.Entry, 0, w.nodes)
	for n := range w.nodes {
		node := recordOf(n, w.moves)
		node.Metadata["role"] = crowdRole(n % max(1, w.services))
		value, err := discovery.Encode(node)
		if err != nil {
			return nil, err
		}
		w.revision++
		entries = append(entries, kv.Entry{Key: keyPrefix + node.ID, Value: value, Revision: w.revision, Written: time.Now()})
	}
	return entries, nil
}

// await waits until the slices show all nodes as they are.
func (w *crowd) await(ctx context.Context) error {
	return until(ctx, "the slices to show all nodes", func(context.Context) (bool, error) {
		want := w.nodes
		if w.all {
			want *= w.services
		}
		return w.services == 0 || w.memory.shown(w.moves) >= want, nil
	})
}

// loop goes through a map of nodes as Mirror.Nodes does.
func loop(all map[string]*mirror.Node) []*mirror.Node {
	nodes := make([]*mirror.Node, 0, len(all))
	for _, n := range all {
		nodes = append(nodes, n)
	}
	return nodes
}

// sliceOptions are those of the manager, without Events.
func sliceOptions() endpointslice.Options {
	return endpointslice.Options{FieldOwner: rollcallv1alpha1.FieldOwner, Disputes: endpointslice.NewDisputes(todo.New())}
}
