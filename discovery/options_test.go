package discovery

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/discovery/kv"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

func TestAnExistingBucketIsNeverAltered(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	natstest.NewBucket(t, nc, jetstream.KeyValueConfig{History: 2, TTL: time.Hour, Storage: jetstream.MemoryStorage})
	r := openRegistry(t, nc, Options{Bucket: "b"})
	want := []kv.Difference{
		{Setting: "TTL", Want: "5m0s", Got: "1h0m0s"}, {Setting: "History", Want: "5", Got: "2"}, {Setting: "Storage", Want: "File", Got: "Memory"}, {Setting: "MarkerTTL", Want: "5m0s", Got: "0s"},
	}
	if diff := cmp.Diff(want, r.Differences()); diff != "" {
		t.Error(diff)
	}
	if c := natstest.StreamOf(t, nc, "b").CachedInfo().Config; c.MaxMsgsPerSubject != 2 || c.MaxAge != time.Hour || c.SubjectDeleteMarkerTTL != 0 {
		t.Errorf("%+v", c)
	}
}

func TestAnEmptyPrefixAndNoTTL(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	r := openRegistry(t, nc, Options{KeyPrefix: new(""), TTL: -1})
	if b := r.Bucket(); b.TTL != 0 {
		t.Errorf("the ttl is %v", b.TTL)
	}
	register(t, r, Node{ID: "n"})
	awaitIDs(t, r, "n")
	if _, err := natstest.StreamOf(t, nc, DefaultBucket).GetLastMsgForSubject(t.Context(), "$KV.catga_nodes.n"); err != nil {
		t.Error(err)
	}
}

func TestInvalidInputIsRefused(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	r := openRegistry(t, nc, Options{})
	ctx := t.Context()
	_, history := r.History(ctx, "a b")
	for name, err := range map[string]error{
		"register": r.Register(ctx, Node{ID: "a b"}), "heartbeat": r.Heartbeat(ctx, "", 1), "unregister": r.Unregister(ctx, ".."),
		"history": history, "keep alive": r.KeepAlive(ctx, Node{ID: "*"}, KeepAliveOptions{}),
	} {
		if !errors.Is(err, ErrInvalidID) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"register": r.Register(ctx, Node{ID: "n", Load: new(math.NaN())}), "heartbeat": r.Heartbeat(ctx, "n", math.Inf(1)),
		"keep alive": r.KeepAlive(ctx, Node{ID: "n", Load: new(math.NaN())}, KeepAliveOptions{}),
	} {
		if reasonOf(err) != ReasonWrongShape {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, o := range map[string]Options{
		"a bucket": {Bucket: "a.b"}, "a prefix": {KeyPrefix: new("a..")}, "a history": {History: 65}, "a domain": {Domain: "a b"}, "replicas": {Replicas: -1},
	} {
		if _, err := Open(ctx, nc, o); !errors.Is(err, ErrInvalidBucket) && !errors.Is(err, ErrInvalidID) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := Open(ctx, nc, Options{Bucket: "missing", NoCreate: true}); !errors.Is(err, ErrBucketNotFound) {
		t.Errorf("a missing bucket: got %v", err)
	}
}

func TestRegistryWithADomain(t *testing.T) {
	s := natstest.Start(t, func(o *natstest.Options) { o.Domain = "hub" })
	r := openRegistry(t, s.Connect(t), Options{Domain: "hub"})
	register(t, r, Node{ID: "n"})
	awaitIDs(t, r, "n")
	if err := r.Heartbeat(t.Context(), "n", 1); err != nil {
		t.Fatal(err)
	}
	if h, err := r.History(t.Context(), "n"); err != nil || len(h) != 2 {
		t.Errorf("%v, %v", h, err)
	}
	if err := r.Unregister(t.Context(), "n"); err != nil {
		t.Fatal(err)
	}
	awaitIDs(t, r)
}

func TestAMirrorCanBeReadOnly(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	origin := openRegistry(t, nc, Options{})
	register(t, origin, Node{ID: "n"})
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "copy", Mirror: &jetstream.StreamSource{Name: DefaultBucket}}); err != nil {
		t.Fatal(err)
	}
	r := openRegistry(t, nc, Options{Bucket: "copy"})
	awaitIDs(t, r, "n")
	for name, err := range map[string]error{
		"register": r.Register(t.Context(), Node{ID: "m"}), "heartbeat": r.Heartbeat(t.Context(), "n", 1), "unregister": r.Unregister(t.Context(), "n"),
	} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
