package kv

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestTakesWrites(t *testing.T) {
	const heard, silent, never = time.Second, time.Minute, 0
	for name, tt := range map[string]struct {
		leader   string
		replicas []time.Duration // since the leader heard from each other one
		want     bool
	}{
		"one replica":            {leader: "a", want: true},
		"no leader":              {replicas: []time.Duration{heard, heard, heard}},
		"all three":              {leader: "a", replicas: []time.Duration{heard, heard}, want: true},
		"two of three":           {leader: "a", replicas: []time.Duration{heard, silent}, want: true},
		"one of three":           {leader: "a", replicas: []time.Duration{silent, silent}},
		"one of two":             {leader: "a", replicas: []time.Duration{silent}},
		"two of five":            {leader: "a", replicas: []time.Duration{heard, silent, silent, silent}},
		"just heard from":        {leader: "a", replicas: []time.Duration{1, 1}, want: true},
		"never heard from one":   {leader: "a", replicas: []time.Duration{never, heard}, want: true},
		"one silent, one never":  {leader: "a", replicas: []time.Duration{never, silent}},
		"three of five, just so": {leader: "a", replicas: []time.Duration{quorumSilence, heard, silent, silent}, want: true},
	} {
		c := &jetstream.ClusterInfo{Leader: tt.leader}
		for _, since := range tt.replicas {
			c.Replicas = append(c.Replicas, &jetstream.PeerInfo{Active: since})
		}
		if err := takesWrites(c); (err == nil) != tt.want || err != nil && !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	current := &jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{{Current: true}, {Current: true}}}
	if err := takesWrites(current); err != nil {
		t.Errorf("replicas that are current and were heard from this very moment: %v", err)
	}
	if err := takesWrites(nil); err != nil {
		t.Errorf("a single server: %v", err)
	}
}
