package connections

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

func bucketName(name string) func(*rollcallv1alpha1.NodeRegistrySpec) {
	return func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Bucket.Name = name }
}

func TestSharedConnections(t *testing.T) {
	t.Parallel()
	r := newRig(t, users(
		&server.User{Username: "rollcall", Password: "the-right-password"},
		&server.User{Username: "other", Password: "another-password"},
	))
	r.secret("login", basic("the-right-password"))
	r.secret("other", map[string]string{"username": "other", "password": "another-password"})
	clients := func(want int) {
		t.Helper()
		r.Within(patience, "the number of connections", func() bool { return r.nats.NATS().NumClients() == want })
	}
	r.registry("a", userPassword("login"), bucketName("a"))
	r.registry("b", userPassword("login"), bucketName("b"))
	r.await("a", "Ready", "True/Ready")
	r.await("b", "Ready", "True/Ready")
	clients(1)
	r.registry("c", userPassword("other"), bucketName("c"))
	r.await("c", "Ready", "True/Ready")
	clients(2)

	suspend := func(name string, on bool) {
		t.Helper()
		r.change(name, func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Suspend = on })
	}
	suspend("a", true)
	r.await("a", "Ready", "False/Suspended")
	r.await("b", "Ready", "True/Ready")
	clients(2)
	suspend("b", true)
	clients(1)
	suspend("a", false)
	r.await("a", "Ready", "True/Ready")
	clients(2)
	must(t, r.API.Delete(t.Context(), r.get("a")))
	clients(1)
}

// A suspended registry keeps what it knows, and no connection.
func TestSuspend(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.registry("catga", func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Bucket.TTL = seconds(6) })
	r.service()
	r.await("catga", "Ready", "True/Ready")
	admin := r.nats.Connect(t)
	r.put(admin, "web-1", "web-2")
	r.Within(patience, "two endpoints", func() bool { return r.endpoints() == 2 })
	r.change("catga", func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Suspend = true })
	r.await("catga", "Ready", "False/Suspended")
	end := r.keeps(2)
	r.Within(patience, "the connection to go", func() bool { return r.nats.NATS().NumClients() == 1 })
	suspended := time.Now()
	r.Within(patience, "the nodes to be past their TTL", func() bool { return time.Since(suspended) > 8*time.Second })
	end()
	r.Within(patience, "the status to count two nodes", func() bool {
		nodes := r.get("catga").Status.Nodes
		return nodes != nil && nodes.Ready == 2
	})
	r.change("catga", func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Suspend = false })
	r.await("catga", "Ready", "True/Ready")
}

// The bucket is in the hub's domain, and Rollcall knows the leaf node only.
func TestJetStreamDomain(t *testing.T) {
	t.Parallel()
	hub := natstest.Start(t, func(o *natstest.Options) {
		o.Domain = "hub"
		o.Configure = func(so *server.Options) {
			so.ServerName = "hub"
			so.LeafNode = server.LeafNodeOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT}
		}
	})
	remote := hub.LeafURL(t)
	r := newRig(t, func(o *server.Options) {
		o.ServerName, o.JetStreamDomain = "leaf", "leaf"
		o.LeafNode = server.LeafNodeOpts{Remotes: []*server.RemoteLeafOpts{{URLs: remote}}, ReconnectInterval: 50 * time.Millisecond}
	})
	r.registry("far", func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Connection.JetStreamDomain = "hub" })
	r.service()
	r.await("far", "Ready", "True/Ready")
	r.put(hub.Connect(t), "web-1")
	r.Within(patience, "an endpoint of the node in the hub", func() bool { return r.endpoints() == 1 })

	// A domain is no matter of the connection: the two share one.
	r.registry("near", bucketName("near"))
	r.await("near", "Ready", "True/Ready")
	r.Within(patience, "the leaf node to have one client", func() bool { return r.nats.NATS().NumClients() == 1 })
	r.registry("nowhere", func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Connection.JetStreamDomain = "nowhere" })
	r.await("nowhere", "Synced", "False/BucketError")
}
