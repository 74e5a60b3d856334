package main

import (
	"context"
	"fmt"
	"time"
)

const (
	// trials is how many changes are timed in one run, and latencyRuns how many runs there are.
	trials      = 100
	latencyRuns = 5
	// breath is the time from one change to the next, in which the machine comes to rest.
	breath = 20 * time.Millisecond
)

// trial makes one change and returns how long it took until the change was seen.
type trial func(ctx context.Context) (time.Duration, error)

// quantiles has the figures for the median and the 99th percentile of something.
type quantiles struct{ median, p99 *figure }

func newQuantiles(name, floor string, median, p99 float64) *quantiles {
	f := func(q string, t float64) *figure {
		return &figure{name: name + ", " + q, floor: floor, unit: milliseconds, by: ratio, target: atMost(t)}
	}
	return &quantiles{median: f("median", median), p99: f("p99", p99)}
}

// compare times ours and the floor in turn.
func (q *quantiles) compare(ctx context.Context, ours, floor trial) ([]*figure, error) {
	for range latencyRuns {
		var took [2][]float64
		for range trials {
			for i, t := range []trial{ours, floor} {
				d, err := t(ctx)
				if err != nil {
					return nil, err
				}
				took[i] = append(took[i], inMilliseconds(d))
				if err := pause(ctx, breath); err != nil {
					return nil, err
				}
			}
		}
		q.median.add(sample{ours: quantile(took[0], 0.5), floor: quantile(took[1], 0.5)})
		q.p99.add(sample{ours: quantile(took[0], 0.99), floor: quantile(took[1], 0.99)})
	}
	return []*figure{q.median, q.p99}, nil
}

// latency measures how long it takes from a put into the bucket until a client that watches the slices sees the change.
func latency(ctx context.Context, g *rig) ([]*figure, error) {
	f, v, err := g.watched(ctx)
	if err != nil {
		return nil, err
	}
	defer v.close()
	if err := f.shown(ctx, v); err != nil {
		return nil, err
	}
	floor, stop, err := g.relayed(ctx, v)
	if err != nil {
		return nil, err
	}
	defer stop()
	q := newQuantiles("KV put → slice seen", "KeyWatcher, decode, and one raw update of one slice as large", 1.15, 1.5)
	return q.compare(ctx, f.changed(v), floor)
}

// shown waits until the view has all endpoints of the fleet.
func (f *fleet) shown(ctx context.Context, v *view) error {
	return until(ctx, "the watch to show all endpoints", func(context.Context) (bool, error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		return all(f.service, f.size)(v), v.ended
	})
}

// changed returns a trial that gives one node of the fleet another address, each time another node.
func (f *fleet) changed(v *view) trial {
	turn := 0
	return func(ctx context.Context) (time.Duration, error) {
		turn++
		n := turn * 7919 % f.size
		seen := v.expect(at(f.service, nodeID(n), address(n, f.moves[n]+1)))
		return timed(ctx, seen, func() error { return f.move(ctx, n) })
	}
}

// timed makes a change and returns how long after its beginning it was seen.
func timed(ctx context.Context, seen *waiter, change func() error) (time.Duration, error) {
	began := time.Now()
	if err := change(); err != nil {
		return 0, err
	}
	at, err := seen.wait(ctx)
	if err != nil {
		return 0, fmt.Errorf("a change: %w", err)
	}
	return at.Sub(began), nil
}

// relayed returns a trial like changed, on a bucket and a slice that a bare relay connects.
func (g *rig) relayed(ctx context.Context, v *view) (t trial, stop func(), err error) {
	bare := &fleet{js: g.js, namespace: g.fleet.namespace, bucket: g.fleet.namespace + "-relay", size: perSlice, moves: make([]int, perSlice)}
	if _, err := g.newBucket(ctx, bare.bucket); err != nil {
		return nil, nil, err
	}
	relay, err := g.spawn(ctx, childRelay, "-nats", g.natsURL(), "-bucket", bare.bucket, "-kubeconfig", g.kubeconfig, "-namespace", bare.namespace)
	if err != nil {
		return nil, nil, err
	}
	turn := 0
	t = func(ctx context.Context) (time.Duration, error) {
		turn++
		n := turn * 37 % bare.size
		seen := v.expect(at(bareService, nodeID(n), address(n, bare.moves[n]+1)))
		return timed(ctx, seen, func() error { return bare.move(ctx, n) })
	}
	return t, func() { _ = relay.stop() }, nil
}
