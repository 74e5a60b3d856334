package discovery

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/discovery/kv"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// allowance is how much later than promised anything may be here: other tests share the machine.
const allowance = 2 * time.Second

// A node that falls silent leaves within a second of its TTL, whether the server says so or not.
func TestExpiry(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Second
	for name, markers := range map[string]time.Duration{"with markers": time.Second, "without markers": 0} {
		t.Run(name, func(t *testing.T) {
			nc := natstest.Start(t).Connect(t)
			natstest.NewBucket(t, nc, jetstream.KeyValueConfig{TTL: ttl, LimitMarkerTTL: markers, History: 3})
			r := openRegistry(t, nc, Options{Bucket: "b"})
			events := r.Watch(t.Context())
			began := time.Now()
			register(t, r, Node{ID: "silent"})
			registered := time.Now()
			awaitEvent(t, events)
			e := awaitEvent(t, events)
			if e.Type != Left || e.Reason != Expired || e.ID != "silent" {
				t.Errorf("%+v", e)
			}
			if took := time.Since(began); took < ttl || time.Since(registered) > ttl+time.Second+allowance {
				t.Errorf("the node left after %v, its ttl is %v", took, ttl)
			}
		})
	}
}

func TestHeartbeatsKeepANode(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect(t)
	natstest.NewBucket(t, nc, jetstream.KeyValueConfig{TTL: 2 * time.Second})
	r := openRegistry(t, nc, Options{Bucket: "b"})
	events := r.Watch(t.Context())
	register(t, r, Node{ID: "n"})
	awaitEvent(t, events)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for range 12 {
		<-tick.C
		if err := r.Heartbeat(t.Context(), "n", 1); err != nil {
			t.Fatal(err)
		}
		if e := awaitEvent(t, events); e.Type != Updated {
			t.Fatalf("%+v", e)
		}
	}
}

// The server is away for longer than the TTL and expires on its return whatever couldn't heartbeat: nobody has left.
func TestRestartLosesNobody(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Second
	s := natstest.Start(t)
	nc := s.Connect(t)
	natstest.NewBucket(t, nc, jetstream.KeyValueConfig{TTL: ttl, LimitMarkerTTL: ttl, History: 3})
	r := openRegistry(t, nc, Options{Bucket: "b"})
	for i := range 5 {
		register(t, r, Node{ID: strconv.Itoa(i)})
	}
	awaitIDs(t, r, "0", "1", "2", "3", "4")
	events := r.Watch(t.Context())
	for range 5 {
		awaitEvent(t, events)
	}

	s.Stop()
	natstest.Eventually(t, func() error {
		if err := r.Err(); !errors.Is(err, ErrConnectionLost) {
			return fmt.Errorf("the reason is %w", errors.Join(errors.New("another one"), err))
		}
		return nil
	})
	if err := r.Register(t.Context(), Node{ID: "late"}); err == nil {
		t.Error("a write without a server succeeded")
	}
	tick := time.NewTicker(ttl / 10)
	defer tick.Stop()
	for range 15 { // an outage of one and a half ttl
		<-tick.C
		if n := len(r.Nodes()); n != 5 {
			t.Fatalf("%d of 5 nodes are left during the outage", n)
		}
	}
	back := time.Now()
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, r.Err)
	keepAlive(t, r, Node{ID: "0"}, KeepAliveOptions{})
	left := map[string]bool{}
	for len(left) < 4 {
		switch e := awaitEvent(t, events); {
		case e.Type == Left:
			if since := time.Since(back); since < ttl {
				t.Errorf("%s left %v after the return", e.ID, since)
			}
			left[e.ID] = true
		case e.ID != "0":
			t.Errorf("%+v", e)
		}
	}
	if left["0"] {
		t.Error("the node that came back has left")
	}
}

// Nodes, removals and histories outlive a restart, for those who watched and for those who come later.
func TestRestartKeepsEverything(t *testing.T) {
	s := natstest.Start(t)
	r, other := openRegistry(t, s.Connect(t), Options{}), openRegistry(t, s.Connect(t), Options{})
	for i := range 50 {
		register(t, r, Node{ID: strconv.Itoa(i), Metadata: map[string]string{"i": strconv.Itoa(i)}})
	}
	if err := r.Unregister(t.Context(), "7"); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, func() error { return r.Register(t.Context(), Node{ID: "new"}) })
	fresh := openRegistry(t, s.Connect(t), Options{})
	for name, r := range map[string]*Registry{"the first": r, "the second": other, "a new one": fresh} {
		natstest.Eventually(t, func() error {
			// What was written last must be in: before the restart there were 50 nodes as well.
			if _, ok := r.Node("new"); !ok {
				return fmt.Errorf("%s has not seen the node that registered last", name)
			}
			return nil
		})
		if n := len(r.Nodes()); n != 50 {
			t.Errorf("%s knows %d of 50 nodes", name, n)
		}
		if _, ok := r.Node("7"); ok {
			t.Errorf("%s has raised the dead", name)
		}
		if n, _ := r.Node("42"); n.Metadata["i"] != "42" {
			t.Errorf("%s: %+v", name, n)
		}
	}
	if h, err := r.History(t.Context(), "7"); err != nil || len(h) != 2 {
		t.Errorf("the history is %v, %v", h, err)
	}
}

// A consumer that is cut off and comes back knows what happened meanwhile.
func TestCutOffRegistryCatchesUp(t *testing.T) {
	s := natstest.Start(t)
	r := openRegistry(t, s.Connect(t), Options{})
	register(t, r, Node{ID: "stays"})
	register(t, r, Node{ID: "leaves"})
	p := natstest.StartProxy(t, s)
	nc, err := nats.Connect(p.URL(), append(ConnectOptions(), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	cut := openRegistry(t, nc, Options{})
	awaitIDs(t, cut, "leaves", "stays")
	p.Cut()
	natstest.Eventually(t, func() error {
		if cut.Err() == nil {
			return errors.New("the cut isn't noticed")
		}
		return nil
	})
	if err := r.Unregister(t.Context(), "leaves"); err != nil {
		t.Fatal(err)
	}
	register(t, r, Node{ID: "new"})
	if _, ok := cut.Node("leaves"); !ok {
		t.Error("a node left while nothing could be heard")
	}
	p.Heal()
	awaitIDs(t, cut, "new", "stays")
}

// A program may start before its server.
func TestOpenWaitsForTheServer(t *testing.T) {
	s := natstest.Start(t)
	s.Stop()
	nc, err := nats.Connect(s.URL(), append(ConnectOptions(), nats.ReconnectWait(20*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, nc, Options{}); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrConnectionLost) {
		t.Errorf("got %v", err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	register(t, openRegistry(t, nc, Options{}), Node{ID: "n"})
}

func keepAlive(t *testing.T, r *Registry, n Node, o KeepAliveOptions) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.KeepAlive(ctx, n, o) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect(t)
	natstest.NewBucket(t, nc, jetstream.KeyValueConfig{TTL: 2 * time.Second, LimitMarkerTTL: time.Second})
	r := openRegistry(t, nc, Options{Bucket: "b"})
	events := r.Watch(t.Context())
	beats := 0
	stop := keepAlive(t, r, Node{ID: "n"}, KeepAliveOptions{Refresh: func(n *Node) {
		beats++
		n.Load = new(float64(beats))
	}})
	if e := awaitEvent(t, events); e.Type != Joined || *e.Node.Load != 1 {
		t.Errorf("%+v", e)
	}
	// The interval asked for is 10 s, but the ttl 2 s: without more frequent heartbeats the node would leave.
	// One that comes too fast for its reader is taken together with the next.
	last := 1.0
	for range 5 {
		e := awaitEvent(t, events)
		if e.Type != Updated || *e.Node.Load <= last {
			t.Errorf("%+v", e)
		}
		last = *e.Node.Load
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for e := awaitEvent(t, events); e.Type != Left; e = awaitEvent(t, events) {
		if e.Type != Updated {
			t.Errorf("%+v", e)
		}
	}
}

func TestKeepAliveComesBack(t *testing.T) {
	t.Parallel()
	const interval = 300 * time.Millisecond
	s := natstest.Start(t)
	nc := s.Connect(t)
	o := Options{Storage: jetstream.FileStorage}
	r := openRegistry(t, nc, o)
	keepAlive(t, r, Node{ID: "n"}, KeepAliveOptions{Interval: interval})
	awaitIDs(t, r, "n")
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.KeyValue(t.Context(), DefaultBucket)
	if err != nil {
		t.Fatal(err)
	}
	for name, harm := range map[string]func() error{
		"its key is deleted":    func() error { return bucket.Delete(t.Context(), "node.n") },
		"its key is purged":     func() error { return bucket.Purge(t.Context(), "node.n") },
		"the stream is purged":  func() error { return natstest.StreamOf(t, nc, DefaultBucket).Purge(t.Context()) },
		"the bucket is deleted": func() error { return js.DeleteKeyValue(t.Context(), DefaultBucket) },
		"the store is wiped":    s.Wipe,
		"the server restarts":   s.Restart,
	} {
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		harmed := time.Now()
		natstest.Eventually(t, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			e, err := r.base(ctx, "node.n")
			if err == nil && (e.Revision == 0 || e.Operation != kv.Put || e.Written.Before(harmed)) {
				return errors.New("not registered again")
			}
			return err
		})
		t.Logf("%s: back after %v", name, time.Since(harmed))
		awaitIDs(t, r, "n")
	}
}

func TestKeepAliveYieldsToAnother(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	r := openRegistry(t, nc, Options{})
	interval := KeepAliveOptions{Interval: 50 * time.Millisecond}
	stop := keepAlive(t, r, Node{ID: "n", Endpoint: "a:1"}, interval)
	awaitIDs(t, r, "n")
	register(t, r, Node{ID: "n", Endpoint: "b:1"})
	awaitEndpoint := func(want string) {
		t.Helper()
		natstest.Eventually(t, func() error {
			if n, _ := r.Node("n"); n.Endpoint != want {
				return fmt.Errorf("the endpoint is %q, want %q", n.Endpoint, want)
			}
			return nil
		})
	}
	awaitEndpoint("b:1")
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 6 {
		<-tick.C
		awaitEndpoint("b:1")
	}
	if err := r.Unregister(t.Context(), "n"); err != nil {
		t.Fatal(err)
	}
	awaitEndpoint("a:1")
	register(t, r, Node{ID: "n", Endpoint: "c:1"})
	awaitEndpoint("c:1")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if e, err := r.base(t.Context(), "node.n"); err != nil || e.Operation != kv.Put {
		t.Errorf("the other's entry was removed: %+v, %v", e, err)
	}
}

// A node that was ended without warning takes over the entry that it has left behind, and removes it in the end.
func TestKeepAliveTakesOverItsOwnEntry(t *testing.T) {
	r := openRegistry(t, natstest.Start(t).Connect(t), Options{})
	register(t, r, Node{ID: "n", Endpoint: "old:1"})
	stop := keepAlive(t, r, Node{ID: "n", Endpoint: "new:1"}, KeepAliveOptions{Interval: time.Hour})
	natstest.Eventually(t, func() error {
		if n, _ := r.Node("n"); n.Endpoint != "new:1" {
			return fmt.Errorf("%+v", n)
		}
		return nil
	})
	// Somebody heartbeats for it: the entry is still its own.
	if err := r.Heartbeat(t.Context(), "n", 1); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	awaitIDs(t, r)
}

func TestKeepAliveEndsWithoutAServer(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	r := openRegistry(t, s.Connect(t), Options{})
	stop := keepAlive(t, r, Node{ID: "n"}, KeepAliveOptions{})
	awaitIDs(t, r, "n")
	s.Stop()
	began := time.Now()
	if err := stop(); err == nil {
		t.Error("the node was unregistered without a server")
	}
	if took := time.Since(began); took > 2*unregisterTimeout {
		t.Errorf("it took %v to give up", took)
	}
}
