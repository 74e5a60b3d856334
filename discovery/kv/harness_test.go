package kv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// allowance is how much later than promised anything may be here: other tests share the machine.
const allowance = 2 * time.Second

// recorder is a Sink that keeps the state that it was told, and the story of how it came about.
type recorder struct {
	mu        sync.Mutex
	live      map[string]Entry
	story     []string    // Listing(Start), Synced, Disconnected(...), in order
	at        []time.Time // of the story's parts
	absent    map[string]int
	entries   int
	revisions map[string]uint64 // the greatest per key since the bucket was last recreated
	broken    error             // a promise of Sink that didn't hold
	listing   bool
	bucket    Bucket
	infos     int
	sizes     []int // how many keys were live at each Synced
	arrived   time.Time
	overdue   []string // what Overdue returns
	silent    map[string]int
	silentAt  time.Time
	withheld  []string
	maxKeys   int
}

func newRecorder() *recorder {
	return &recorder{live: map[string]Entry{}, absent: map[string]int{}, revisions: map[string]uint64{}, silent: map[string]int{}}
}

func (r *recorder) tell(format string, args ...any) {
	r.story = append(r.story, fmt.Sprintf(format, args...))
	r.at = append(r.at, time.Now())
}

func (r *recorder) Listing(c Cause) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tell("Listing(%s)", c)
	r.listing = true
	if c == CauseRecreated {
		clear(r.revisions)
	}
}

func (r *recorder) Entry(e Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries++
	if e.Revision <= r.revisions[e.Key] {
		r.broken = fmt.Errorf("%s: revision %d was delivered after %d", e.Key, e.Revision, r.revisions[e.Key])
	}
	r.revisions[e.Key] = e.Revision
	if e.Operation == Put {
		r.live[e.Key] = e
	} else {
		delete(r.live, e.Key)
	}
}

func (r *recorder) Synced(b Bucket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.listing {
		r.broken = errors.New("Synced without a Listing")
	}
	r.listing = false
	r.bucket = b
	r.sizes = append(r.sizes, len(r.live))
	r.tell("Synced")
}

func (r *recorder) Absent(keys []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range keys {
		r.absent[k]++
		delete(r.live, k)
	}
}

func (r *recorder) Bucket(b Bucket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bucket = b
	r.infos++
}

func (r *recorder) Disconnected(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := err.Error()
	for _, reason := range downReasons {
		if errors.Is(err, reason) {
			name = reason.Error()
			break
		}
	}
	r.listing = false
	r.tell("Disconnected(%s)", name)
}

func (r *recorder) Arrived(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at.Before(r.arrived) {
		r.broken = fmt.Errorf("something arrived at %v after %v", at, r.arrived)
	}
	r.arrived = at
}

func (r *recorder) Overdue() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.overdue)
}

func (r *recorder) Silent(keys []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range keys {
		r.silent[key]++
	}
	r.silentAt = time.Now()
	r.overdue = slices.DeleteFunc(r.overdue, func(key string) bool { return r.silent[key] > 0 })
}

func (r *recorder) Withheld(keys []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.withheld = append(r.withheld, keys...)
	r.overdue = slices.DeleteFunc(r.overdue, func(key string) bool { return slices.Contains(keys, key) })
}

func (r *recorder) MaxKeys() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.maxKeys
}

// told returns how often Bucket was called.
func (r *recorder) told() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.infos
}

// ask takes the keys for silent.
func (r *recorder) ask(keys ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.silent)
	r.overdue = keys
}

// awaitSilent waits until so many keys were named by Silent since ask.
func (r *recorder) awaitSilent(t testing.TB, n int) {
	t.Helper()
	natstest.Eventually(t, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.silent) != n {
			return fmt.Errorf("%d keys are silent, want %d", len(r.silent), n)
		}
		return nil
	})
}

// awaitBucket waits until the bucket is told to be like that.
func (r *recorder) awaitBucket(t testing.TB, like func(Bucket) bool) {
	t.Helper()
	natstest.Eventually(t, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !like(r.bucket) {
			return fmt.Errorf("the bucket is %+v", r.bucket)
		}
		return nil
	})
}

func (r *recorder) count(part string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.story {
		if s == part {
			n++
		}
	}
	return n
}

// when returns when the n-th part of that name was told, counted from 1.
func (r *recorder) when(part string, n int) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, s := range r.story {
		if s == part {
			if n--; n == 0 {
				return r.at[i]
			}
		}
	}
	return time.Time{}
}

func (r *recorder) tale() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.story)
}

// await waits until a part of the story was told n times.
func (r *recorder) await(t testing.TB, part string, n int) {
	t.Helper()
	natstest.Eventually(t, func() error {
		if got := r.count(part); got < n {
			return fmt.Errorf("%s was told %d times, want %d; the story is %v", part, got, n, r.tale())
		}
		return nil
	})
}

// awaitLive waits until exactly the keys with those values are live.
func (r *recorder) awaitLive(t testing.TB, want map[string]string) {
	t.Helper()
	natstest.Eventually(t, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		return sameLive(r.live, want)
	})
}

// awaitLiveKey waits until the key is live.
func (r *recorder) awaitLiveKey(t testing.TB, key string) {
	t.Helper()
	natstest.Eventually(t, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if _, ok := r.live[key]; !ok {
			return fmt.Errorf("%s isn't live", key)
		}
		return nil
	})
}

// awaitLiveValue waits until the key is live with that value.
func (r *recorder) awaitLiveValue(t testing.TB, key, value string) {
	t.Helper()
	natstest.Eventually(t, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if e, ok := r.live[key]; !ok || string(e.Value) != value {
			return fmt.Errorf("%s is %q, want %q", key, e.Value, value)
		}
		return nil
	})
}

// awaitAbsent waits until each key was told absent, and once.
func (r *recorder) awaitAbsent(t testing.TB, keys ...string) {
	t.Helper()
	natstest.Eventually(t, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, k := range keys {
			if r.absent[k] != 1 {
				return fmt.Errorf("%s was told absent %d times", k, r.absent[k])
			}
		}
		return nil
	})
}

func sameLive(live map[string]Entry, want map[string]string) error {
	for k, v := range want {
		e, ok := live[k]
		if !ok {
			return fmt.Errorf("%s is missing among %d", k, len(live))
		}
		if string(e.Value) != v {
			return fmt.Errorf("%s is %.40q, want %.40q", k, e.Value, v)
		}
	}
	for k := range live {
		if _, ok := want[k]; !ok {
			return fmt.Errorf("%s lingers", k)
		}
	}
	return nil
}

func (r *recorder) check(t testing.TB) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken != nil {
		t.Error(r.broken)
	}
}

// watch runs a watcher until the test ends.
func watch(t testing.TB, nc *nats.Conn, o WatcherOptions) *recorder {
	t.Helper()
	r := newRecorder()
	stop := start(t, nc, o, r)
	t.Cleanup(func() {
		stop()
		r.check(t)
	})
	return r
}

func start(t testing.TB, nc *nats.Conn, o WatcherOptions, sink Sink) (stop func()) {
	t.Helper()
	w, err := NewWatcher(nc, o, sink)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func remove(t testing.TB, kv jetstream.KeyValue, key string) {
	t.Helper()
	if err := kv.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
}

// consumers returns the bucket's consumers.
func consumers(t testing.TB, nc *nats.Conn, bucket string) []*jetstream.ConsumerInfo {
	t.Helper()
	var all []*jetstream.ConsumerInfo
	l := natstest.StreamOf(t, nc, bucket).ListConsumers(t.Context())
	for c := range l.Info() {
		all = append(all, c)
	}
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
