package main

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

const (
	// fewNodes and manyNodes are the sizes of the fleets whose costs are compared.
	fewNodes, manyNodes = 1_000, 50_000
	eventRuns           = 5
)

// volley is what events of one kind a run measures: so many, some at a time, at a steady rate in each second. What was
// measured of thousands at once would say little about one.
type volley struct {
	count, together, rate int
	// moved says that each gives its node another address.
	moved bool
}

var (
	// beats come as they do where the CPU of a manager is measured.
	beats = volley{count: 3000, together: burst, rate: rate}
	// moves come one by one: those that come together are written together.
	moves = volley{count: 400, together: 1, rate: 200, moved: true}
)

// eventCost measures whether the CPU time of one event depends on the number of nodes: from the message of the bucket to
// both projections, with an API server that answers at once.
func eventCost(ctx context.Context, g *rig) ([]*figure, error) {
	many, err := g.simulate(ctx, min(manyNodes, 5*g.nodes))
	if err != nil {
		return nil, err
	}
	few, err := g.simulate(ctx, min(fewNodes, g.nodes/10))
	if err != nil {
		return nil, err
	}
	f := func(kind string) *figure {
		return &figure{
			name: fmt.Sprintf("cost of %s, %d → %d nodes", kind, few.size, many.size), unit: microseconds, by: ratio, target: atMost(1.2),
			floor: "the same with few nodes",
		}
	}
	beat, change := f("a heartbeat"), f("a change")
	for range eventRuns {
		for _, kind := range []struct {
			*figure
			volley
		}{{beat, beats}, {change, moves}} {
			var s sample
			if s.ours, err = many.cost(ctx, kind.volley); err != nil {
				return nil, err
			}
			if s.floor, err = few.cost(ctx, kind.volley); err != nil {
				return nil, err
			}
			kind.add(s)
		}
	}
	return []*figure{beat, change}, few.stop(many.stop(nil))
}

// simulated is a fleet whose events a child of its own takes in.
type simulated struct {
	*fleet
	child *process
	turn  int
}

func (g *rig) simulate(ctx context.Context, size int) (*simulated, error) {
	f, err := g.newFleet(ctx, "simulated-"+strconv.Itoa(size), registryName, serviceName, size)
	if err != nil {
		return nil, err
	}
	p, err := g.spawn(ctx, childEvent, "-nats", g.natsURL(), "-bucket", f.bucket, "-nodes", strconv.Itoa(size))
	return &simulated{fleet: f, child: p}, err
}

func (s *simulated) stop(err error) error {
	if err != nil {
		return err
	}
	return s.child.stop()
}

// cost returns the CPU time of one event in microseconds, garbage collection included. Few events come between one
// collection and the next, or none, so what happens to fall into the run is replaced by what is due: as great a part of a
// collection as what was allocated is of the live heap, after the growth of which by its own size Go collects.
func (s *simulated) cost(ctx context.Context, e volley) (float64, error) {
	before, err := s.child.settled(ctx)
	if err != nil {
		return 0, err
	}
	if before, err = s.child.status(ctx); err != nil {
		return 0, err
	}
	if err := s.send(ctx, e); err != nil {
		return 0, err
	}
	var after status
	if err := until(ctx, "the events to be handled", func(ctx context.Context) (bool, error) {
		after, err = s.child.status(ctx)
		return after.Seen-before.Seen >= int64(e.count), err
	}); err != nil {
		return 0, err
	}
	end, err := s.child.settled(ctx)
	if err != nil {
		return 0, err
	}
	running := (after.CPU - before.CPU) - (after.Collecting - before.Collecting)
	due := float64(after.Allocated-before.Allocated) / float64(end.Heap) * float64(end.Collection)
	return (float64(running) + due) / float64(e.count) / float64(time.Microsecond), nil
}

// send lets nodes write their records, each time other nodes.
func (s *simulated) send(ctx context.Context, e volley) error {
	ticker := time.NewTicker(time.Second * time.Duration(e.together) / time.Duration(e.rate))
	defer ticker.Stop()
	for range e.count / e.together {
		nodes := make([]int, e.together)
		for i := range nodes {
			s.turn++
			nodes[i] = s.turn * 7919 % s.size
			if e.moved {
				s.moves[nodes[i]]++
			}
		}
		if err := s.beat(ctx, nodes...); err != nil {
			return err
		}
		<-ticker.C
	}
	return nil
}
