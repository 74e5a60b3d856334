package kv

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// Keys for which there is no room are as if they were not there, and those that are followed go on being so.
func TestMaxKeys(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	bucket := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{TTL: time.Minute})
	natstest.Put(t, bucket, "a", "1")
	natstest.Put(t, bucket, "b", "1")
	r := newRecorder()
	r.maxKeys = 2
	t.Cleanup(start(t, nc, WatcherOptions{Bucket: "b", InfoInterval: least, RelistInterval: time.Second}, r))
	r.await(t, "Synced", 1)
	natstest.Put(t, bucket, "c", "1")
	natstest.Put(t, bucket, "a", "2")
	r.awaitLiveValue(t, "a", "2")
	r.awaitBucket(t, func(b Bucket) bool { return b.LeftOut })
	r.mu.Lock()
	live := slices.Sorted(maps.Keys(r.live))
	r.maxKeys = 3
	r.mu.Unlock()
	if !slices.Equal(live, []string{"a", "b"}) {
		t.Errorf("followed are %v", live)
	}
	r.awaitLiveKey(t, "c") // without a message of its own
	r.awaitBucket(t, func(b Bucket) bool { return !b.LeftOut })
	r.check(t)
}
