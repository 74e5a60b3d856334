package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

const (
	// podInterval is the heartbeat interval of the pods.
	podInterval = 10 * time.Second
	// writerKeys and writerRounds are how many heartbeats one run of the writer has: so many keys, so often.
	writerKeys, writerRounds, writerRuns = 1000, 20, 5
)

// podHeartbeats measures the heartbeats of 10,000 pods: how late they are, and what they cost.
func podHeartbeats(ctx context.Context, g *rig) ([]*figure, error) {
	bucket := "pods"
	if _, err := g.newBucket(ctx, bucket); err != nil {
		return nil, err
	}
	p, err := g.spawn(ctx, childPods, "-nats", g.natsURL(), "-bucket", bucket, "-pods", strconv.Itoa(g.nodes), "-interval", podInterval.String())
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%d pods that heartbeat every %s: ", g.nodes, podInterval)
	late := &figure{
		name: name + "lag behind schedule, p99", unit: milliseconds, by: absolute, target: atMost(1000),
		floor: "none: a heartbeat on time has no lag",
	}
	cost := &figure{
		name: name + "CPU", unit: percentCPU, by: absolute, target: atMost(25),
		floor: "none: all of it is counted, the watch of the bucket included",
	}
	// The first round registers the pods.
	if err := pause(ctx, podInterval+podInterval/2); err != nil {
		return nil, err
	}
	if _, err := p.lags(ctx); err != nil {
		return nil, err
	}
	for range g.runs {
		if err := p.beatFor(ctx, podInterval, late, cost); err != nil {
			return nil, err
		}
	}
	return []*figure{late, cost}, p.stop()
}

// beatFor adds to the figures what one window shows.
func (p *process) beatFor(ctx context.Context, window time.Duration, late, cost *figure) error {
	before, err := p.status(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := pause(ctx, window); err != nil {
		return err
	}
	after, err := p.status(ctx)
	if err != nil {
		return err
	}
	took := time.Since(began)
	b, err := p.lags(ctx)
	if err != nil {
		return err
	}
	if len(b.Late) == 0 || b.Lost > 0 {
		return fmt.Errorf("%d heartbeats in %s, %d more failed", len(b.Late), took, b.Lost)
	}
	milli := make([]float64, 0, len(b.Late))
	for _, d := range b.Late {
		milli = append(milli, inMilliseconds(d))
	}
	late.add(sample{ours: quantile(milli, 0.99)})
	cost.add(sample{ours: 100 * float64(after.CPU-before.CPU) / float64(took)})
	return nil
}

// lags returns how late the heartbeats were since it was last asked for.
func (p *process) lags(ctx context.Context) (b beaten, err error) {
	body, err := p.get(ctx, "/lags")
	if err != nil {
		return b, err
	}
	return b, json.Unmarshal(body, &b)
}

// writerRate measures how many heartbeats a second the writer of the pods' heartbeats makes, beside a bare loop.
func writerRate(ctx context.Context, g *rig) ([]*figure, error) {
	rate := &figure{
		name: "guarded heartbeats a second of the writer", unit: perSecond, by: ratio, target: atLeast(0.6),
		floor: "bare loop of guarded PublishAsync over as many keys, that waits for all acknowledgements",
	}
	for _, bucket := range []string{"writer", "writer-bare"} {
		if _, err := g.newBucket(ctx, bucket); err != nil {
			return nil, err
		}
	}
	template, err := discovery.NewTemplate(recordOf(0, 0))
	if err != nil {
		return nil, err
	}
	w, err := kv.NewWriter(g.js.Conn(), kv.WriterOptions{Bucket: "writer"})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	ours, floor := make([]uint64, writerKeys), make([]uint64, writerKeys)
	for range writerRuns {
		own, err := rounds(func() error { return written(w, template, ours) })
		if err != nil {
			return nil, err
		}
		bare, err := rounds(func() error { return g.published(ctx, "writer-bare", template, floor) })
		if err != nil {
			return nil, err
		}
		rate.add(sample{ours: own, floor: bare})
	}
	return []*figure{rate}, nil
}

// rounds returns how many heartbeats a second rounds of them make.
func rounds(round func() error) (perSecond float64, err error) {
	began := time.Now()
	for range writerRounds {
		if err := round(); err != nil {
			return 0, err
		}
	}
	return writerRounds * writerKeys / time.Since(began).Seconds(), nil
}

// written lets the writer put every key once.
func written(w *kv.Writer, template discovery.Template, revisions []uint64) error {
	errs := make([]error, len(revisions))
	var done sync.WaitGroup
	done.Add(len(revisions))
	for i := range revisions {
		w.Put(keyPrefix+nodeID(i), template.At(time.Now()), revisions[i], func(revision uint64, err error) {
			revisions[i], errs[i] = revision, err
			done.Done()
		})
	}
	done.Wait()
	return errors.Join(errs...)
}

// published publishes every key once, guarded by the revision that the publish before had.
func (g *rig) published(ctx context.Context, bucket string, template discovery.Template, revisions []uint64) error {
	futures := make([]jetstream.PubAckFuture, 0, len(revisions))
	for i, revision := range revisions {
		m := nats.NewMsg(subject(bucket, nodeID(i)))
		m.Data = template.At(time.Now())
		m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(revision, 10))
		future, err := g.js.PublishMsgAsync(m, jetstream.WithStallWait(patience))
		if err != nil {
			return err
		}
		futures = append(futures, future)
	}
	for i, future := range futures {
		select {
		case ack := <-future.Ok():
			revisions[i] = ack.Sequence
		case err := <-future.Err():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
