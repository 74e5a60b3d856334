package kv

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

const (
	lost     = "Disconnected(connection to nats lost)"
	silent   = "Disconnected(no heartbeat from the bucket's consumer)"
	noBucket = "Disconnected(bucket not found)"
)

func TestWatcherRecoversFromARestart(t *testing.T) {
	s := natstest.Start(t)
	nc := s.Connect(t)
	kv := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{History: 5})
	natstest.Put(t, kv, "a", "1")
	natstest.Put(t, kv, "b", "1")
	r := watch(t, nc, WatcherOptions{Bucket: "b"})
	r.await(t, "Synced", 1)

	s.Stop()
	r.await(t, lost, 1)
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	up := time.Now()
	r.await(t, "Synced", 2)
	blind := r.when("Synced", 2).Sub(up)
	t.Logf("listed %v after the server was up", blind)
	if blind > 2*time.Second+allowance {
		t.Errorf("it took %v to list a bucket of two keys after the restart", blind)
	}
	r.awaitLive(t, map[string]string{"a": "1", "b": "1"})
	natstest.Eventually(t, func() error { _, err := kv.PutString(t.Context(), "a", "2"); return err })
	r.awaitLive(t, map[string]string{"a": "2", "b": "1"})
	want := []string{"Listing(Start)", "Synced", lost, "Listing(Reconnect)", "Synced"}
	if diff := cmp.Diff(want, r.tale()); diff != "" {
		t.Error(diff)
	}
}

// A network that swallows packets closes no connection: only the missing heartbeats tell.
func TestWatcherNoticesAFrozenConnection(t *testing.T) {
	s := natstest.Start(t)
	writer := s.Connect(t)
	kv := natstest.NewBucket(t, writer, jetstream.KeyValueConfig{History: 1})
	natstest.Put(t, kv, "stays", "1")
	natstest.Put(t, kv, "changes", "1")
	natstest.Put(t, kv, "deleted", "1")
	natstest.Put(t, kv, "vanishes", "1")
	p := natstest.StartProxy(t, s)
	nc, err := nats.Connect(p.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	r := watch(t, nc, WatcherOptions{Bucket: "b"})
	r.await(t, "Synced", 1)

	p.Freeze()
	frozen := time.Now()
	natstest.Put(t, kv, "changes", "2")
	natstest.Put(t, kv, "new", "1")
	remove(t, kv, "deleted")
	// The key leaves without any message, as one does whose marker expired during the gap.
	if err := natstest.StreamOf(t, writer, "b").Purge(t.Context(), jetstream.WithPurgeSubject("$KV.b.vanishes")); err != nil {
		t.Fatal(err)
	}
	r.await(t, silent, 1)
	noticed := r.when(silent, 1).Sub(frozen)
	t.Logf("noticed after %v", noticed)
	if noticed > 1500*time.Millisecond+allowance {
		t.Errorf("a frozen connection was noticed after %v", noticed)
	}
	p.Heal()
	r.awaitLive(t, map[string]string{"stays": "1", "changes": "2", "new": "1"})
	r.awaitAbsent(t, "vanishes")
	if r.count("Listing(MissedHeartbeat)") == 0 {
		t.Errorf("the story is %v", r.tale())
	}
	natstest.Eventually(t, func() error {
		if n := len(consumers(t, writer, "b")); n != 1 {
			return fmt.Errorf("%d consumers, want the new one alone", n)
		}
		return nil
	})
}

// Who writes much finds the peer's silence by a buffer that is full. A connection that waits for room in it answers nothing
// else, so it is given up long before the client would by default, and the watcher hears of it.
func TestWatcherNoticesAFullBuffer(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	kv := natstest.NewBucket(t, s.Connect(t), jetstream.KeyValueConfig{})
	p := natstest.StartProxy(t, s)
	nc, err := nats.Connect(p.URL(), ConnectOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	r := watch(t, nc, WatcherOptions{Bucket: "b"})
	r.await(t, "Synced", 1)
	p.Strand()
	stranded := time.Now()
	for data, err := make([]byte, 256<<10), error(nil); !errors.Is(classify(err), ErrConnectionLost); err = nc.Publish("void", data) {
		if err != nil || time.Since(stranded) > 2*writeTimeout {
			t.Fatalf("after %v a write ends with %v", time.Since(stranded), err)
		}
	}
	natstest.Put(t, kv, "after", "1")
	r.awaitLive(t, map[string]string{"after": "1"})
	if took := time.Since(stranded); took > 3*writeTimeout {
		t.Errorf("the watcher saw nothing for %v", took)
	}
}

func TestWatcherFindsALostMessage(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	kv := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{})
	natstest.Put(t, kv, "a", "1")
	r := watch(t, nc, WatcherOptions{Bucket: "b"})
	r.await(t, "Synced", 1)
	// A heartbeat that counts more messages than have arrived is what a lost one looks like.
	m := nats.NewMsg(consumers(t, nc, "b")[0].Config.DeliverSubject)
	m.Header.Set(headerStatus, statusControl)
	m.Header.Set(headerLastConsumer, "7")
	m.Header.Set(headerLastStream, "7")
	if err := nc.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	r.await(t, "Synced", 2)
	want := []string{"Listing(Start)", "Synced", "Listing(SequenceGap)", "Synced"}
	if diff := cmp.Diff(want, r.tale()); diff != "" {
		t.Error(diff)
	}
}

func TestWatcherNoticesARecreatedBucket(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	kv := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{})
	for i := range 10 {
		natstest.Put(t, kv, fmt.Sprintf("old%d", i), "1")
	}
	natstest.Put(t, kv, "both", "1")
	r := watch(t, nc, WatcherOptions{Bucket: "b", InfoInterval: least})
	r.await(t, "Synced", 1)

	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	kv = natstest.NewBucket(t, nc, jetstream.KeyValueConfig{})
	want := map[string]string{"both": "2"}
	natstest.Put(t, kv, "both", "2")
	// More keys than before, so that the new bucket's sequences reach those of the old one.
	for i := range 30 {
		want[fmt.Sprintf("new%d", i)] = "1"
		natstest.Put(t, kv, fmt.Sprintf("new%d", i), "1")
	}
	r.awaitLive(t, want)
	if r.count("Listing(Recreated)") == 0 {
		t.Errorf("the story is %v", r.tale())
	}
	r.awaitAbsent(t, "old0", "old9")
}

func TestWatcherNoticesADeletedBucket(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	natstest.Put(t, natstest.NewBucket(t, nc, jetstream.KeyValueConfig{}), "old", "1")
	r := watch(t, nc, WatcherOptions{Bucket: "b"})
	r.await(t, "Synced", 1)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	r.await(t, noBucket, 1)
	r.mu.Lock()
	if len(r.live) != 1 {
		t.Error("a bucket that can't be read is not an empty one")
	}
	r.mu.Unlock()
	natstest.Put(t, natstest.NewBucket(t, nc, jetstream.KeyValueConfig{}), "new", "1")
	r.awaitLive(t, map[string]string{"new": "1"})
	r.awaitAbsent(t, "old")
}

func TestWatcherNoticesAPurge(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	kv := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{History: 5})
	for i := range 20 {
		natstest.Put(t, kv, fmt.Sprintf("k%d", i), "1")
	}
	r := watch(t, nc, WatcherOptions{Bucket: "b", InfoInterval: least})
	r.await(t, "Synced", 1)
	if err := natstest.StreamOf(t, nc, "b").Purge(t.Context(), jetstream.WithPurgeKeep(5)); err != nil {
		t.Fatal(err)
	}
	r.awaitLive(t, map[string]string{"k15": "1", "k16": "1", "k17": "1", "k18": "1", "k19": "1"})
	want := []string{"Listing(Start)", "Synced", "Listing(Purged)", "Synced"}
	if diff := cmp.Diff(want, r.tale()); diff != "" {
		t.Error(diff)
	}
}

// Without markers an expired key makes no event. That it is gone is no purge and no gap, and found by the next relist.
func TestWatcherTellsExpiryFromPurge(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect(t)
	kv := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{TTL: time.Second})
	r := watch(t, nc, WatcherOptions{Bucket: "b", InfoInterval: least, RelistInterval: 2 * time.Second})
	r.await(t, "Synced", 1)
	natstest.Put(t, kv, "a", "1")
	r.await(t, "Listing(Periodic)", 2)
	r.awaitAbsent(t, "a")
	if n := r.count("Listing(Purged)"); n != 0 {
		t.Errorf("an expiry was taken for a purge: %v", r.tale())
	}
}

// Keys that expire because the TTL was lowered are no purge.
func TestWatcherTellsALowerTTLFromPurge(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect(t)
	bucket := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{TTL: time.Hour})
	for i := range 10 {
		natstest.Put(t, bucket, strconv.Itoa(i), "1")
	}
	r := watch(t, nc, WatcherOptions{Bucket: "b", InfoInterval: least})
	r.await(t, "Synced", 1)
	config := natstest.StreamOf(t, nc, "b").CachedInfo().Config
	config.MaxAge, config.Duplicates = time.Second, time.Second
	if _, err := mustJetStream(t, nc).UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	r.awaitBucket(t, func(b Bucket) bool { return b.TTL == time.Second && b.Values == 0 })
	looks := r.told()
	natstest.Eventually(t, func() error {
		if r.told() < looks+5 {
			return errors.New("waiting for five more looks")
		}
		return nil
	})
	if diff := cmp.Diff([]string{"Listing(Start)", "Synced"}, r.tale()); diff != "" {
		t.Error(diff)
	}
}

// A relist without need must not disturb what is live.
func TestWatcherRelistsInTheBackground(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	kv := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{History: 2})
	natstest.Put(t, kv, "vanishes", "1")
	r := watch(t, nc, WatcherOptions{Bucket: "b", RelistInterval: 200 * time.Millisecond, InfoInterval: time.Minute})
	r.await(t, "Synced", 1)
	// A purge of one key leaves the stream's ends alone; nothing but a relist can find it.
	natstest.Put(t, kv, "before", "1")
	if err := natstest.StreamOf(t, nc, "b").Purge(t.Context(), jetstream.WithPurgeSubject("$KV.b.vanishes")); err != nil {
		t.Fatal(err)
	}
	relists, worst := 0, time.Duration(0)
	for i := 0; relists < 6; i++ {
		natstest.Put(t, kv, "live", strconv.Itoa(i))
		written := time.Now()
		r.awaitLiveValue(t, "live", strconv.Itoa(i))
		worst = max(worst, time.Since(written))
		relists = r.count("Listing(Periodic)")
	}
	t.Logf("the longest way from write to delivery took %v during %d relists", worst, relists)
	r.awaitAbsent(t, "vanishes")
	r.mu.Lock()
	if len(r.live) != 2 {
		t.Errorf("%d keys are live, want 2", len(r.live))
	}
	r.mu.Unlock()
	for _, part := range r.tale()[2:] {
		if part != "Listing(Periodic)" && part != "Synced" {
			t.Errorf("a relist made %s", part)
		}
	}
}

func TestFiftyReconnectsLeaveNothingBehind(t *testing.T) {
	s := natstest.Start(t)
	nc := s.Connect(t, nats.ReconnectWait(time.Millisecond))
	kv := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{})
	natstest.Put(t, kv, "a", "1")
	r := watch(t, nc, WatcherOptions{Bucket: "b"})
	r.await(t, "Synced", 1)
	before := runtime.NumGoroutine()
	for i := range 50 {
		reconnects, synced := nc.Stats().Reconnects, r.count("Synced")
		if err := nc.ForceReconnect(); err != nil {
			t.Fatal(err)
		}
		natstest.Eventually(t, func() error {
			if nc.Stats().Reconnects == reconnects {
				return errors.New("not reconnected")
			}
			return nil
		})
		if i%2 == 0 {
			r.await(t, "Synced", synced+1) // the next one comes while a session is being opened
		}
	}
	natstest.Eventually(t, func() error { _, err := kv.PutString(t.Context(), "a", "2"); return err })
	r.awaitLive(t, map[string]string{"a": "2"})
	natstest.Eventually(t, func() error {
		if n := len(consumers(t, nc, "b")); n != 1 {
			return fmt.Errorf("%d consumers, want 1", n)
		}
		return nil
	})
	natstest.Eventually(t, func() error {
		// The client's own goroutines change a little from one connection to the next.
		if n := runtime.NumGoroutine(); n > before+4 {
			return fmt.Errorf("%d goroutines, before there were %d", n, before)
		}
		return nil
	})
	if n := nc.NumSubscriptions(); n > 3 {
		t.Errorf("%d subscriptions", n)
	}
}
