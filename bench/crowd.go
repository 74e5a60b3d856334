package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

const (
	// manyServices is how many Services there are where they are many.
	manyServices = 1000
	// memoryLimit is the limit of the chart for a manager, and goMemoryLimit what Go is told of it.
	memoryLimit, goMemoryLimit = 512 << 20, memoryLimit / 10 * 9
	crowdRuns                  = 5
)

// crowds measures what many Services cost: for how long the goroutine of the Watcher is held when all of many nodes change, and
// the memory that the Services take if all of them select all nodes.
func crowds(ctx context.Context, g *rig) ([]*figure, error) {
	held, err := g.held(ctx, g.nodes)
	if err != nil {
		return nil, err
	}
	memory, err := g.placed(ctx, g.nodes/10)
	return append(memory, held), err
}

// held measures for how long the goroutine of the Watcher is held at most.
func (g *rig) held(ctx context.Context, nodes int) (*figure, error) {
	longest := &figure{
		name: fmt.Sprintf("%d changed nodes × %d Services: longest time that the Watcher's goroutine is held", nodes, manyServices),
		unit: milliseconds, by: ratio, target: atMost(5), floor: "the longest of the bare loops over a map of as many nodes that the same goroutine makes between the calls",
	}
	crowd, err := g.spawn(ctx, childCrowd, "-nodes", strconv.Itoa(nodes), "-services", strconv.Itoa(manyServices))
	if err != nil {
		return nil, err
	}
	for range crowdRuns {
		body, err := crowd.get(ctx, "/strike")
		if err != nil {
			return nil, err
		}
		var s sampled
		if err := json.Unmarshal(body, &s); err != nil {
			return nil, err
		}
		longest.add(sample{ours: inMilliseconds(s.Held), floor: inMilliseconds(s.Loop)})
	}
	return longest, crowd.stop()
}

// sampled is what a crowd answers to a strike: for how long the longest call took, and the longest bare loop.
type sampled struct{ Held, Loop time.Duration }

// placed measures the memory of many Services that all select all nodes.
func (g *rig) placed(ctx context.Context, nodes int) ([]*figure, error) {
	name := fmt.Sprintf("%d Services over %d nodes: ", manyServices, nodes)
	each := &figure{
		name: name + "memory of an endpoint and its place", unit: bytesEach, by: difference, target: atMost(300),
		floor: "the same nodes without a Service",
	}
	resident := &figure{
		name: name + "resident memory at most", unit: mebibytes, by: absolute, target: atMost(memoryLimit >> 20),
		floor: "the same nodes without a Service",
	}
	for range g.runs {
		var of [2]status
		for i, services := range []int{manyServices, 0} {
			crowd, err := g.spawn(ctx, childCrowd, "-nodes", strconv.Itoa(nodes), "-services", strconv.Itoa(services), "-all")
			if err != nil {
				return nil, err
			}
			if of[i], err = crowd.settled(ctx); err != nil {
				return nil, err
			}
			if err := crowd.stop(); err != nil {
				return nil, err
			}
		}
		endpoints := float64(nodes * manyServices)
		each.add(sample{ours: float64(of[0].Heap) / endpoints, floor: float64(of[1].Heap) / endpoints})
		resident.add(sample{ours: float64(of[0].Peak) / (1 << 20), floor: float64(of[1].Peak) / (1 << 20)})
	}
	return []*figure{each, resident}, nil
}
