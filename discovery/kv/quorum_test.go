package kv

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natstest"
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

// forwarder stands between a watcher and the API of JetStream, and can leave questions about a stream without an answer.
type forwarder struct{ mute atomic.Bool }

// forward answers below the prefix "test.API".
func forward(t testing.TB, nc *nats.Conn) *forwarder {
	t.Helper()
	f := &forwarder{}
	if _, err := nc.Subscribe("test.API.>", func(m *nats.Msg) {
		operation := strings.TrimPrefix(m.Subject, "test.API.")
		if f.mute.Load() && strings.HasPrefix(operation, "STREAM.INFO.") {
			return
		}
		_ = nc.PublishMsg(&nats.Msg{Subject: jetstream.DefaultAPIPrefix + operation, Reply: m.Reply, Data: m.Data})
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return f
}

// A leader that is gone takes no writes, though a consumer on another server may go on sending heartbeats.
func TestTimeStandsWhileTheLeaderDoesNotAnswer(t *testing.T) {
	const silence = DefaultSilenceLimit
	s := natstest.Start(t)
	natstest.NewBucket(t, s.Connect(t), jetstream.KeyValueConfig{Bucket: "b"})
	f := forward(t, s.Connect(t))
	r := watch(t, s.Connect(t), WatcherOptions{Bucket: "b", APIPrefix: "test.API", InfoInterval: 100 * time.Millisecond, APITimeout: time.Minute})
	// When something was told to have arrived last, and after how many looks.
	told := func() (time.Time, int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.arrived, r.infos
	}
	natstest.Eventually(t, func() error {
		if _, looks := told(); looks < 2 {
			return errors.New("the bucket was not looked at")
		}
		return nil
	})
	f.mute.Store(true)
	muted := time.Now()
	natstest.Eventually(t, func() error {
		if since := time.Since(muted); since < 4*silence {
			return fmt.Errorf("muted for %s", since)
		}
		return nil
	})
	// An answer to the last look, and one heartbeat more, may have been under way.
	stood, _ := told()
	if passed := stood.Sub(muted); passed > 2*silence+DefaultIdleHeartbeat {
		t.Errorf("%s passed while nobody answered", passed)
	}
	f.mute.Store(false)
	natstest.Eventually(t, func() error {
		if at, _ := told(); at.Sub(stood) < 2*silence {
			return fmt.Errorf("only %s have passed since", at.Sub(stood))
		}
		return nil
	})
}
