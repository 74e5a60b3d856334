package kv

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// What is not set is chosen for a new bucket, as a client that declares the same bucket would, and never compared.
func TestABucketThatIsCreated(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	for name, test := range map[string]struct {
		config BucketConfig
		want   Bucket
	}{
		"nothing": {BucketConfig{}, Bucket{TTL: DefaultTTL, History: DefaultHistory, Replicas: 1}},
		"forever": {BucketConfig{TTL: -1}, Bucket{History: DefaultHistory, Replicas: 1}},
		"all": {
			BucketConfig{TTL: time.Minute, History: 2, Storage: new(jetstream.MemoryStorage), Replicas: 1, MarkerTTL: time.Second},
			Bucket{TTL: time.Minute, History: 2, Storage: jetstream.MemoryStorage, Replicas: 1, Markers: true, MarkerTTL: time.Second, MessageTTL: true},
		},
	} {
		test.config.Name, test.config.Create = name, true
		b, differences, err := EnsureBucket(t.Context(), nc, test.config)
		if err != nil || len(differences) > 0 {
			t.Errorf("%s: differs in %v, error %v", name, differences, err)
		}
		test.want.Name = name
		got := Bucket{
			Name: b.Name, TTL: b.TTL, History: b.History, Storage: b.Storage, Replicas: b.Replicas,
			Markers: b.Markers, MarkerTTL: b.MarkerTTL, MessageTTL: b.MessageTTL,
		}
		if got != test.want {
			t.Errorf("%s: got %+v, want %+v", name, got, test.want)
		}
	}
}

func TestDifferencesAreOfWhatIsSet(t *testing.T) {
	foreign := Bucket{TTL: time.Hour, History: 1, Storage: jetstream.MemoryStorage, Replicas: 3, MarkerTTL: time.Minute, Markers: true}
	for name, test := range map[string]struct {
		config BucketConfig
		want   []Difference
	}{
		"nothing":   {BucketConfig{}, nil},
		"ttl":       {BucketConfig{TTL: time.Minute}, []Difference{{"TTL", "1m0s", "1h0m0s"}}},
		"no ttl":    {BucketConfig{TTL: -1}, []Difference{{"TTL", "0s", "1h0m0s"}}},
		"history":   {BucketConfig{History: 5}, []Difference{{"History", "5", "1"}}},
		"storage":   {BucketConfig{Storage: new(jetstream.FileStorage)}, []Difference{{"Storage", "File", "Memory"}}},
		"replicas":  {BucketConfig{Replicas: 1}, []Difference{{"Replicas", "1", "3"}}},
		"marker":    {BucketConfig{MarkerTTL: time.Second}, []Difference{{"MarkerTTL", "1s", "1m0s"}}},
		"all alike": {BucketConfig{TTL: time.Hour, History: 1, Storage: new(jetstream.MemoryStorage), Replicas: 3, MarkerTTL: time.Minute}, nil},
	} {
		if diff := cmp.Diff(test.want, test.config.Differences(foreign)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestAMarkerLivesASecondAtLeast(t *testing.T) {
	for ttl, valid := range map[time.Duration]bool{0: true, time.Second: true, time.Second - 1: false, -1: false} {
		if err := (BucketConfig{Name: "b", MarkerTTL: ttl}).Validate(); (err == nil) != valid {
			t.Errorf("%v: %v", ttl, err)
		}
	}
}
