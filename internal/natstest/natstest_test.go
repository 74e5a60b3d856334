package natstest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func bucket(t *testing.T, nc *nats.Conn, replicas int) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b", Replicas: replicas, Storage: jetstream.FileStorage})
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

// eventually calls f until it answers nil or ten seconds are over.
func eventually(t *testing.T, f func(context.Context) error) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := f(ctx)
		cancel()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal(err)
		}
	}
}

func TestRestartKeepsTheStoreAndWipeLosesIt(t *testing.T) {
	s := natstest.Start(t)
	url := s.URL()
	kv := bucket(t, s.Connect(t), 1)
	if _, err := kv.PutString(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if s.URL() != url {
		t.Errorf("the URL changed from %s to %s", url, s.URL())
	}
	eventually(t, func(ctx context.Context) error { _, err := kv.Get(ctx, "k"); return err })

	if err := s.Wipe(); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(s.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.KeyValue(t.Context(), "b"); !errors.Is(err, jetstream.ErrBucketNotFound) {
		t.Errorf("the bucket outlived the store: %v", err)
	}
}

func TestClusterSurvivesTheStreamsLeader(t *testing.T) {
	c := natstest.StartCluster(t, 3)
	kv := bucket(t, c.Connect(t), 3)
	if _, err := kv.PutString(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	leader := c.StreamLeader("KV_b")
	if leader < 0 {
		t.Fatal("the stream has no leader")
	}
	c.Servers[leader].Stop()
	eventually(t, func(ctx context.Context) error { _, err := kv.PutString(ctx, "k", "w"); return err })
	if err := c.Servers[leader].Restart(); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitReady(); err != nil {
		t.Fatal(err)
	}
}

func TestProxyCutsAndFreezes(t *testing.T) {
	s := natstest.Start(t)
	p := natstest.StartProxy(t, s)
	nc, err := nats.Connect(p.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()

	p.Freeze()
	if err := nc.FlushTimeout(200 * time.Millisecond); err == nil {
		t.Error("a frozen connection answered")
	}
	if !nc.IsConnected() {
		t.Error("a frozen connection must stay open")
	}
	p.Heal()
	if err := nc.FlushTimeout(5 * time.Second); err != nil {
		t.Errorf("a healed connection must answer: %v", err)
	}

	p.Cut()
	eventually(t, func(context.Context) error {
		if nc.IsConnected() {
			return errors.New("a cut connection is still open")
		}
		return nil
	})
	p.Heal()
	eventually(t, func(context.Context) error { return nc.FlushTimeout(time.Second) })
}

func TestAStrandedConnectionStaysDeadAndASlowOneIsSlow(t *testing.T) {
	s := natstest.Start(t)
	p := natstest.StartProxy(t, s)
	old, err := nats.Connect(p.URL(), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	p.Strand()
	p.Heal()
	if err := old.FlushTimeout(200 * time.Millisecond); err == nil || !old.IsConnected() {
		t.Errorf("a half-open connection must stay open and answer nothing: %v", err)
	}
	fresh, err := nats.Connect(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	if err := fresh.FlushTimeout(5 * time.Second); err != nil {
		t.Errorf("a new connection must answer: %v", err)
	}

	p.Slow(10_000)
	began := time.Now()
	if err := fresh.Publish("x", make([]byte, 3000)); err != nil {
		t.Fatal(err)
	}
	if err := fresh.FlushTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("3000 bytes at 10000 a second took %s", took)
	}
}
