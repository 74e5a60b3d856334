package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

const (
	// scaleLimit is the memory limit of the manager's container, in bytes, and scaleMemory the same in MiB.
	scaleMemory = 900
	scaleLimit  = scaleMemory << 20
	// scaleRate is how many heartbeats come in a second: each of 100,000 nodes one in ten seconds. scaleWindow is how long one run
	// of them lasts, which is long enough for the garbage to be collected more than once.
	scaleRate    = 10_000
	scaleWindow  = 15 * time.Second
	scaleWindows = 3
)

// scaled has the figures of one manager with a fleet as large as one can be, each node in one of several Services.
type scaled struct {
	slices, writes, resident, cpu *figure
}

func newScaled(nodes int) *scaled {
	n := fmt.Sprintf("%d nodes in %d Services: ", nodes, racks)
	return &scaled{
		slices: &figure{
			name: n + "bucket → all endpoints in slices", unit: milliseconds, by: ratio, target: atMost(2),
			floor: "KeyWatcher until all keys are in, decode, then create the same slices, 8 at a time, until a watch has seen them all",
		},
		writes: &figure{
			name: n + "slice writes", unit: writes, by: absolute, target: atMost(float64(nodes/perSlice + 2*racks)),
			floor: "nodes / 100 endpoints of a slice",
		},
		resident: &figure{
			name: n + "most memory resident", unit: mebibytes, by: absolute, target: atMost(scaleMemory),
			floor: "a process with a cache of the same objects and nothing else",
		},
		cpu: &figure{
			name: n + fmt.Sprintf("CPU of a heartbeat, of %d a second", scaleRate), unit: microseconds, by: ratio, target: atMost(1.5),
			floor: "a process with a KeyWatcher on the same bucket that decodes the same JSON at the same time",
		},
	}
}

// scale measures how a fleet that exists comes into an empty cluster, and then what it costs that it goes on heartbeating.
func scale(ctx context.Context, g *rig) (_ []*figure, err error) {
	s := newScaled(g.nodes)
	if err := g.namespace(ctx, "scale"); err != nil {
		return nil, err
	}
	if g.fleet, err = g.newFleet(ctx, "scale", registryName, serviceName, g.nodes); err != nil {
		return nil, err
	}
	for run := range g.runs {
		if g.manager != nil {
			if err := g.manager.stop(); err != nil {
				return nil, err
			}
		}
		if err := s.run(ctx, g, run); err != nil {
			return nil, err
		}
	}
	if err := s.beat(ctx, g); err != nil {
		return nil, err
	}
	return []*figure{s.slices, s.writes, s.resident, s.cpu}, nil
}

// run measures one cold start, and then the same with as little as it takes. The clock starts before the NodeRegistry is created.
func (s *scaled) run(ctx context.Context, g *rig, run int) (err error) {
	g.fleet.namespace = fmt.Sprintf("scale-%d", run)
	if err := g.namespace(ctx, g.fleet.namespace); err != nil {
		return err
	}
	if g.manager, err = g.startManager(ctx, g.fleet.namespace, "-memory", strconv.Itoa(scaleLimit)); err != nil {
		return err
	}
	for n := range racks {
		if err := g.fleet.serveSelected(ctx, g, rack(n), "rack="+rack(n)); err != nil {
			return err
		}
	}
	before, err := g.requests(ctx)
	if err != nil {
		return err
	}
	took, err := g.listLarge(ctx)
	if err != nil {
		return err
	}
	after, err := g.requests(ctx)
	if err != nil {
		return err
	}
	const resource = "endpointslices"
	s.writes.add(sample{ours: after[resource] - before[resource], floor: float64(g.nodes / perSlice)})
	floor, err := g.bareLarge(ctx, run)
	s.slices.add(sample{ours: inMilliseconds(took), floor: inMilliseconds(floor)})
	return err
}

// listLarge has the manager list the bucket, and returns how long it took until all endpoints were seen in slices. It returns once no
// slice is left to be written.
func (g *rig) listLarge(ctx context.Context) (time.Duration, error) {
	v, err := g.watchSlices(ctx, g.fleet.namespace)
	if err != nil {
		return 0, err
	}
	defer v.close()
	if err := g.manager.idle(ctx); err != nil {
		return 0, err
	}
	seen := v.expect(func(v *view) bool {
		for n := range racks {
			if !all(rack(n), g.nodes/racks)(v) {
				return false
			}
		}
		return true
	})
	took, err := timed(ctx, seen, func() error { return g.fleet.mirror(ctx, g, large(g.nodes)) })
	return took, errors.Join(err, g.manager.idle(ctx, "endpointslice"))
}

// large is the spec of a NodeRegistry of a fleet of that size, whose racks are labels.
func large(nodes int) func(*rollcallv1alpha1.NodeRegistrySpec) {
	return func(spec *rollcallv1alpha1.NodeRegistrySpec) {
		spec.MaxNodes = new(int32(nodes))
		spec.Labels["rack"] = "rack"
		spec.View = rollcallv1alpha1.ViewProblems
	}
}

// bareLarge measures the floor of a cold start.
func (g *rig) bareLarge(ctx context.Context, run int) (time.Duration, error) {
	namespace := fmt.Sprintf("bare-%d", run)
	if err := g.namespace(ctx, namespace); err != nil {
		return 0, err
	}
	return g.bareSlices(ctx, namespace)
}

// beat measures the CPU of heartbeats, and what memory the manager has had at most once they are over.
func (s *scaled) beat(ctx context.Context, g *rig) error {
	bare, err := g.spawn(ctx, childWatch, "-nats", g.natsURL(), "-bucket", g.fleet.bucket)
	if err != nil {
		return err
	}
	for range scaleWindows {
		cpu, _, err := cpuOf(ctx, g.fleet, g.manager, bare, scaleRate, scaleWindow)
		if err != nil {
			return err
		}
		each := func(took float64) float64 {
			return took / float64(time.Microsecond) / (scaleRate * scaleWindow.Seconds())
		}
		s.cpu.add(sample{ours: each(cpu.ours), floor: each(cpu.floor)})
	}
	return s.measureMemory(ctx, g)
}

func (s *scaled) measureMemory(ctx context.Context, g *rig) error {
	ours, err := g.manager.settled(ctx)
	if err != nil {
		return err
	}
	cache, err := g.spawn(ctx, childCache, "-kubeconfig", g.kubeconfig, "-namespace", g.fleet.namespace)
	if err != nil {
		return err
	}
	floor, err := cache.settled(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "bench: %d bytes of the heap a node\n", ours.Heap/uint64(g.nodes))
	s.resident.add(sample{ours: float64(ours.Peak) / (1 << 20), floor: float64(floor.Peak) / (1 << 20)})
	return cache.stop()
}
