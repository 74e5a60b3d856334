package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// listedKeys is how many keys are listed, of so many bytes, and listings how often.
const listedKeys, listedBytes, listings = 100_000, 256, 12

// listing measures what it costs that the stream from the server is checked: the same listing with the connection as it is
// and with the dialer of nats.go, in turn.
func listing(ctx context.Context, g *rig) ([]*figure, error) {
	f := &figure{
		name: fmt.Sprintf("listing of %d keys", listedKeys), unit: perSecond, by: ratio, target: atLeast(0.95),
		floor: "the same listing without the stream that checks what the server sends",
	}
	if err := g.fill(ctx, "listing"); err != nil {
		return nil, err
	}
	options := [2][]nats.Option{
		discovery.ConnectOptions(),
		append(discovery.ConnectOptions(), nats.SetCustomDialer(&net.Dialer{Timeout: nats.DefaultTimeout})),
	}
	for run := range listings {
		var rates [2]float64
		for i := range options {
			i = (i + run) % len(options) // Neither is always the first.
			took, err := list(ctx, g.natsURL(), "listing", options[i])
			if err != nil {
				return nil, err
			}
			rates[i] = listedKeys / took.Seconds()
		}
		f.add(sample{ours: rates[0], floor: rates[1]})
	}
	return []*figure{f}, g.js.DeleteKeyValue(ctx, "listing")
}

// fill makes a bucket with the keys.
func (g *rig) fill(ctx context.Context, bucket string) error {
	if _, err := g.newBucket(ctx, bucket); err != nil {
		return err
	}
	value := []byte(strings.Repeat("x", listedBytes))
	js, err := jetstream.New(g.js.Conn(), jetstream.WithPublishAsyncMaxPending(512))
	if err != nil {
		return err
	}
	for n := range listedKeys {
		if _, err := js.PublishAsync("$KV."+bucket+"."+keyPrefix+nodeID(n), value, jetstream.WithStallWait(patience)); err != nil {
			return err
		}
	}
	select {
	case <-js.PublishAsyncComplete():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// list returns how long it takes until all keys are in.
func list(ctx context.Context, url, bucket string, options []nats.Option) (time.Duration, error) {
	connection, err := nats.Connect(url, options...)
	if err != nil {
		return 0, err
	}
	defer connection.Close()
	sink := &keyCount{synced: make(chan struct{})}
	watcher, err := kv.NewWatcher(connection, kv.WatcherOptions{Bucket: bucket}, sink)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ended := make(chan error, 1)
	began := time.Now()
	go func() { ended <- watcher.Run(ctx) }()
	select {
	case <-sink.synced:
	case err := <-ended:
		return 0, err
	}
	took := time.Since(began)
	cancel()
	<-ended
	if sink.keys != listedKeys {
		return 0, fmt.Errorf("%d of %d keys were listed", sink.keys, listedKeys)
	}
	return took, nil
}

// keyCount is a Sink that counts keys.
type keyCount struct {
	keys   int
	synced chan struct{}
}

func (*keyCount) Listing(kv.Cause)   {}
func (c *keyCount) Entry(kv.Entry)   { c.keys++ }
func (c *keyCount) Synced(kv.Bucket) { close(c.synced) }
func (*keyCount) Absent([]string)    {}
func (*keyCount) Bucket(kv.Bucket)   {}
func (*keyCount) Disconnected(error) {}
func (*keyCount) Arrived(time.Time)  {}
func (*keyCount) Overdue() []string  { return nil }
func (*keyCount) Silent([]string)    {}
func (*keyCount) Withheld([]string)  {}

// MaxKeys implements kv.Sink.
func (*keyCount) MaxKeys() int { return 0 }
