package pods

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rollcall-dev/rollcall/controllers/podregistration/roster"
	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/discovery/kv"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// cpu returns the processor time that this process has used.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func percentile(all []time.Duration, p int) time.Duration {
	slices.Sort(all)
	return all[(len(all)-1)*p/100]
}

// TestTenThousandHeartbeats measures the heartbeats of 10,000 pods every 10 s, without the API server: a Roster, its
// Writer and the bucket's Watcher. The NATS server shares the process, so the processor time is an upper bound. Under the
// race detector they are a thousand.
func TestTenThousandHeartbeats(t *testing.T) {
	const interval = 10 * time.Second
	count := 10_000
	if raced {
		count = 1_000
	}
	s := natstest.Start(t)
	nc := s.Connect(t)
	b, _, err := kv.EnsureBucket(t.Context(), nc, kv.BucketConfig{Name: bucket, TTL: time.Minute, History: 1, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var lags []time.Duration
	failed := 0
	r := roster.New(roster.Options{
		Cluster: here, Settled: func() bool { return true }, Standing: func(*discovery.Owner) roster.Standing { return roster.Ours },
		Changed: func([]roster.Claim) {}, Followed: func() {},
		Beaten: func(b roster.Beat) {
			mu.Lock()
			defer mu.Unlock()
			lags = append(lags, b.Lag)
			if b.Err != nil {
				failed++
			}
		},
	})
	w, err := kv.NewWriter(nc, kv.WriterOptions{Bucket: bucket})
	if err != nil {
		t.Fatal(err)
	}
	watcher, err := kv.NewWatcher(nc, kv.WatcherOptions{Bucket: b.Name}, kv.Observe(r.Follow(w)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { _ = watcher.Run(ctx) })
	defer func() { cancel(); done.Wait(); w.Close(); r.Unfollow(); r.Close() }()

	claims := make([]roster.Claim, count)
	for i := range claims {
		claims[i] = claimOf(t, i, interval)
	}
	r.Update(nil, claims)
	counted := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(lags)
	}
	wait(t, 3*interval, func() bool { return counted() >= count })
	mu.Lock()
	lags, failed = nil, 0
	mu.Unlock()
	before, began := cpu(t), time.Now()
	wait(t, 3*interval, func() bool { return counted() >= 2*count })
	used, took := cpu(t)-before, time.Since(began)
	mu.Lock()
	defer mu.Unlock()
	p99 := percentile(lags, 99)
	share := float64(used) / float64(took) * 100
	t.Logf("%d heartbeats in %s, lag p50 %s, p99 %s, max %s, %d failed; %.1f %% of a core, the NATS server included",
		len(lags), took, percentile(lags, 50), p99, percentile(lags, 100), failed, share)
	if p99 > time.Second || failed > 0 {
		t.Errorf("p99 is %s, %d failed", p99, failed)
	}
	if share > 25 && !raced {
		t.Errorf("%.1f %% of a core", share)
	}
}

func claimOf(t *testing.T, i int, interval time.Duration) roster.Claim {
	t.Helper()
	id, uid := fmt.Sprintf("web-%d", i), types.UID(fmt.Sprintf("00000000-0000-0000-0000-%012d", i))
	template, err := discovery.NewTemplate(discovery.Node{
		ID: id, Name: id, Endpoint: "http://10.2.0.1:8080", Addresses: []string{"10.2.0.1"}, Ports: []discovery.Port{{Name: "http", Port: 8080, Protocol: "TCP"}},
		Metadata: map[string]string{"role": "web"}, Owner: &discovery.Owner{Cluster: here, UID: string(uid), Registration: "registration"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return roster.Claim{
		ID:  roster.ID{Registration: types.NamespacedName{Namespace: "fleet", Name: "web"}, UID: uid},
		Pod: types.NamespacedName{Namespace: "fleet", Name: id}, Key: "node." + id, Record: template, Interval: interval,
	}
}

func wait(t *testing.T, limit time.Duration, holds func() bool) {
	t.Helper()
	deadline := time.After(limit)
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("waited %s", limit)
		case <-ticker.C:
		}
	}
}

// TestWriterRate compares the Writer with a bare loop of guarded asynchronous publishes, in turn, over the same keys.
func TestWriterRate(t *testing.T) {
	const keys, rounds = 1000, 20
	s := natstest.Start(t)
	nc := s.Connect(t)
	for _, name := range []string{"bare", "writer"} {
		if _, _, err := kv.EnsureBucket(t.Context(), nc, kv.BucketConfig{Name: name, TTL: time.Minute, History: 1, Create: true}); err != nil {
			t.Fatal(err)
		}
	}
	claim := claimOf(t, 0, time.Second)
	w, err := kv.NewWriter(nc, kv.WriterOptions{Bucket: "writer"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var ratios []float64
	revisions := map[string][]uint64{"bare": make([]uint64, keys), "writer": make([]uint64, keys)}
	for range 3 {
		began := time.Now()
		for range rounds {
			bareRound(t, nc, revisions["bare"], claim.Record.At(time.Now()))
		}
		bare := time.Since(began)
		began = time.Now()
		for range rounds {
			writerRound(t, w, revisions["writer"], claim.Record)
		}
		own := time.Since(began)
		ratios = append(ratios, float64(bare)/float64(own))
		t.Logf("bare %.0f/s, writer %.0f/s", keys*rounds/bare.Seconds(), keys*rounds/own.Seconds())
	}
	slices.Sort(ratios)
	t.Logf("ratio %.2f", ratios[1])
	if ratios[1] < 0.6 && !raced {
		t.Errorf("the writer's rate is %.2f of a bare loop's, want 0.6", ratios[1])
	}
}

func bareRound(t *testing.T, nc *nats.Conn, revisions []uint64, value []byte) {
	t.Helper()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		t.Fatal(err)
	}
	futures := make([]jetstream.PubAckFuture, len(revisions))
	for i := range revisions {
		m := nats.NewMsg(fmt.Sprintf("$KV.bare.node.web-%d", i))
		m.Data = value
		m.Header.Set("Nats-Expected-Last-Subject-Sequence", strconv.FormatUint(revisions[i], 10))
		if futures[i], err = js.PublishMsgAsync(m); err != nil {
			t.Fatal(err)
		}
	}
	for i, f := range futures {
		select {
		case ack := <-f.Ok():
			revisions[i] = ack.Sequence
		case err := <-f.Err():
			t.Fatal(err)
		}
	}
	js.CleanupPublisher()
}

func writerRound(t *testing.T, w *kv.Writer, revisions []uint64, record discovery.Template) {
	t.Helper()
	var done sync.WaitGroup
	done.Add(len(revisions))
	for i := range revisions {
		w.Put(fmt.Sprintf("node.web-%d", i), record.At(time.Now()), revisions[i], func(revision uint64, err error) {
			if err != nil {
				t.Error(err)
			}
			revisions[i] = revision
			done.Done()
		})
	}
	done.Wait()
}

// TestReadyToVisible measures how long it takes from a pod's becoming Ready until a watcher of the bucket sees its entry,
// against what the two ways cost by themselves.
func TestReadyToVisible(t *testing.T) {
	const count = 60
	r := newRig(t)
	r.registry()
	r.registration("web")
	r.start()
	first := r.pod("first")
	r.Within(patience, "the entry", r.registered("first", first))
	r.reports("web", "1/1/0 True Registered")
	watch, err := r.kv.Watch(t.Context(), ">", jetstream.UpdatesOnly())
	if err != nil {
		t.Fatal(err)
	}
	see := func(key string) {
		for e := range watch.Updates() {
			if e != nil && e.Key() == key {
				return
			}
		}
	}
	var whole, status, kv []time.Duration
	for i := range count {
		pod := r.podOf(fmt.Sprintf("web-%d", i))
		r.Create(pod)
		began := time.Now()
		r.status(pod, running("10.2.0.1"))
		see("node." + pod.Name)
		whole = append(whole, time.Since(began))

		status = append(status, r.statusToWatch(i))
		began = time.Now()
		if _, err := r.kv.Put(t.Context(), "raw", nil); err != nil {
			t.Fatal(err)
		}
		see("raw")
		kv = append(kv, time.Since(began))
	}
	all, raw := percentile(whole, 50), percentile(status, 50)+percentile(kv, 50)
	t.Logf("median: Ready to visible %s; pod status to watch %s, put to watch %s: ratio %.2f", all, percentile(status, 50), percentile(kv, 50), float64(all)/float64(raw))
	if all > 3*raw && !raced {
		t.Errorf("Ready to visible takes %s, want at most 3 × %s", all, raw)
	}
}

// statusToWatch measures how long it takes from a change of a pod's status until a watch shows it.
func (r *rig) statusToWatch(i int) time.Duration {
	r.Helper()
	pod := r.podOf(fmt.Sprintf("raw-%d", i))
	pod.Labels["app"] = "raw"
	r.Create(pod)
	watch, err := clientset(r).CoreV1().Pods(r.Namespace).Watch(r.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + pod.Name, ResourceVersion: pod.ResourceVersion})
	if err != nil {
		r.Fatal(err)
	}
	defer watch.Stop()
	began := time.Now()
	r.status(pod, running("10.2.0.1"))
	for e := range watch.ResultChan() {
		if seen, ok := e.Object.(*corev1.Pod); ok && seen.Status.Phase == corev1.PodRunning {
			break
		}
	}
	return time.Since(began)
}

// TestTenThousandPods runs the whole manager with 10,000 pods.
func TestTenThousandPods(t *testing.T) {
	if raced {
		t.Skip("make test runs it without the race detector, which makes 10,000 pods too slow to measure")
	}
	const count = 10_000
	r := newRig(t)
	r.registry()
	r.registration("web", func(s *podSpec) { s.HeartbeatInterval = seconds(10) })
	manager := r.start()
	r.many(count)
	r.Within(2*time.Minute, "all entries", func() bool { n, _, _ := r.ready3("web"); return n == count })
	manager.Take()
	watch, err := r.kv.Watch(t.Context(), "node.>", jetstream.UpdatesOnly())
	if err != nil {
		t.Fatal(err)
	}
	last, gaps := map[string]time.Time{}, []time.Duration{}
	before, began := cpu(t), time.Now()
	for end := time.After(35 * time.Second); ; {
		select {
		case e := <-watch.Updates():
			if e == nil {
				continue
			}
			if at, seen := last[e.Key()]; seen {
				gaps = append(gaps, e.Created().Sub(at))
			}
			last[e.Key()] = e.Created()
			continue
		case <-end:
		}
		break
	}
	share := float64(cpu(t)-before) / float64(time.Since(began)) * 100
	p99 := percentile(gaps, 99)
	t.Logf("%d nodes, %d heartbeats, p50 %s and p99 %s after the one before, max %s; %.1f %% of a core with the NATS server and this watcher",
		len(last), len(gaps), percentile(gaps, 50), p99, percentile(gaps, 100), share)
	if len(last) != count || p99 > 11*time.Second {
		t.Errorf("%d of %d heartbeated, p99 is %s", len(last), count, p99)
	}
	if writes := manager.Take(); len(writes) > 0 {
		t.Errorf("the heartbeats wrote %d times, first %s", len(writes), writes[0])
	}
	var record json.RawMessage
	if e, err := r.kv.Get(t.Context(), "node.web-1"); err != nil || json.Unmarshal(e.Value(), &record) != nil {
		t.Errorf("the record of web-1 can't be read: %v", err)
	}
}
