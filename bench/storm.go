package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// stormSize is how many nodes change at once, and stormRuns how often they do.
	stormSize = 1000
	stormRuns = 5
	// bareStorm is the Service of the floor's slices.
	bareStorm = "bare-storm"
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
	var figures []*figure
	for _, f := range []*fleet{small, f} {
		s := &storm{rig: g, view: v, fleet: f}
		measured, err := s.measure(ctx)
		if err != nil {
			return nil, err
		}
		figures = append(figures, measured)
	}
	return figures, nil
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
}

func (s *storm) measure(ctx context.Context) (*figure, error) {
	nodes := s.nodes()
	took := &figure{
		name: fmt.Sprintf("%d of %d nodes of a Service change at once → last seen", len(nodes), s.fleet.size),
		unit: milliseconds, by: ratio, target: atMost(2),
		floor: "loop that writes the final slices, 8 at a time, until a watch has seen the last",
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
		took.add(sample{ours: inMilliseconds(ours), floor: inMilliseconds(floor)})
	}
	return took, nil
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
	want := map[string]string{}
	for _, n := range nodes {
		s.fleet.moves[n]++
		want[s.fleet.name(n)] = address(n, s.fleet.moves[n])
	}
	seen := s.view.expect(func(v *view) bool {
		for name, address := range want {
			if v.services[s.fleet.service][name].address != address {
				return false
			}
		}
		return true
	})
	messages, err := s.fleet.messages(nodes...)
	if err != nil {
		return 0, 0, err
	}
	took, err = timed(ctx, seen, func() error { return s.fleet.publish(ctx, messages) })
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	var names []string
	for name := range want {
		names = append(names, s.view.services[s.fleet.service][name].slice)
	}
	slices.Sort(names)
	return took, len(slices.Compact(names)), err
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
			if v.services[bareStorm][e.TargetRef.Name].address != e.Addresses[0] {
				return false
			}
		}
		return true
	})
	return timed(ctx, seen, func() error {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(sliceWriters)
		for _, slice := range final {
			group.Go(func() error {
				_, err := client.Update(ctx, slice, metav1.UpdateOptions{})
				return err
			})
		}
		return group.Wait()
	})
}

// turn returns moves that no slice of the floor has had, for each fleet its own.
func (s *storm) turn(moves int) int {
	if s.fleet == s.rig.fleet {
		return stormRuns + moves
	}
	return moves
}
