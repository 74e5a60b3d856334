package kv

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

func TestWatcherListsAndFollows(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	kv := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{History: 5, TTL: time.Minute, LimitMarkerTTL: time.Minute})
	natstest.Put(t, kv, "node.a", "1")
	natstest.Put(t, kv, "node.a", "2")
	natstest.Put(t, kv, "node.gone", "1")
	remove(t, kv, "node.gone")
	natstest.Put(t, kv, "other.x", "1")

	r := watch(t, nc, WatcherOptions{Bucket: "b", KeyPrefix: "node.", Known: []string{"node.known"}})
	r.await(t, "Synced", 1)
	r.awaitLive(t, map[string]string{"node.a": "2"})
	rev := natstest.Put(t, kv, "node.b", "1")
	r.awaitLive(t, map[string]string{"node.a": "2", "node.b": "1"})
	remove(t, kv, "node.a")
	if err := kv.Purge(t.Context(), "node.b"); err != nil {
		t.Fatal(err)
	}
	r.awaitLive(t, map[string]string{})
	r.awaitAbsent(t, "node.known")

	if diff := cmp.Diff([]string{"Listing(Start)", "Synced"}, r.tale()); diff != "" {
		t.Error(diff)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bucket
	if b.TTL != time.Minute || b.History != 5 || !b.Markers || !b.MessageTTL || b.Storage != jetstream.FileStorage || b.Replicas != 1 || b.Mirror {
		t.Errorf("%+v", b)
	}
	if skew := time.Since(b.ServerTimeAt(time.Now())).Abs(); skew > time.Second {
		t.Errorf("the server's clock is on this machine, and %v off", skew)
	}
	if rev == 0 || r.revisions["node.b"] <= rev {
		t.Errorf("the purge's revision is %d, that of the put before is %d", r.revisions["node.b"], rev)
	}
}

func TestWatcherReadsWhatClientsRefuse(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	natstest.NewBucket(t, nc, jetstream.KeyValueConfig{})
	if _, err := nc.Request("$KV.b.nöde!1", []byte("x"), time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Request("$KV.b.node2", []byte("y"), time.Second); err != nil {
		t.Fatal(err)
	}
	// A prefix that doesn't end a token.
	watch(t, nc, WatcherOptions{Bucket: "b", KeyPrefix: "no"}).awaitLive(t, map[string]string{"node2": "y"})
	watch(t, nc, WatcherOptions{Bucket: "b"}).awaitLive(t, map[string]string{"nöde!1": "x", "node2": "y"})
}

func TestWatcherTellsTTLs(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect(t)
	kv := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{LimitMarkerTTL: time.Minute})
	if _, err := kv.Create(t.Context(), "short", []byte("x"), jetstream.KeyTTL(2*time.Second)); err != nil {
		t.Fatal(err)
	}
	natstest.Put(t, kv, "forever", "x")
	r := watch(t, nc, WatcherOptions{Bucket: "b"})
	r.awaitLive(t, map[string]string{"short": "x", "forever": "x"})
	r.mu.Lock()
	short, forever := r.live["short"], r.live["forever"]
	r.mu.Unlock()
	if short.TTL != 2*time.Second || forever.TTL != 0 {
		t.Errorf("ttls are %v and %v", short.TTL, forever.TTL)
	}
	r.awaitLive(t, map[string]string{"forever": "x"}) // by the server's marker
}

// A listing of a bucket whose last messages are of no interest, or gone, ends by the consumer's heartbeat.
func TestWatcherSyncsWithoutATail(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	kv := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{History: 3})
	natstest.Put(t, kv, "node.a", "1")
	natstest.Put(t, kv, "other", "1")
	r := watch(t, nc, WatcherOptions{Bucket: "b", KeyPrefix: "node."})
	r.await(t, "Synced", 1)
	r.awaitLive(t, map[string]string{"node.a": "1"})

	if err := natstest.StreamOf(t, nc, "b").Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	empty := watch(t, nc, WatcherOptions{Bucket: "b", KeyPrefix: "node."})
	empty.await(t, "Synced", 1)
	empty.awaitLive(t, map[string]string{})
}

func TestWatcherWaitsForTheBucket(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	r := watch(t, nc, WatcherOptions{Bucket: "b"})
	r.await(t, "Disconnected(bucket not found)", 1)
	natstest.Put(t, natstest.NewBucket(t, nc, jetstream.KeyValueConfig{}), "a", "1")
	r.awaitLive(t, map[string]string{"a": "1"})
	if n := r.count("Disconnected(bucket not found)"); n != 1 {
		t.Errorf("the same reason was told %d times", n)
	}
}

func TestWatcherEndsWithItsConnection(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	natstest.NewBucket(t, nc, jetstream.KeyValueConfig{})
	r := newRecorder()
	w, err := NewWatcher(nc, WatcherOptions{Bucket: "b"}, r)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Run(t.Context()) }()
	r.await(t, "Synced", 1)
	nc.Close()
	select {
	case err := <-ended:
		if !errors.Is(err, nats.ErrConnectionClosed) {
			t.Errorf("got %v", err)
		}
	case <-time.After(natstest.Patience):
		t.Fatal("the watcher goes on without a connection")
	}
	if err := w.Run(t.Context()); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("a run on a closed connection: got %v", err)
	}
}

func TestWatcherLeavesNothingBehind(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	natstest.NewBucket(t, nc, jetstream.KeyValueConfig{})
	r := newRecorder()
	subscriptions := nc.NumSubscriptions()
	stop := start(t, nc, WatcherOptions{Bucket: "b"}, r)
	r.await(t, "Synced", 1)
	if n := len(consumers(t, nc, "b")); n != 1 {
		t.Errorf("a watcher has %d consumers", n)
	}
	subscriptions = max(subscriptions, nc.NumSubscriptions()-1) // the client's own for replies stays
	stop()
	if left := consumers(t, nc, "b"); len(left) != 0 {
		t.Errorf("%d consumers are left", len(left))
	}
	if n := nc.NumSubscriptions(); n > subscriptions {
		t.Errorf("%d subscriptions are left", n-subscriptions)
	}
}

func TestWatcherOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]WatcherOptions{
		"no bucket":          {},
		"a bucket with dots": {Bucket: "a.b"},
		"a wildcard prefix":  {Bucket: "b", KeyPrefix: "node.*."},
		"an empty token":     {Bucket: "b", KeyPrefix: "a..b"},
		"a short heartbeat":  {Bucket: "b", IdleHeartbeat: time.Millisecond},
		"a negative one":     {Bucket: "b", RelistInterval: -1},
	} {
		if _, err := NewWatcher(nil, o, nil); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestWatcherWithADomain(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, func(o *natstest.Options) { o.Domain = "hub" })
	nc := s.Connect(t)
	kv := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{})
	natstest.Put(t, kv, "a", "1")
	r := watch(t, nc, WatcherOptions{Bucket: "b", Domain: "hub", Known: []string{"x"}})
	r.awaitLive(t, map[string]string{"a": "1"})
	natstest.Put(t, kv, "a", "2")
	r.awaitLive(t, map[string]string{"a": "2"})
	other := watch(t, nc, WatcherOptions{Bucket: "b", Domain: "nowhere"})
	other.await(t, "Disconnected(jetstream is not available)", 1)
}

// The first listing of a context that ends at once must end too.
func TestWatcherEndsAtOnce(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	natstest.NewBucket(t, nc, jetstream.KeyValueConfig{})
	w, err := NewWatcher(nc, WatcherOptions{Bucket: "b"}, newRecorder())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if left := consumers(t, nc, "b"); len(left) != 0 {
		t.Errorf("%d consumers are left", len(left))
	}
}

// A watcher may start before its server.
func TestWatcherWaitsForTheServer(t *testing.T) {
	s := natstest.Start(t)
	s.Stop()
	nc, err := nats.Connect(s.URL(), append(ConnectOptions(), nats.ReconnectWait(20*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	r := watch(t, nc, WatcherOptions{Bucket: "b"})
	r.await(t, lost, 1)
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, func() error {
		if !nc.IsConnected() {
			return errors.New("not connected")
		}
		return nil
	})
	bucket := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{})
	natstest.Put(t, bucket, "a", "1")
	r.awaitLiveKey(t, "a")
	if n := r.count("Listing(Start)"); n != 1 {
		t.Errorf("the story is %v", r.tale())
	}
}
