package kv

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// A slow link delays the answers behind megabytes of messages, and heartbeats behind those. A listing comes to its end on
// it all the same, and at the first attempt.
func TestWatcherOverASlowLink(t *testing.T) {
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
