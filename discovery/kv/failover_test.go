package kv

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// The bucket lives on one server of a cluster whose other servers are gone. It takes writes as ever, but the cluster has no
// leader who could create a consumer, so its own server has to.
func TestWatcherNeedsNoLeaderOfTheCluster(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, 3)
	natstest.NewBucket(t, c.Connect(t), jetstream.KeyValueConfig{Replicas: 1})
	nc, others := leaderAndOthers(t, c)
	kv, err := mustJetStream(t, nc).KeyValue(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	natstest.Put(t, kv, "before", "1")
	for _, s := range others {
		s.Stop()
	}
	r := watch(t, nc, WatcherOptions{Bucket: "b"})
	r.await(t, "Synced", 1)
	natstest.Put(t, kv, "after", "1")
	r.awaitLive(t, map[string]string{"before": "1", "after": "1"})
}

// A leader that is alone goes on answering for ten seconds and more, and so does a consumer at it. Nobody can write
// meanwhile, so the watcher must not take it for a bucket that can be read.
func TestWatcherDistrustsALeaderWithoutQuorum(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, 3)
	natstest.NewBucket(t, c.Connect(t), jetstream.KeyValueConfig{Replicas: 3})
	nc, others := leaderAndOthers(t, c)
	r := watch(t, nc, WatcherOptions{Bucket: "b", InfoInterval: 500 * time.Millisecond})
	r.await(t, "Synced", 1)
	for _, s := range others {
		s.Stop()
	}
	alone := time.Now()
	const unavailable = "Disconnected(jetstream is not available)"
	r.await(t, unavailable, 1)
	if took := r.when(unavailable, 1).Sub(alone); took > 2*quorumSilence {
		t.Errorf("it took %v to notice that nobody can write", took)
	}
	for _, s := range others {
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	r.await(t, "Synced", 2)
}

func TestWatcherSeesAgainAsSoonAsTheClusterWrites(t *testing.T) {
	t.Parallel()
	for name, victims := range map[string]func(client, leader int) []int{
		"the client's server": func(client, _ int) []int { return []int{client} },
		"the stream's leader": func(_, leader int) []int { return []int{leader} },
		"the quorum":          func(client, _ int) []int { return []int{client, (client + 1) % 3} },
	} {
		t.Run(name, func(t *testing.T) {
			c, nc, r := fleetOfThree(t, 100)
			writer := c.Connect(t, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))
			client := slices.IndexFunc(c.Servers, func(s *natstest.Server) bool { return s.URL() == nc.ConnectedUrl() })
			gone := victims(client, c.StreamLeader("KV_b"))
			for _, i := range gone {
				c.Servers[i].Stop()
			}
			if len(gone) > 1 {
				r.await(t, lost, 1)
				for _, i := range gone {
					if err := c.Servers[i].Restart(); err != nil {
						t.Fatal(err)
					}
				}
			}
			acknowledged := putAtLast(t, writer, "node.new")
			r.awaitLiveKey(t, "node.new")
			blind := time.Since(acknowledged)
			t.Logf("blind for %v; %v", blind, r.tale())
			if blind > defaultAPITimeout {
				t.Errorf("the bucket has taken writes for %v before the watcher saw one", blind)
			}
		})
	}
}

// leaderAndOthers returns a connection to the server that leads the bucket's stream and to no other, and the others.
func leaderAndOthers(t *testing.T, c *natstest.Cluster) (*nats.Conn, []*natstest.Server) {
	t.Helper()
	leader := c.StreamLeader("KV_b")
	nc, err := nats.Connect(c.Servers[leader].URL(), append(ConnectOptions(), nats.IgnoreDiscoveredServers())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, slices.Delete(slices.Clone(c.Servers), leader, leader+1)
}

// putAtLast puts a key again and again until that is acknowledged, and returns when it was.
func putAtLast(t *testing.T, nc *nats.Conn, key string) time.Time {
	t.Helper()
	natstest.Eventually(t, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		_, err := mustJetStream(t, nc).Publish(ctx, "$KV.b."+key, []byte("1"))
		return err
	})
	return time.Now()
}

func mustJetStream(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}
