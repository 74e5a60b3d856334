package connections

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// accounts has the server use the accounts of a configuration, and nothing else of it.
func accounts(t *testing.T, config string) func(*server.Options) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.conf")
	must(t, os.WriteFile(file, []byte(config), 0o600))
	parsed, err := server.ProcessConfigFile(file)
	must(t, err)
	return func(o *server.Options) { o.Accounts, o.Users = parsed.Accounts, parsed.Users }
}

// documentedAccounts returns the accounts in docs/connections.md.
func documentedAccounts(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/connections.md")
	must(t, err)
	_, rest, _ := strings.Cut(string(page), "```\naccounts: {")
	block, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/connections.md has no configuration of accounts")
	}
	return "accounts: {" + block
}

// The bucket belongs to the account of the fleet, and Rollcall's account imports what it takes.
func TestABucketOfAnotherAccount(t *testing.T) {
	t.Parallel()
	r := newRig(t, accounts(t, documentedAccounts(t)))
	r.secret("login", basic("the-password-of-rollcall"))
	fleet := r.nats.Connect(t, nats.UserInfo("fleet", "the-password-of-fleet"))
	js, err := jetstream.New(fleet)
	must(t, err)
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket, TTL: 5 * time.Minute, History: 5})
	must(t, err)
	// So much that reading it takes flow control.
	for i := range 40 {
		_, err := kv.PutString(t.Context(), fmt.Sprintf("node.large-%d", i), strings.Repeat("x", 500<<10))
		must(t, err)
	}
	r.put(fleet, "web-1", "web-2")
	r.registry("catga", userPassword("login"), func(s *rollcallv1alpha1.NodeRegistrySpec) {
		s.Connection.APIPrefix, s.Connection.InboxPrefix = "fleet.API", ownInbox
		s.Bucket.CreationPolicy = rollcallv1alpha1.CreateNever
	})
	r.service()
	r.await("catga", "Ready", "True/Ready")
	r.Within(patience, "two endpoints", func() bool { return r.endpoints() == 2 })
	r.put(fleet, "web-1", "web-2", "web-3")
	r.Within(patience, "the third endpoint", func() bool { return r.endpoints() == 3 })
	// Pods are written into it as well.
	r.registerPod()
	r.Within(patience, "the pod to be registered", func() bool {
		_, err := kv.Get(t.Context(), "node.api-0")
		return !errors.Is(err, jetstream.ErrKeyNotFound)
	})
	// Without the prefix there is no such bucket.
	r.registry("own", userPassword("login"), func(s *rollcallv1alpha1.NodeRegistrySpec) {
		s.Connection.InboxPrefix, s.Bucket.CreationPolicy = ownInbox, rollcallv1alpha1.CreateNever
	})
	r.await("own", "Ready", "False/BucketError")
}

// The bucket is in the domain of the hub and in the account of the fleet there, which a leaf node joins with an account of its
// own.
func TestADomainOfAnotherAccount(t *testing.T) {
	t.Parallel()
	hub := natstest.Start(t, func(o *natstest.Options) {
		o.Domain = "hub"
		o.Configure = func(so *server.Options) {
			accounts(t, `accounts: {
				FLEET: {jetstream: enabled, users: [{user: fleet, password: the-password-of-fleet}]}
				OTHER: {jetstream: enabled, users: [{user: other, password: the-password-of-other}]}
			}`)(so)
			so.ServerName = "hub"
			so.LeafNode = server.LeafNodeOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT}
		}
	})
	remote := hub.LeafURL(t)
	remote[0].User = url.UserPassword("fleet", "the-password-of-fleet")
	r := newRig(t, func(o *server.Options) {
		accounts(t, `accounts: {EDGE: {users: [{user: rollcall, password: the-password-of-rollcall}]}}`)(o)
		o.ServerName, o.JetStream = "leaf", false
		o.LeafNode = server.LeafNodeOpts{
			Remotes: []*server.RemoteLeafOpts{{URLs: remote, LocalAccount: "EDGE"}}, ReconnectInterval: 50 * time.Millisecond,
		}
	})
	r.secret("login", basic("the-password-of-rollcall"))
	r.registry("far", userPassword("login"), func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Connection.JetStreamDomain = "hub" })
	r.service()
	r.await("far", "Ready", "True/Ready")
	r.put(hub.Connect(t, nats.UserInfo("fleet", "the-password-of-fleet")), "web-1")
	r.Within(patience, "an endpoint of the node in the hub", func() bool { return r.endpoints() == 1 })
	js, err := jetstream.New(hub.Connect(t, nats.UserInfo("other", "the-password-of-other")))
	must(t, err)
	if _, err := js.KeyValue(t.Context(), bucket); !errors.Is(err, jetstream.ErrBucketNotFound) {
		t.Errorf("the other account has the bucket as well: %v", err)
	}
}
