package kv

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// watcherOf runs a watcher until the test ends.
func watcherOf(t *testing.T, nc *nats.Conn, o WatcherOptions) (*Watcher, *recorder) {
	t.Helper()
	r := newRecorder()
	w, err := NewWatcher(nc, o, r)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = w.Run(t.Context()) })
	t.Cleanup(func() { running.Wait(); r.check(t) })
	return w, r
}

func awaitLeft(t *testing.T, left <-chan struct{}) {
	t.Helper()
	select {
	case <-left:
	case <-time.After(natstest.Patience):
		t.Fatal("the old connection is still in use")
	}
}

// A planned change of the connection is no gap, and nothing is missed while others write.
func TestAPlannedChangeIsNoGap(t *testing.T) {
	const n = 500
	s := natstest.Start(t)
	admin := s.Connect(t)
	natstest.NewBucket(t, admin, jetstream.KeyValueConfig{History: 5, Storage: jetstream.MemoryStorage})
	fill(t, admin, n)
	old := s.Connect(t)
	w, r := watcherOf(t, old, WatcherOptions{Bucket: "b", KeyPrefix: "node."})
	r.await(t, "Synced", 1)
	stop := write(t, s.Connect(t), n, 4)
	for round := range 5 {
		next := s.Connect(t)
		awaitLeft(t, w.Rebind(next))
		r.await(t, "Synced", round+2)
		old.Close()
		old = next
	}
	t.Logf("%d writes meanwhile", stop())
	r.awaitLive(t, bucketState(t, admin, n))
	want := []string{"Listing(Start)", "Synced"}
	for range 5 {
		want = append(want, "Listing(Planned)", "Synced")
	}
	if diff := cmp.Diff(want, r.tale()); diff != "" {
		t.Error(diff)
	}
	if len(r.absent) > 0 {
		t.Errorf("%d keys were told absent", len(r.absent))
	}
	natstest.Eventually(t, func() error {
		if c := consumers(t, admin, "b"); len(c) != 1 {
			return fmt.Errorf("%d consumers", len(c))
		}
		return nil
	})
}

// If the old connection dies before the bucket is listed on the new one, that one is used at once.
func TestAPlannedChangeOutlivesTheOldConnection(t *testing.T) {
	s := natstest.Start(t)
	bucket := natstest.NewBucket(t, s.Connect(t), jetstream.KeyValueConfig{})
	natstest.Put(t, bucket, "a", "1")
	old := s.Connect(t)
	w, r := watcherOf(t, old, WatcherOptions{Bucket: "b"})
	r.await(t, "Synced", 1)
	// The new one can't be used yet.
	p := natstest.StartProxy(t, s)
	p.Cut()
	next, err := nats.Connect(p.URL(), append(ConnectOptions(), nats.ReconnectWait(20*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(next.Close)
	left := w.Rebind(next)
	natstest.Put(t, bucket, "b", "1")
	r.awaitLiveKey(t, "b")
	if r.count("Listing(Planned)") > 0 || r.count(lost) > 0 {
		t.Errorf("the story is %v", r.tale())
	}
	old.Close()
	awaitLeft(t, left)
	p.Heal()
	r.await(t, "Synced", 2)
	natstest.Put(t, bucket, "c", "1")
	r.awaitLiveKey(t, "c")
}

func TestAChangeBeforeAndAfterARun(t *testing.T) {
	s := natstest.Start(t)
	natstest.NewBucket(t, s.Connect(t), jetstream.KeyValueConfig{})
	first := s.Connect(t)
	first.Close()
	w, err := NewWatcher(first, WatcherOptions{Bucket: "b"}, newRecorder())
	if err != nil {
		t.Fatal(err)
	}
	second := s.Connect(t)
	awaitLeft(t, w.Rebind(second))
	ended := make(chan error)
	go func() { ended <- w.Run(t.Context()) }()
	second.Close()
	if err := <-ended; !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("the run ends with %v", err)
	}
	awaitLeft(t, w.Rebind(s.Connect(t)))
}

// Writes go on over another connection, and answers to those before still come in.
func TestWriterChangesItsConnection(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	p := natstest.StartProxy(t, s)
	slow, err := nats.Connect(p.URL(), ConnectOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	w := newWriter(t, slow, WriterOptions{Bucket: "b", Timeout: 20 * time.Second})
	p.Slow(2000) // bytes a second
	ended := make(chan error, 1)
	w.Put("before", make([]byte, 4000), 0, func(_ uint64, err error) { ended <- err })
	left, err := w.Rebind(s.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	if r := putBy(t, w, "after", "1", 0); r.err != nil {
		t.Errorf("a write over the new connection: %+v", r)
	}
	select {
	case <-left:
		t.Error("the old connection was left with a write that is not answered")
	default:
	}
	if err := <-ended; err != nil {
		t.Errorf("the write before the change: %v", err)
	}
	awaitLeft(t, left)
	slow.Close()
	if r := putBy(t, w, "after", "2", 2); r.err != nil && !errors.Is(r.err, ErrOvertaken) {
		t.Errorf("a write after the old connection was closed: %+v", r)
	}
}
