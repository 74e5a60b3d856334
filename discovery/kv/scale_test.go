package kv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

const fleet = 20_000

func fleetKey(i int) string { return fmt.Sprintf("node.n%d", i) }

// fill puts n keys of about 256 bytes.
func fill(t testing.TB, nc *nats.Conn, n int) {
	t.Helper()
	fillSized(t, nc, n, 256)
}

// fillSized puts n keys of size bytes.
func fillSized(t testing.TB, nc *nats.Conn, n, size int) {
	t.Helper()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(512))
	if err != nil {
		t.Fatal(err)
	}
	value := []byte(strings.Repeat("x", size))
	for i := range n {
		if _, err := js.PublishAsync("$KV.b."+fleetKey(i), value, jetstream.WithStallWait(natstest.Patience)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(natstest.Patience):
		t.Fatalf("%d keys weren't acknowledged", js.PublishAsyncPending())
	}
}

// write overwrites random keys among n until stop is called, which returns how many it has written.
func write(t testing.TB, nc *nats.Conn, n, writers int) (stop func() int) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	counts := make([]int, writers)
	for w := range writers {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := kv.Put(ctx, fleetKey(rand.IntN(n)), []byte("rewritten")); err == nil {
					counts[w]++
				}
			}
		})
	}
	return func() int {
		cancel()
		wg.Wait()
		total := 0
		for _, c := range counts {
			total += c
		}
		return total
	}
}

// No key may be missing at Synced although writers move keys from the listing to its tail all the time, and although the
// bucket keeps one revision, so that what was to be listed vanishes under the consumer.
func TestFirstListingIsCompleteWithWritersAtWork(t *testing.T) {
	for _, history := range []uint8{1, 5} {
		t.Run(fmt.Sprintf("history %d", history), func(t *testing.T) {
			s := natstest.Start(t)
			nc := s.Connect(t)
			natstest.NewBucket(t, nc, jetstream.KeyValueConfig{History: history, Storage: jetstream.MemoryStorage})
			fill(t, nc, fleet)
			stop := write(t, s.Connect(t), fleet, 8)
			began := time.Now()
			r := watch(t, s.Connect(t), WatcherOptions{Bucket: "b", KeyPrefix: "node.", RelistInterval: time.Second})
			r.await(t, "Synced", 1)
			took := r.when("Synced", 1).Sub(began)
			r.await(t, "Synced", 2)
			written := stop()
			t.Logf("listed in %v; %d writes until the first relist was complete", took, written)
			if written < 1000 {
				t.Errorf("%d writes are too few to show anything", written)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			for i, size := range r.sizes {
				if size != fleet {
					t.Errorf("listing %d told %d of %d keys", i+1, size, fleet)
				}
			}
			if len(r.absent) != 0 {
				t.Errorf("%d keys were told absent, all are live", len(r.absent))
			}
		})
	}
}

// fleetOfThree starts a cluster with a replicated bucket of n keys and a watcher on it.
func fleetOfThree(t *testing.T, n int) (*natstest.Cluster, *nats.Conn, *recorder) {
	t.Helper()
	c := natstest.StartCluster(t, 3)
	nc := c.Connect(t)
	natstest.NewBucket(t, nc, jetstream.KeyValueConfig{History: 5, Replicas: 3, TTL: 10 * time.Minute, LimitMarkerTTL: time.Minute})
	fill(t, nc, n)
	r := watch(t, nc, WatcherOptions{Bucket: "b", KeyPrefix: "node."})
	r.await(t, "Synced", 1)
	return c, nc, r
}

// bucketState returns the values of all keys as the stream's leader has them.
func bucketState(t *testing.T, nc *nats.Conn, n int) map[string]string {
	t.Helper()
	a := newAPI(nc, apiPrefix("", ""), "b", natstest.Patience)
	state := map[string]string{}
	for i := range n {
		e, err := a.last(t.Context(), subjectPrefix("b"), fleetKey(i))
		if err != nil {
			t.Fatal(err)
		}
		if e.Operation == Put {
			state[e.Key] = string(e.Value)
		}
	}
	return state
}

func TestClusterLosesTheServerOfTheClient(t *testing.T) {
	t.Parallel()
	const n = 1000
	c, nc, r := fleetOfThree(t, n)
	stop := write(t, c.Connect(t), n, 2)
	for i, s := range c.Servers {
		if s.URL() == nc.ConnectedUrl() {
			c.Servers[i].Stop()
			break
		}
	}
	r.await(t, lost, 1)
	r.await(t, "Synced", 2)
	t.Logf("listed again %v after the cut", r.when("Synced", 2).Sub(r.when(lost, 1)))
	stop()
	r.awaitLive(t, bucketState(t, nc, n))
}

func TestClusterLosesTheLeaderOfTheStream(t *testing.T) {
	t.Parallel()
	const n = 1000
	c, nc, r := fleetOfThree(t, n)
	stop := write(t, c.Connect(t), n, 2)
	c.Servers[c.StreamLeader("KV_b")].Stop()
	natstest.Eventually(t, func() error {
		if c.StreamLeader("KV_b") < 0 {
			return errors.New("no new leader")
		}
		return nil
	})
	stop()
	natstest.Eventually(t, func() error {
		_, err := newAPI(nc, apiPrefix("", ""), "b", time.Second).last(t.Context(), subjectPrefix("b"), fleetKey(0))
		return err
	})
	r.awaitLive(t, bucketState(t, nc, n))
	t.Logf("%v", r.tale())
}

func TestClusterChangesItsLeader(t *testing.T) {
	t.Parallel()
	const n = 1000
	c, nc, r := fleetOfThree(t, n)
	stop := write(t, c.Connect(t), n, 2)
	leader := c.StreamLeader("KV_b")
	if _, err := nc.Request("$JS.API.STREAM.LEADER.STEPDOWN.KV_b", nil, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, func() error {
		if l := c.StreamLeader("KV_b"); l < 0 || l == leader {
			return fmt.Errorf("the leader is still %d", l)
		}
		return nil
	})
	stop()
	r.awaitLive(t, bucketState(t, nc, n))
	t.Logf("%v", r.tale())
}
