package kv

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// A slow link delays the answers behind megabytes of messages, and heartbeats behind those. A listing comes to its end on
// it all the same, and at the first attempt.
func TestWatcherOverASlowLink(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		keys, size, rate int
	}{
		// The first window of flow control, 2 MiB, takes longer than a request may.
		"slow": {keys: 700, size: 4096, rate: 600_000},
		// The proxy lets through 64 KiB at a time, each after more than a second of silence.
		"with hiccups": {keys: 32, size: 4096, rate: 48_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t)
			admin := s.Connect(t)
			natstest.NewBucket(t, admin, jetstream.KeyValueConfig{Storage: jetstream.MemoryStorage})
			fillSized(t, admin, test.keys, test.size)
			p := natstest.StartProxy(t, s)
			nc, err := nats.Connect(p.URL(), ConnectOptions()...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(nc.Close)
			p.Slow(test.rate)
			r := watch(t, nc, WatcherOptions{Bucket: "b"})
			r.await(t, "Synced", 1)
			if r.sizes[0] != test.keys {
				t.Errorf("%d of %d keys", r.sizes[0], test.keys)
			}
			if diff := cmp.Diff([]string{"Listing(Start)", "Synced"}, r.tale()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// muchPending is how much has to wait at least for a test of that to show something, in bytes.
const muchPending = maxPending / 16

// sluggish is a Sink that takes its time for each entry of a listing, and looks at what is waiting meanwhile.
type sluggish struct {
	*recorder

	watcher *Watcher
	entries int
	most    int
}

func (s *sluggish) Entry(e Entry) {
	s.recorder.Entry(e)
	if s.entries++; s.entries%1000 != 0 {
		return
	}
	// The first time until much is waiting, however slow the server is on this machine.
	for deadline := time.Now().Add(natstest.Patience); time.Now().Before(deadline); {
		<-time.After(40 * time.Millisecond)
		if s.most = max(s.most, s.watcher.run.current.in.Pending()); s.most >= muchPending {
			return
		}
	}
}

// A sink that is slow has the server wait. The listing comes to its end all the same, at the first attempt and on the same
// connection.
func TestWatcherWithASlowSink(t *testing.T) {
	const keys = 50_000
	s := natstest.Start(t)
	admin := s.Connect(t)
	natstest.NewBucket(t, admin, jetstream.KeyValueConfig{Storage: jetstream.MemoryStorage})
	fill(t, admin, keys)
	nc, err := nats.Connect(s.URL(), ConnectOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	sink := &sluggish{recorder: newRecorder()}
	if sink.watcher, err = NewWatcher(nc, WatcherOptions{Bucket: "b"}, sink); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = sink.watcher.Run(ctx)
	}()
	sink.await(t, "Synced", 1)
	cancel()
	<-ended
	sink.check(t)
	if diff := cmp.Diff([]string{"Listing(Start)", "Synced"}, sink.tale()); diff != "" {
		t.Error(diff)
	}
	if sink.sizes[0] != keys || nc.Stats().Reconnects > 0 {
		t.Errorf("%d of %d keys, %d reconnects", sink.sizes[0], keys, nc.Stats().Reconnects)
	}
	if sink.most > maxPending || sink.most < muchPending {
		t.Errorf("%d bytes were waiting, more than %d or so few that this shows nothing", sink.most, maxPending)
	}
	t.Logf("%d bytes were waiting at most", sink.most)
}
