package kv

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

func TestUnclearAcks(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	bucket := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{})
	c, err := NewClient(nc, ClientOptions{Bucket: "b"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	b, err := c.Bucket(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key := "node.n"
	natstest.Put(t, bucket, key, "first")
	base, err := c.Last(t.Context(), b, key)
	if err != nil {
		t.Fatal(err)
	}
	m := nats.NewMsg("")
	m.Data = []byte(`{"NodeId":"n","Name":"mine"}`)
	unclear := fmt.Errorf("%w: test", ErrNoAnswer)
	if _, err := c.readBack(t.Context(), b, key, m, base.Revision, unclear); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("nothing was stored: got %v", err)
	}
	stored, err := c.Put(t.Context(), b, key, m.Data, base)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.readBack(t.Context(), b, key, m, base.Revision, unclear); err != nil || got != stored {
		t.Errorf("the message was stored as %d: got %d, %v", stored, got, err)
	}
	natstest.Put(t, bucket, key, "another")
	if _, err := c.readBack(t.Context(), b, key, m, base.Revision, unclear); !errors.Is(err, ErrOvertaken) {
		t.Errorf("somebody else was faster: got %v", err)
	}
	if _, err := c.Put(t.Context(), b, key, m.Data, base); !errors.Is(err, ErrOvertaken) {
		t.Errorf("an old revision: got %v", err)
	}
	if err := c.Delete(t.Context(), b, key, Entry{}); !errors.Is(err, ErrNotRegistered) {
		t.Errorf("a removal without a revision: got %v", err)
	}
}
