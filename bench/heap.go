package main

import (
	"context"
	"fmt"
)

// heaps starts a manager and a bare cache over an empty namespace, and returns what is in their heaps.
func (g *rig) heaps(ctx context.Context, namespace string) (sample, error) {
	if err := g.namespace(ctx, namespace); err != nil {
		return sample{}, err
	}
	m, err := g.startManager(ctx, namespace)
	if err != nil {
		return sample{}, err
	}
	if err := m.idle(ctx); err != nil {
		return sample{}, err
	}
	s, err := g.heapsBeside(ctx, m, namespace)
	if err != nil {
		return sample{}, err
	}
	return s, m.stop()
}

// heapsBeside returns what is in the heap of a manager that is idle, and in that of a bare cache over its namespace.
func (g *rig) heapsBeside(ctx context.Context, m *process, namespace string) (sample, error) {
	ours, err := m.settled(ctx)
	if err != nil {
		return sample{}, err
	}
	cache, err := g.spawn(ctx, childCache, "-kubeconfig", g.kubeconfig, "-namespace", namespace)
	if err != nil {
		return sample{}, err
	}
	floor, err := cache.settled(ctx)
	if err != nil {
		return sample{}, err
	}
	return sample{ours: float64(ours.Heap), floor: float64(floor.Heap)}, cache.stop()
}

// measureHeap adds to the figure what the manager and the cache need for each node, once every node has heartbeated.
func (c *cold) measureHeap(ctx context.Context, g *rig, empty sample) error {
	if err := g.manager.sees(ctx, g.nodes, func() error { return g.fleet.beatAll(ctx) }); err != nil {
		return err
	}
	if err := g.manager.idle(ctx); err != nil {
		return err
	}
	full, err := g.heapsBeside(ctx, g.manager, g.fleet.namespace)
	if err != nil {
		return err
	}
	each := func(full, empty float64) float64 { return (full - empty) / float64(g.nodes) / 1024 }
	c.heap.add(sample{ours: each(full.ours, empty.ours), floor: each(full.floor, empty.floor)})
	return nil
}

// sees waits until a manager has taken in so many puts that f writes.
func (p *process) sees(ctx context.Context, count int, f func() error) error {
	seen := func(ctx context.Context) (float64, error) {
		m, err := p.metrics(ctx)
		return m.sum("rollcall_watch_events_total", label{"operation", "Put"}), err
	}
	before, err := seen(ctx)
	if err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	return until(ctx, fmt.Sprintf("the manager to see %d entries", count), func(ctx context.Context) (bool, error) {
		now, err := seen(ctx)
		return now-before >= float64(count), err
	})
}
