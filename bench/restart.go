package main

import (
	"context"
	"fmt"
	"time"
)

// afterRestart is for how long nothing may be written once the manager has looked at every node.
const afterRestart = 4 * time.Second

// restarts measures what a restart makes the API server take: the fleet has heartbeated meanwhile, and nothing else.
func restarts(ctx context.Context, g *rig) ([]*figure, error) {
	f, _, err := g.ready(ctx)
	if err != nil {
		return nil, err
	}
	cost := &figure{
		name: fmt.Sprintf("restart over %d unchanged nodes: API writes", f.size), unit: writes, by: absolute, target: atMost(0),
		floor: "nothing that anybody acts on has changed",
	}
	for range g.runs {
		s, err := g.restart(ctx)
		if err != nil {
			return nil, err
		}
		cost.add(s)
	}
	return []*figure{cost}, nil
}

func (g *rig) restart(ctx context.Context) (s sample, err error) {
	if err := g.manager.stop(); err != nil {
		return s, err
	}
	if err := g.fleet.beatAll(ctx); err != nil {
		return s, err
	}
	before, err := g.requests(ctx)
	if err != nil {
		return s, err
	}
	if g.manager, err = g.startManager(ctx, g.fleet.namespace); err != nil {
		return s, err
	}
	if err := until(ctx, "the manager to look at every node", g.lookedAtAll); err != nil {
		return s, err
	}
	if err := pause(ctx, afterRestart); err != nil {
		return s, err
	}
	if err := g.manager.idle(ctx); err != nil {
		return s, err
	}
	after, err := g.requests(ctx)
	return sample{ours: after.since(before)}, err
}

// lookedAtAll says whether the manager has listed the whole bucket, and compared every DiscoveredNode with it.
func (g *rig) lookedAtAll(ctx context.Context) (bool, error) {
	m, err := g.manager.metrics(ctx)
	ours := label{"registry", g.fleet.registry}
	return m.sum("rollcall_registry_synced", ours) == 1 &&
		m.sum("rollcall_watch_events_total", ours, label{"operation", "Put"}) >= float64(g.nodes) &&
		m.sum("controller_runtime_reconcile_total", label{"controller", "discoverednode"}) >= float64(g.nodes), err
}
