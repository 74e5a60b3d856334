package kv

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// beyondWindow keys of 4 KiB don't fit into the first window of flow control, so that the answers to it matter.
const beyondWindow = 2000

// readPermissions are what the documentation asks for a watcher of bucket b.
var readPermissions = []string{
	"$JS.API.STREAM.INFO.KV_b", "$JS.API.CONSUMER.CREATE.KV_b.>", "$JS.API.CONSUMER.DELETE.KV_b.>",
	"$JS.API.STREAM.MSG.GET.KV_b", "$JS.FC.KV_b.>",
}

func TestWatcherNeedsTheDocumentedPermissionsOnly(t *testing.T) {
	s := natstest.Start(t, natstest.WithReader(readPermissions))
	admin := s.Connect(t, nats.UserInfo("admin", "p"))
	natstest.NewBucket(t, admin, jetstream.KeyValueConfig{Storage: jetstream.MemoryStorage})
	fillSized(t, admin, beyondWindow, 4096)
	r := watch(t, s.AsReader(t), WatcherOptions{Bucket: "b", KeyPrefix: "node.", Known: []string{"node.gone"}})
	r.await(t, "Synced", 1)
	if r.sizes[0] != beyondWindow {
		t.Errorf("%d of %d keys", r.sizes[0], beyondWindow)
	}
	r.awaitAbsent(t, "node.gone")
}

// Without the leave to read single messages nothing can be confirmed, so nothing may be told absent.
func TestWatcherConfirmsNothingByAFailedRead(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.WithReader([]string{
		"$JS.API.STREAM.INFO.KV_b", "$JS.API.CONSUMER.CREATE.KV_b.>", "$JS.API.CONSUMER.DELETE.KV_b.>", "$JS.FC.KV_b.>",
	}))
	admin := s.Connect(t, nats.UserInfo("admin", "p"))
	natstest.Put(t, natstest.NewBucket(t, admin, jetstream.KeyValueConfig{}), "a", "1")
	r := watch(t, s.AsReader(t), WatcherOptions{
		Bucket: "b", Known: []string{"unknown"}, APITimeout: 2 * least, RelistInterval: 4 * least,
	})
	r.await(t, "Listing(Periodic)", 3)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.absent) != 0 {
		t.Errorf("%v were told absent without an answer", r.absent)
	}
}

func TestWatcherTellsARefusalFromAnEmptyBucket(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.WithReader([]string{"nothing"}))
	admin := s.Connect(t, nats.UserInfo("admin", "p"))
	natstest.Put(t, natstest.NewBucket(t, admin, jetstream.KeyValueConfig{}), "a", "1")
	r := watch(t, s.AsReader(t), WatcherOptions{Bucket: "b", APITimeout: 2 * least})
	r.await(t, "Disconnected(no answer from jetstream)", 1)
	if n := r.count("Synced"); n != 0 {
		t.Errorf("%v", r.tale())
	}
}

// A client of a leaf node reaches the bucket of the hub through the hub's domain.
func TestWatcherAcrossALeafNode(t *testing.T) {
	hub := natstest.Start(t, func(o *natstest.Options) {
		o.Domain = "hub"
		o.Configure = func(so *server.Options) {
			so.ServerName = "hub"
			so.LeafNode = server.LeafNodeOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT}
		}
	})
	remote := hub.LeafURL(t)
	leaf := natstest.Start(t, func(o *natstest.Options) {
		o.Domain = "leaf"
		o.Configure = func(so *server.Options) {
			so.ServerName = "leaf"
			so.LeafNode = server.LeafNodeOpts{Remotes: []*server.RemoteLeafOpts{{URLs: remote}}, ReconnectInterval: 50 * time.Millisecond}
		}
	})
	hubConn := hub.Connect(t)
	natstest.NewBucket(t, hubConn, jetstream.KeyValueConfig{Storage: jetstream.MemoryStorage})
	fillSized(t, hubConn, beyondWindow, 4096)
	nc := leaf.Connect(t)
	natstest.Eventually(t, func() error {
		_, err := newAPI(nc, apiPrefix("hub", ""), "b", time.Second).info(t.Context())
		return err
	})
	r := watch(t, nc, WatcherOptions{Bucket: "b", KeyPrefix: "node.", Domain: "hub", Known: []string{"node.gone"}})
	r.await(t, "Synced", 1)
	if r.sizes[0] != beyondWindow {
		t.Errorf("%d of %d keys", r.sizes[0], beyondWindow)
	}
	r.awaitAbsent(t, "node.gone")
}
