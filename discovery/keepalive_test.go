package discovery

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// A program that keeps itself alive alone needs to know nothing of the others, and the leave to write its own key alone.
func TestAWriteOnlyRegistryNeedsTheDocumentedPermissionsOnly(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.WithReader([]string{"$JS.API.STREAM.INFO.KV_b", "$JS.API.STREAM.MSG.GET.KV_b", "$KV.b.node.n"}))
	admin := s.Connect(t, nats.UserInfo("admin", "p"))
	natstest.NewBucket(t, admin, jetstream.KeyValueConfig{TTL: time.Minute})
	others := openRegistry(t, admin, Options{Bucket: "b"})
	register(t, others, Node{ID: "other"})
	r := openRegistry(t, s.AsReader(t), Options{Bucket: "b", WriteOnly: true})
	stop := keepAlive(t, r, Node{ID: "n"}, KeepAliveOptions{})
	awaitIDs(t, others, "n", "other")
	if nodes := r.Nodes(); len(nodes) != 0 {
		t.Errorf("it knows %v", nodes)
	}
	if ttl := r.Bucket().TTL; ttl != time.Minute {
		t.Errorf("the TTL is %v", ttl)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	awaitIDs(t, others, "other")
}

func TestAWriteOnlyRegistryLearnsOfNewSettings(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	r := openRegistry(t, nc, Options{WriteOnly: true})
	b := r.Bucket()
	b.TTL, b.ReceivedAt = time.Hour, b.ReceivedAt.Add(-settingsAge)
	r.cache.Bucket(b)
	keepAlive(t, r, Node{ID: "n"}, KeepAliveOptions{})
	natstest.Eventually(t, func() error {
		if ttl := r.Bucket().TTL; ttl != DefaultTTL {
			return errors.New("the TTL is still " + ttl.String())
		}
		return nil
	})
}

func TestKeepAliveHeartbeatsAtOnce(t *testing.T) {
	r := openRegistry(t, natstest.Start(t).Connect(t), Options{})
	draining, now := false, make(chan struct{})
	keepAlive(t, r, Node{ID: "n"}, KeepAliveOptions{
		Interval: time.Hour, Now: now, Refresh: func(n *Node) { n.Draining = draining },
	})
	awaitIDs(t, r, "n")
	// Nobody reads it until the next heartbeat.
	draining = true
	now <- struct{}{}
	natstest.Eventually(t, func() error {
		if n, _ := r.Node("n"); !n.Draining {
			return errors.New("the node isn't draining")
		}
		return nil
	})
}

func TestKeepAliveTellsItsResults(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	r := openRegistry(t, s.Connect(t), Options{Storage: jetstream.FileStorage})
	results := make(chan error, 100)
	keepAlive(t, r, Node{ID: "n", Owner: &Owner{UID: "a"}}, KeepAliveOptions{
		Interval: 100 * time.Millisecond, Result: func(err error) { results <- err },
	})
	await := func(what string, is func(error) bool) {
		t.Helper()
		natstest.Eventually(t, func() error {
			select {
			case err := <-results:
				if is(err) {
					return nil
				}
			default:
			}
			return errors.New("no result that is " + what)
		})
	}
	success := func(err error) bool { return err == nil }
	await("a success", success)
	s.Stop()
	await("an outage", unreachable)
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	await("a success", success)
}

// The end sits out an outage that is shorter than its timeout.
func TestKeepAliveUnregistersOnceTheServerIsBack(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	r := openRegistry(t, s.Connect(t), Options{Storage: jetstream.FileStorage})
	stop := keepAlive(t, r, Node{ID: "n"}, KeepAliveOptions{UnregisterTimeout: natstest.Patience})
	awaitIDs(t, r, "n")
	s.Stop()
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	awaitIDs(t, r)
}

// What can't be read under the node's key stands until it is gone, at the start and later, and isn't removed at the end.
func TestKeepAliveLeavesWhatCantBeRead(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect(t)
	r := openRegistry(t, nc, Options{})
	for id, value := range map[string]string{
		"a": `{"NodeId":"a","Endpoint":"10.0.0.5:80","Owner":{"UID":7}}`, "b": "hello", "c": `{"NodeId":"c","Endpoint":"10.0.0.5:80","Metadata":{"x":{}}}`,
	} {
		results := make(chan error, 100)
		await := func(what string, is func(error) bool) {
			t.Helper()
			natstest.Eventually(t, func() error {
				select {
				case err := <-results:
					if is(err) {
						return nil
					}
				default:
				}
				return errors.New("no result that is " + what)
			})
		}
		conflict := func(err error) bool { return errors.Is(err, ErrConflict) }
		start := func() (stop func() error) {
			return keepAlive(t, r, Node{ID: id, Endpoint: "10.0.0.5:80"}, KeepAliveOptions{
				Interval: 50 * time.Millisecond, Result: func(err error) { results <- err },
			})
		}
		stop := start()
		await("a success", func(err error) bool { return err == nil })
		putRaw(t, r, nc, id, value)
		await("a conflict", conflict)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if h, err := r.History(t.Context(), id); err != nil || string(h[len(h)-1].Value) != value {
			t.Errorf("%s: the last is %s, %v", value, h[len(h)-1].Value, err)
		}
		if id == "c" { // Its own node wrote it, an earlier run may have.
			continue
		}
		stop = start()
		await("a conflict", conflict)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if h, err := r.History(t.Context(), id); err != nil || string(h[len(h)-1].Value) != value {
			t.Errorf("%s: the last is %s, %v", value, h[len(h)-1].Value, err)
		}
	}
}
