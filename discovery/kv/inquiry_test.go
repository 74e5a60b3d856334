package kv

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// The leader is asked before a key counts as silent.
func TestWatcherAsksForTheSilent(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	bucket := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{History: 2})
	natstest.Put(t, bucket, "a", "1")
	natstest.Put(t, bucket, "removed", "1")
	r := watch(t, nc, WatcherOptions{Bucket: "b"})
	r.await(t, "Synced", 1)
	remove(t, bucket, "removed")
	r.awaitLive(t, map[string]string{"a": "1"})
	// Nothing newer than what was delivered: a record, a removal, a key that never was, and one that none can be.
	r.ask("a", "removed", "never", "b*d")
	r.awaitSilent(t, 4)
	if r.count("Synced") != 1 {
		t.Errorf("the story is %v", r.tale())
	}
}

// What the leader has and the session has come past without is delivered, and its key is not silent.
func TestWatcherDeliversWhatTheLeaderHas(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	rec := newRecorder()
	w, err := NewWatcher(nc, WatcherOptions{Bucket: "b"}, rec)
	if err != nil {
		t.Fatal(err)
	}
	r := newRun(t.Context(), w, nc)
	s := &session{listed: 1, track: track{position: 5}, bucket: Bucket{ServerTime: epoch, ReceivedAt: epoch}}
	s.boundary.stage = complete
	r.current = s
	r.answered(s, []answer{
		{key: "heard", entry: Entry{Key: "heard", Revision: 4}},
		{key: "ahead", entry: Entry{Key: "ahead", Revision: 6}},
		{key: "unanswered", err: ErrNoAnswer},
		{key: "gone", err: errMessageNotFound},
	})
	if len(rec.silent) != 1 || rec.silent["gone"] != 1 || rec.entries != 1 || rec.revisions["heard"] != 4 || !r.silent.failed {
		t.Errorf("silent: %v, delivered: %v, failed: %v", rec.silent, rec.revisions, r.silent.failed)
	}
	if rec.arrived.IsZero() {
		t.Error("answers are no arrival")
	}
	rec.arrived = time.Time{}
	r.answered(s, []answer{{key: "unanswered", err: ErrNoAnswer}})
	if !rec.arrived.IsZero() {
		t.Error("that there is no answer counts as an arrival")
	}
	r.answered(&session{}, []answer{{key: "other", err: errMessageNotFound}})
	if len(rec.silent) != 1 {
		t.Error("an answer to a question of a session that is over counts")
	}
}

// Ten thousand nodes that fall silent at once are asked for well within the second that their removal may take.
func TestWatcherAsksForTenThousand(t *testing.T) {
	const n = 10_000
	nc := natstest.Start(t).Connect(t)
	natstest.NewBucket(t, nc, jetstream.KeyValueConfig{History: 5})
	fill(t, nc, n)
	r := watch(t, nc, WatcherOptions{Bucket: "b", KeyPrefix: "node."})
	r.await(t, "Synced", 1)
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fleetKey(i)
	}
	asked := time.Now()
	r.ask(keys...)
	r.awaitSilent(t, n)
	r.mu.Lock()
	defer r.mu.Unlock()
	t.Logf("%d keys were answered %v after they were named, which waits for the next arrival", n, r.silentAt.Sub(asked))
	began := time.Now()
	told := 0
	newAPI(nc, apiPrefix("", ""), "b", time.Second).readLast(t.Context(), subjectPrefix("b"), keys, func(a []answer) { told += len(a) })
	t.Logf("%d keys were read in %v", told, time.Since(began))
	if told != n {
		t.Errorf("%d keys were answered, want %d", told, n)
	}
}

// A login that may not read from the leader leaves it to the clock, and the subject is named.
func TestWatcherNamesWhatItMayNotAsk(t *testing.T) {
	s := natstest.Start(t, natstest.WithReader([]string{
		"$JS.API.STREAM.INFO.KV_b", "$JS.API.CONSUMER.CREATE.KV_b.>", "$JS.API.CONSUMER.DELETE.KV_b.>", "$JS.FC.KV_b.>",
	}))
	bucket := natstest.NewBucket(t, s.Connect(t, nats.UserInfo("admin", "p")), jetstream.KeyValueConfig{})
	natstest.Put(t, bucket, "a", "1")
	r := watch(t, s.AsReader(t), WatcherOptions{Bucket: "b"})
	r.await(t, "Synced", 1)
	asked := time.Now()
	r.ask("a")
	r.awaitSilent(t, 1)
	if took := time.Since(asked); took > defaultAPITimeout {
		t.Errorf("it took %v to find that nothing can be asked", took)
	}
	r.awaitBucket(t, func(b Bucket) bool { return b.Denied == "$JS.API.STREAM.MSG.GET.KV_b" })
}

// Nobody is silent for a leader that doesn't answer; once it does, it is asked again.
func TestWatcherAsksAgain(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, 3)
	natstest.NewBucket(t, c.Connect(t), jetstream.KeyValueConfig{Replicas: 3})
	nc, others := leaderAndOthers(t, c)
	r := watch(t, nc, WatcherOptions{Bucket: "b"})
	r.await(t, "Synced", 1)
	for _, s := range others {
		s.Stop()
	}
	const unavailable = "Disconnected(jetstream is not available)"
	r.await(t, unavailable, 1)
	r.ask("a")
	for _, s := range others {
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	natstest.Eventually(t, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.silent) > 0 && len(r.sizes) < 2 {
			r.broken = errors.New("a key is silent before the bucket was listed again")
		}
		if len(r.silent) != 1 {
			return fmt.Errorf("%d listings, %d keys are silent", len(r.sizes), len(r.silent))
		}
		return nil
	})
}

// What was listed has the age that the server's clock gives it at least, and what comes in live has none.
func TestEntriesHaveTheirAge(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	bucket := natstest.NewBucket(t, nc, jetstream.KeyValueConfig{})
	natstest.Put(t, bucket, "old", "1")
	wrote := time.Now()
	const old = 300 * time.Millisecond
	natstest.Eventually(t, func() error {
		if time.Since(wrote) < old {
			return fmt.Errorf("not yet %v", old)
		}
		return nil
	})
	r := watch(t, nc, WatcherOptions{Bucket: "b"})
	r.await(t, "Synced", 1)
	natstest.Put(t, bucket, "new", "1")
	r.awaitLiveKey(t, "new")
	r.mu.Lock()
	defer r.mu.Unlock()
	since := time.Since(r.live["old"].Written)
	if age := r.live["old"].Age; age < old || age > since {
		t.Errorf("a record that was written %v ago has the age %v", since, age)
	}
	if age := r.live["new"].Age; age != 0 {
		t.Errorf("a live record has the age %v", age)
	}
}

func TestAgeIsABound(t *testing.T) {
	b := Bucket{ServerTime: epoch, ReceivedAt: epoch.Add(time.Hour)}
	at := b.ReceivedAt.Add(time.Second)
	for written, want := range map[time.Duration]time.Duration{0: time.Second, -time.Minute: time.Minute + time.Second, time.Minute: 0} {
		if got := b.age(epoch.Add(written), at); got != want {
			t.Errorf("written %v after the server's time: the age is %v, want %v", written, got, want)
		}
	}
	if got := (Bucket{ReceivedAt: at}).age(epoch, at); got != 0 {
		t.Errorf("without a clock the age is %v", got)
	}
}
