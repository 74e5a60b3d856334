package kv

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// An account that is full stays so over a listing and a look at which it was not asked.
func TestAFullAccountIsNotForgotten(t *testing.T) {
	full := aStream(func(s *streamState) {
		s.account = &jetstream.AccountInfo{Tier: jetstream.Tier{Store: 10_000, Limits: jetstream.AccountLimits{MaxStore: 10_000}}}
	})
	w := storeWatch{}
	if b := w.judge(Bucket{state: full}); b.Store.Refusal != StoreFull {
		t.Fatalf("%+v", b.Store)
	}
	if b := w.judge(Bucket{state: aStream()}); b.Store.Refusal != StoreFull {
		t.Errorf("nobody said that the account has room, and the store is %+v", b.Store)
	}
}

type syncedStores struct {
	*recorder
	stores []Store
	denied []string
}

func (s *syncedStores) Synced(b Bucket) {
	s.recorder.Synced(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stores, s.denied = append(s.stores, b.Store), append(s.denied, b.Denied)
}

func watchStores(t *testing.T, nc *nats.Conn, o WatcherOptions) *syncedStores {
	t.Helper()
	s := &syncedStores{recorder: newRecorder()}
	t.Cleanup(start(t, nc, o, s))
	return s
}

func TestAListingForgetsNoFullAccount(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	bucket := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{TTL: time.Minute})
	natstest.Put(t, bucket, "a", "1")
	if err := srv.NATS().GlobalAccount().UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{
		"": {MaxMemory: -1, MaxStore: 10, MaxStreams: -1, MaxConsumers: -1},
	}); err != nil {
		t.Fatal(err)
	}
	r := watchStores(t, nc, WatcherOptions{Bucket: "b", InfoInterval: least, RelistInterval: 10 * least})
	r.awaitBucket(t, func(b Bucket) bool { return b.Store.Refusal == StoreFull })
	n := r.count("Synced")
	r.await(t, "Synced", n+2)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, store := range r.stores[n:] {
		if store.Refusal != StoreFull {
			t.Errorf("after a periodic listing of a bucket whose account is full the store is %+v", store)
		}
	}
}

func TestAListingForgetsNoDenial(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.WithReader([]string{
		"$JS.API.STREAM.INFO.KV_b", "$JS.API.CONSUMER.CREATE.KV_b.>", "$JS.API.CONSUMER.DELETE.KV_b.>", "$JS.FC.KV_b.>",
	}))
	bucket := natstest.NewBucket(t, s.Connect(t, nats.UserInfo("admin", "p")), jetstream.KeyValueConfig{})
	natstest.Put(t, bucket, "a", "1")
	r := watchStores(t, s.AsReader(t), WatcherOptions{Bucket: "b", InfoInterval: least, RelistInterval: 10 * least})
	r.await(t, "Synced", 1)
	r.ask("a")
	r.awaitBucket(t, func(b Bucket) bool { return b.Denied != "" })
	n := r.count("Synced")
	r.await(t, "Synced", n+2)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, denied := range r.denied[n:] {
		if denied == "" {
			t.Error("the periodic listing forgot what is denied")
		}
	}
}

// A key that a full store refuses is asked for a few times, not ten times a second for as long as the store is full.
func TestAKeyThatIsRefusedIsAskedForRarely(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect(t)
	bucket := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{TTL: time.Minute, History: 2})
	for _, key := range []string{"full", "full", "small"} {
		natstest.Put(t, bucket, key, "1")
	}
	config := natstest.StreamOf(t, nc, "b").CachedInfo().Config
	config.MaxMsgs = 3
	if _, err := mustJetStream(t, nc).UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	r := watch(t, nc, WatcherOptions{Bucket: "b", InfoInterval: time.Hour})
	r.await(t, "Synced", 1)
	r.ask("small")
	before := r.told()
	done := time.After(5 * time.Second)
	for i := 0; ; i++ {
		select {
		case <-done:
			if n := r.told() - before; n > 5 {
				t.Errorf("%d looks in 5 s", n)
			}
			return
		case <-time.After(50 * time.Millisecond):
			natstest.Put(t, bucket, "full", "1") // another node's heartbeat
		}
	}
}

// At max_msgs on one replica only keys with fewer than history revisions are refused; that our writer meets that with one key
// does not stop the clock for all.
func TestOneRefusedKeyDoesNotStopTheOthers(t *testing.T) {
	w := storeWatch{writer: &Writer{}}
	w.writer.note(fmt.Errorf("%w: %w", ErrBucketFull, &jetstream.APIError{Code: 503, ErrorCode: codeStoreFailed, Description: "maximum messages exceeded"}))
	state := aStream(func(s *streamState) { s.info.Config.MaxMsgs, s.info.State.Msgs = 100, 100 })
	if b := w.judge(Bucket{state: state}); !b.Store.Partial {
		t.Errorf("the store is %+v", b.Store)
	}
}
