package main

import (
	"context"
	"fmt"
	"time"
)

// heartbeats measures what the heartbeats of a whole fleet make the API server take, and those of one in which each brings
// another value in the node's metadata.
func heartbeats(ctx context.Context, g *rig) ([]*figure, error) {
	f, m, err := g.ready(ctx)
	if err != nil {
		return nil, err
	}
	plain := &figure{
		name: fmt.Sprintf("heartbeats of %d nodes: API writes", f.size), unit: writes, by: absolute, target: atMost(0),
		floor: "nothing that anybody acts on has changed",
	}
	counting := &figure{
		name: fmt.Sprintf("heartbeats of %d nodes, a counter in each: API writes", f.size), unit: writes, by: absolute, target: atMost(0),
		floor: plain.floor,
	}
	for _, cost := range []*figure{plain, counting} {
		f.counting = cost == counting
		for range g.runs {
			s, err := beatOnce(ctx, g, f, m)
			if err != nil {
				return nil, err
			}
			cost.add(s)
		}
	}
	// The other steps are to find the nodes as they were.
	f.counting = false
	return []*figure{plain, counting}, m.sees(ctx, f.size, func() error { return f.beatAll(ctx) })
}

// beatOnce lets the whole fleet heartbeat once and counts the writes until the manager has nothing more to do.
func beatOnce(ctx context.Context, g *rig, f *fleet, m *process) (sample, error) {
	before, err := g.requests(ctx)
	if err != nil {
		return sample{}, err
	}
	if err := m.sees(ctx, f.size, func() error { return f.beatAll(ctx) }); err != nil {
		return sample{}, err
	}
	if err := m.idle(ctx); err != nil {
		return sample{}, err
	}
	after, err := g.requests(ctx)
	if err != nil {
		return sample{}, err
	}
	return sample{ours: after.since(before)}, nil
}

const (
	// rate is how many heartbeats a second the CPU is measured at, burst how many of them come together.
	rate  = 1000
	burst = 10
	// window is how long one run lasts, and windows how many there are.
	window  = 6 * time.Second
	windows = 5
)

// heartbeatCPU measures the CPU that a manager needs for heartbeats, and beside it, for the same heartbeats at the same
// time, that of a process which only watches the bucket and decodes them.
func heartbeatCPU(ctx context.Context, g *rig) ([]*figure, error) {
	f, m, err := g.ready(ctx)
	if err != nil {
		return nil, err
	}
	bare, err := g.spawn(ctx, childWatch, "-nats", g.natsURL(), "-bucket", f.bucket)
	if err != nil {
		return nil, err
	}
	cost := &figure{
		name: "CPU of 1,000 mirrored heartbeats a second", unit: percentCPU, by: difference, target: atMost(5),
		floor: "a process with a KeyWatcher on the same bucket that decodes the same JSON at the same time",
	}
	if err := f.beatSteadily(ctx, rate, time.Second); err != nil {
		return nil, err
	}
	for range windows {
		s, took, err := cpuOf(ctx, f, m, bare, rate, window)
		if err != nil {
			return nil, err
		}
		cost.add(sample{ours: 100 * s.ours / float64(took), floor: 100 * s.floor / float64(took)})
	}
	return []*figure{cost}, bare.stop()
}

// cpuOf returns the CPU time that each of the two processes needs for so many heartbeats a second, and how long it took to send
// those of the window.
func cpuOf(ctx context.Context, f *fleet, m, bare *process, rate int, window time.Duration) (s sample, took time.Duration, err error) {
	count := int(window.Seconds()) * rate
	err = m.sees(ctx, count, func() error {
		began := time.Now()
		before, err := cpuTimes(ctx, m, bare)
		if err != nil {
			return err
		}
		if err := f.beatSteadily(ctx, rate, window); err != nil {
			return err
		}
		after, err := cpuTimes(ctx, m, bare)
		took = time.Since(began)
		s = sample{ours: after.ours - before.ours, floor: after.floor - before.floor}
		return err
	})
	return s, took, err
}

// cpuTimes returns the CPU times of two processes.
func cpuTimes(ctx context.Context, ours, floor *process) (sample, error) {
	a, err := ours.status(ctx)
	if err != nil {
		return sample{}, err
	}
	b, err := floor.status(ctx)
	return sample{ours: float64(a.CPU), floor: float64(b.CPU)}, err
}

// beatSteadily lets the nodes heartbeat in turn, so many a second, which come in a hundred bursts.
func (f *fleet) beatSteadily(ctx context.Context, rate int, d time.Duration) error {
	const bursts = 100
	burst := rate / bursts
	ticker := time.NewTicker(time.Second / bursts)
	defer ticker.Stop()
	for sent := 0; sent < int(d.Seconds())*rate; sent += burst {
		nodes := make([]int, burst)
		for i := range nodes {
			nodes[i] = (sent + i) % f.size
		}
		if err := f.beat(ctx, nodes...); err != nil {
			return err
		}
		<-ticker.C
	}
	return nil
}
