package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall-dev/rollcall/discovery"
)

const (
	// flapServices is how many Services select the node that flaps, flapFleet how many nodes they have: there is room in their slices.
	flapServices = 10
	flapFleet    = 50
	// flapRate is how many records it writes in a second, flapBurst after how many what is measured begins, and flapWindow how long
	// that lasts.
	flapRate   = 8000
	flapBurst  = 2 * flapRate
	flapWindow = 10 * time.Second
	// flapTrials is how many changes of other nodes are timed in one run.
	flapTrials = 30
)

// flap measures what one key costs that changes 8,000 times a second: the writes of slices, and how long the changes of
// other nodes take meanwhile.
func flap(ctx context.Context, g *rig) ([]*figure, error) {
	f, v, err := g.watched(ctx)
	if err != nil {
		return nil, err
	}
	defer v.close()
	fleet, err := g.newFleet(ctx, f.namespace, "flapping", "flapping-0", flapFleet)
	if err != nil {
		return nil, err
	}
	for n := range flapServices {
		fleet.service = fmt.Sprintf("flapping-%d", n)
		if err := fleet.serve(ctx, g); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(fleet.mirror(ctx, g), fleet.shown(ctx, v)); err != nil {
		return nil, err
	}
	cost := &figure{
		name: fmt.Sprintf("one key that changes %d times a second in %d Services: slice writes", flapRate, flapServices), unit: perSecond, by: absolute, target: atMost(10),
		floor: "the records that it writes",
	}
	beside := &figure{
		name: "KV put → slice seen of another node beside it, median", unit: milliseconds, by: ratio, target: atMost(1.5),
		floor: "the same beside a key that writes as many records that are all the same",
	}
	for run := range g.runs {
		for kind := range flapKinds {
			w := &flapper{rig: g, fleet: fleet, key: fmt.Sprintf("flapper-%d-%d", run, kind), host: fmt.Sprintf("10.255.%d.%d", run, kind+1)}
			if err := w.measure(ctx, v, flapKinds[kind], cost, beside); err != nil {
				return nil, err
			}
		}
	}
	return []*figure{cost, beside}, g.manager.idle(ctx)
}

// flapKinds are the records that a node writes in turn; nil unregisters it.
var flapKinds = [][]func(*discovery.Node){
	{func(*discovery.Node) {}, nil},
	{func(*discovery.Node) {}, func(n *discovery.Node) { n.Endpoint = strings.Replace(n.Endpoint, "10.255.", "10.254.", 1) }},
	{func(*discovery.Node) {}, func(n *discovery.Node) { n.Draining = true }},
	{func(*discovery.Node) {}, func(n *discovery.Node) { n.Metadata["role"] = "db" }},
}

// flapper is a node that changes all the time.
type flapper struct {
	*rig
	fleet     *fleet
	key, host string
}

// measure has the node flap, and notes what that costs, and how long other nodes' changes take beside it and beside one that writes
// the same all the time.
func (w *flapper) measure(ctx context.Context, v *view, kind []func(*discovery.Node), cost, beside *figure) error {
	var s, latency sample
	err := w.beside(ctx, kind[:1], func(ctx context.Context) (err error) {
		latency.floor, err = w.others(ctx, v)
		return err
	})
	if err != nil {
		return err
	}
	var before, after float64
	began := time.Now()
	err = w.beside(ctx, kind, func(ctx context.Context) (err error) {
		if latency.ours, err = w.others(ctx, v); err != nil {
			return err
		}
		if before, err = w.slices(ctx); err != nil {
			return err
		}
		began = time.Now()
		if err := pause(ctx, flapWindow); err != nil {
			return err
		}
		after, err = w.slices(ctx)
		s.ours = (after - before) / time.Since(began).Seconds()
		return err
	}, &s.floor)
	cost.add(s)
	beside.add(latency)
	return err
}

// slices returns how many writes of slices there were.
func (w *flapper) slices(ctx context.Context) (float64, error) {
	all, err := w.requests(ctx)
	return all["endpointslices"], err
}

// others returns the median of how long changes of other nodes take until their slices are seen.
func (w *flapper) others(ctx context.Context, v *view) (float64, error) {
	changed := w.fleet.changed(v)
	took := make([]float64, flapTrials)
	for i := range took {
		d, err := changed(ctx)
		if err != nil {
			return 0, err
		}
		took[i] = inMilliseconds(d)
		if err := pause(ctx, breath); err != nil {
			return 0, err
		}
	}
	return quantile(took, 0.5), nil
}

// beside has the node write records in turn while f runs, and puts into rates how many a second that were.
func (w *flapper) beside(ctx context.Context, kind []func(*discovery.Node), f func(context.Context) error, rates ...*float64) error {
	messages, err := w.messages(kind)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	flapping, stop := context.WithCancel(ctx)
	begun := make(chan struct{})
	group.Go(func() error {
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		began, sent := time.Now(), 0
		for ; flapping.Err() == nil; sent++ {
			if sent == flapBurst {
				close(begun)
			}
			next := messages[sent%len(messages)]
			if _, err := w.js.PublishMsgAsync(&next, jetstream.WithStallWait(patience)); err != nil {
				return err
			}
			if sent%(flapRate/1000) == 0 {
				<-ticker.C
			}
		}
		for _, rate := range rates {
			*rate = float64(sent) / time.Since(began).Seconds()
		}
		return nil
	})
	group.Go(func() error {
		defer stop()
		select {
		case <-begun:
			return f(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return group.Wait()
}

func (w *flapper) messages(kind []func(*discovery.Node)) (all []nats.Msg, err error) {
	for _, change := range kind {
		message := nats.Msg{Subject: subject(w.fleet.bucket, w.key)}
		if change == nil {
			message.Header = nats.Header{"KV-Operation": {"DEL"}}
		} else {
			node := recordOf(0, 0)
			node.ID, node.Endpoint = w.key, "http://"+w.host+":8080"
			change(&node)
			if message.Data, err = discovery.Encode(node); err != nil {
				return nil, err
			}
		}
		all = append(all, message)
	}
	return all, nil
}
