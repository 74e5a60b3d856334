package kv

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// The counts of all subjects would not fit into a message if they are very many: then each key is asked for.
func TestCountsOfManySubjects(t *testing.T) {
	s := natstest.Start(t)
	nc := s.Connect(t)
	bucket := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{History: 5, Storage: jetstream.MemoryStorage})
	for _, key := range []string{"node.a", "node.a", "node.b", "other.c"} {
		natstest.Put(t, bucket, key, "1")
	}
	api := newAPI(nc, apiPrefix("", ""), "b", natstest.Patience)
	for _, test := range []struct {
		subjects uint64
		want     map[string]uint64
	}{
		{maxCounted, map[string]uint64{"$KV.b.node.a": 2, "$KV.b.node.b": 1}},
		{maxCounted + 1, map[string]uint64{"$KV.b.node.a": 2}},
	} {
		x := exemption{subjects: test.subjects}
		got, err := api.counts(t.Context(), x.filters("$KV.b.", "node.", []string{"node.a", "node.gone"}))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("of %d subjects:\n%s", test.subjects, diff)
		}
	}
}
