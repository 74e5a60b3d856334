package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// stormSize is how many nodes change at once, and stormRuns how often they do.
	stormSize = 1000
	stormRuns = 5
	// bareStorm is the Service of the slices of the floor that needs no bucket, watchedStorm that of the floor that watches one.
	bareStorm    = "bare-storm"
	watchedStorm = "watched-storm"
)

// storms measures how long it takes until the last of many changes at once is seen: of as many nodes as change, and of the
// whole fleet, in all of whose slices some change.
func storms(ctx context.Context, g *rig) ([]*figure, error) {
	f, v, err := g.watched(ctx)
	if err != nil {
		return nil, err
	}
	defer v.close()
	small, err := g.newFleet(ctx, f.namespace, "small", "small", min(stormSize, f.size))
	if err != nil {
		return nil, err
	}
	if err := small.serve(ctx, g); err != nil {
		return nil, err
	}
	if err := small.mirror(ctx, g); err != nil {
		return nil, err
	}
	if err := g.createStorm(ctx, f); err != nil {
		return nil, err
	}
	watched, err := g.watchedStorm(ctx, v, small)
	if err != nil {
		return nil, err
	}
	some, err := (&storm{rig: g, view: v, fleet: small, watched: watched, target: 3}).measure(ctx)
	if err != nil {
		return nil, err
	}
	whole, err := (&storm{rig: g, view: v, fleet: f, target: 2}).measure(ctx)
	return append(some, whole...), errors.Join(err, watched.child.stop())
}

// createStorm creates as many bare slices as the largest storm touches.
func (g *rig) createStorm(ctx context.Context, f *fleet) error {
	for n := range f.size / perSlice {
		if _, err := g.kube.DiscoveryV1().EndpointSlices(f.namespace).Create(ctx, bareSlice(bareStorm, n, 0), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// storm is a storm over one fleet.
type storm struct {
	*rig
	view  *view
	fleet *fleet
	// target is how many times as long as the loop it may take, watched the floor with a bucket; nil: there is none.
	target  float64
	watched *watchedFloor
}

// figures returns the figure against the loop, and that against the floor with a bucket if there is one.
func (s *storm) figures(nodes int) (loop, watched *figure) {
	name := fmt.Sprintf("%d of %d nodes of a Service change at once → last seen", nodes, s.fleet.size)
	loop = &figure{
		name: name, unit: milliseconds, by: ratio, target: atMost(s.target),
		floor: "loop that writes the final slices, 8 at a time, until a watch has seen the last",
	}
	if s.watched != nil {
		watched = &figure{
			name: name + ", against a KeyWatcher", unit: milliseconds, by: ratio, target: atMost(1.5),
			floor: "KeyWatcher of the same puts until the last is in, decode, then that loop",
		}
	}
	return loop, watched
}

func (s *storm) measure(ctx context.Context) ([]*figure, error) {
	nodes := s.nodes()
	loop, watched := s.figures(len(nodes))
	figures := []*figure{loop}
	if watched != nil {
		figures = append(figures, watched)
	}
	if err := s.fleet.shown(ctx, s.view); err != nil {
		return nil, err
	}
	if err := s.manager.idle(ctx); err != nil {
		return nil, err
	}
	for run := range stormRuns {
		ours, touched, err := s.strike(ctx, nodes)
		if err != nil {
			return nil, err
		}
		if err := s.manager.idle(ctx); err != nil {
			return nil, err
		}
		floor, err := s.bare(ctx, touched, run+1)
		if err != nil {
			return nil, err
		}
		loop.add(sample{ours: inMilliseconds(ours), floor: inMilliseconds(floor)})
		if watched == nil {
			continue
		}
		if floor, err = s.watched.strike(ctx, s.view, nodes); err != nil {
			return nil, err
		}
		watched.add(sample{ours: inMilliseconds(ours), floor: inMilliseconds(floor)})
	}
	return figures, nil
}

// nodes returns those that change: evenly over the fleet, and in no order, as nobody tells them whose turn it is.
func (s *storm) nodes() []int {
	count := min(stormSize, s.fleet.size)
	nodes := rand.Perm(count)
	for i := range nodes {
		nodes[i] = nodes[i] * s.fleet.size / count
	}
	return nodes
}

// strike lets the nodes move at once. It returns how long it took until the last was seen, and how many slices they are in.
func (s *storm) strike(ctx context.Context, nodes []int) (took time.Duration, touched int, err error) {
	took, err = s.fleet.moveAll(ctx, s.view, nodes)
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	var names []string
	for _, n := range nodes {
		names = append(names, s.view.services[s.fleet.service][nodeID(n)].slice)
	}
	slices.Sort(names)
	return took, len(slices.Compact(names)), err
}

// moveAll lets the nodes move at once, and returns how long it took until the last was seen.
func (f *fleet) moveAll(ctx context.Context, v *view, nodes []int) (time.Duration, error) {
	want := map[string]string{}
	for _, n := range nodes {
		f.moves[n]++
		want[nodeID(n)] = address(n, f.moves[n])
	}
	seen := v.expect(func(v *view) bool {
		for name, address := range want {
			if v.services[f.service][name].address != address {
				return false
			}
		}
		return true
	})
	messages, err := f.messages(nodes...)
	if err != nil {
		return 0, err
	}
	return timed(ctx, seen, func() error { return f.publish(ctx, messages) })
}

// watchedFloor is a bucket and the slices that a process writes once a KeyWatcher has shown it as many puts as the storm has.
type watchedFloor struct {
	*fleet
	child *process
}

// watchedStorm starts the floor of a storm over a fleet of that size.
func (g *rig) watchedStorm(ctx context.Context, v *view, f *fleet) (*watchedFloor, error) {
	bare := &fleet{js: g.js, namespace: f.namespace, bucket: f.namespace + "-" + watchedStorm, service: watchedStorm, size: f.size, moves: make([]int, f.size)}
	if _, err := g.newBucket(ctx, bare.bucket); err != nil {
		return nil, err
	}
	if err := bare.beatAll(ctx); err != nil {
		return nil, err
	}
	child, err := g.spawn(ctx, childStorm, "-nats", g.natsURL(), "-bucket", bare.bucket, "-kubeconfig", g.kubeconfig,
		"-namespace", bare.namespace, "-puts", strconv.Itoa(bare.size))
	if err != nil {
		return nil, err
	}
	return &watchedFloor{bare, child}, bare.shown(ctx, v)
}

// strike lets the nodes of the floor move at once, and returns how long it took until the last was seen.
func (w *watchedFloor) strike(ctx context.Context, v *view, nodes []int) (time.Duration, error) {
	return w.moveAll(ctx, v, nodes)
}

// bare writes so many slices in a loop, and returns how long it took until the last was seen.
func (s *storm) bare(ctx context.Context, count, moves int) (time.Duration, error) {
	client := s.kube.DiscoveryV1().EndpointSlices(s.fleet.namespace)
	final := make([]*discoveryv1.EndpointSlice, 0, count)
	for n := range count {
		slice, err := client.Get(ctx, bareSlice(bareStorm, n, 0).Name, metav1.GetOptions{})
		if err != nil {
			return 0, err
		}
		slice.Endpoints = bareSlice(bareStorm, n, s.turn(moves)).Endpoints
		final = append(final, slice)
	}
	seen := s.view.expect(func(v *view) bool {
		for _, slice := range final {
			e := &slice.Endpoints[0]
			if v.services[bareStorm][*e.Hostname].address != e.Addresses[0] {
				return false
			}
		}
		return true
	})
	return timed(ctx, seen, func() error { return updateAll(ctx, client, final) })
}

// turn returns moves that no slice of the floor has had, for each fleet its own.
func (s *storm) turn(moves int) int {
	if s.fleet == s.rig.fleet {
		return stormRuns + moves
	}
	return moves
}
