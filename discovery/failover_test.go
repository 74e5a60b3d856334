package discovery

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/discovery/kv"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// A write that the stream's leader can't replicate stands in the way of the next one of the same key. That is no conflict:
// nobody else writes, and the node goes on by itself once there is a majority.
func TestALostQuorumIsNoConflict(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, 3)
	natstest.NewBucket(t, c.Connect(t), jetstream.KeyValueConfig{Replicas: 3, TTL: time.Minute})
	leader := c.StreamLeader("KV_b")
	nc, err := nats.Connect(c.Servers[leader].URL(), append(ConnectOptions(), nats.IgnoreDiscoveredServers())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	others := slices.Delete(slices.Clone(c.Servers), leader, leader+1)
	r, err := Open(t.Context(), nc, Options{Bucket: "b", NoCreate: true, WriteOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	results := make(chan error, 1024)
	ctx, cancel := context.WithCancel(t.Context())
	var keeping sync.WaitGroup
	keeping.Go(func() {
		_ = r.KeepAlive(ctx, Node{ID: "node-1"}, KeepAliveOptions{Interval: 500 * time.Millisecond, Result: func(err error) { results <- err }})
	})
	defer keeping.Wait()
	defer cancel()
	w, err := kv.NewWriter(nc, kv.WriterOptions{Bucket: "b", Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	put := func(value string) error {
		ended := make(chan error, 1)
		w.Put("k", []byte(value), 0, func(_ uint64, err error) { ended <- err })
		return <-ended
	}
	if err := <-results; err != nil {
		t.Fatal(err)
	}
	for _, s := range others {
		s.Stop()
	}
	if err := put("1"); !errors.Is(err, kv.ErrNoAnswer) {
		t.Errorf("a write without a majority: %v", err)
	}
	if err := put("2"); !errors.Is(err, kv.ErrBusy) {
		t.Errorf("a write of the same key: %v", err)
	}
	failures := 0
	for failures < 3 {
		if err := <-results; errors.Is(err, ErrConflict) {
			t.Fatalf("the node hears of a conflict: %v", err)
		} else if err != nil {
			failures++
		}
	}
	for _, s := range others {
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	natstest.Eventually(t, func() error { return <-results })
}
