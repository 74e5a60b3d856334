package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
)

const (
	// mortalTTL is the TTL of the fleet that dies: long enough for the fleet to be shown before.
	mortalTTL = 20 * time.Second
	// readers is how many requests of the floor are under way at a time.
	readers = 64
)

// death measures how long after their TTL the last of many nodes is out of the slices that all die at once, with the
// disruption guard switched off: the stream's leader is asked for each of them before.
func death(ctx context.Context, g *rig) ([]*figure, error) {
	f, v, err := g.watched(ctx)
	if err != nil {
		return nil, err
	}
	defer v.close()
	late := &figure{
		name: fmt.Sprintf("%d nodes die at once, guard off: last out of the slices after its TTL", f.size),
		unit: milliseconds, by: absolute, target: atMost(1000),
		floor: fmt.Sprintf("loop that reads every key from the stream's leader, %d at a time", readers),
	}
	for run := range g.runs {
		d := &fleet{
			js: g.js, namespace: f.namespace, registry: fmt.Sprintf("mortal-%d", run), service: fmt.Sprintf("mortal-%d", run),
			bucket: fmt.Sprintf("%s-mortal-%d", f.namespace, run), size: f.size, moves: make([]int, f.size),
		}
		s, err := d.die(ctx, g, v)
		if err != nil {
			return nil, err
		}
		late.add(s)
	}
	return []*figure{late}, nil
}

// die lets a fleet live until it is shown, and then die.
func (f *fleet) die(ctx context.Context, g *rig, v *view) (s sample, err error) {
	if _, err := g.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: f.bucket, TTL: mortalTTL, History: discovery.DefaultHistory, Storage: jetstream.FileStorage,
	}); err != nil {
		return s, err
	}
	if err := f.serve(ctx, g); err != nil {
		return s, err
	}
	if err := f.mirror(ctx, g, func(spec *rollcallv1alpha1.NodeRegistrySpec) {
		spec.Bucket.TTL = &metav1.Duration{Duration: mortalTTL}
		spec.Liveness.MaxSilentPercent = ptr.To[int32](100)
	}); err != nil {
		return s, err
	}
	if err := until(ctx, "the slices to hold the fleet", func(ctx context.Context) (bool, error) {
		v.mu.Lock()
		shown := v.size(f.service) == f.size
		v.mu.Unlock()
		return shown, f.beatAll(ctx)
	}); err != nil {
		return s, err
	}
	gone := v.expect(func(v *view) bool { return v.size(f.service) == 0 })
	if err := f.beatAll(ctx); err != nil {
		return s, err
	}
	dead := time.Now().Add(mortalTTL)
	floor, err := f.read(ctx)
	if err != nil {
		return s, err
	}
	at, err := gone.wait(ctx)
	return sample{ours: inMilliseconds(at.Sub(dead)), floor: inMilliseconds(floor)}, err
}

// read reads every key from the stream's leader, and returns how long that took.
func (f *fleet) read(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	stream, err := f.js.Stream(ctx, "KV_"+f.bucket)
	if err != nil {
		return 0, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for n := range f.size {
		group.Go(func() error {
			_, err := stream.GetLastMsgForSubject(ctx, subject(f.bucket, nodeID(n)))
			return err
		})
	}
	err = group.Wait()
	return time.Since(began), err
}
