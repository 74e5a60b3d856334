package pods

import (
	"encoding/json"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

// TestReadyToVisible measures how long it takes from a pod's becoming Ready until a watcher of the bucket sees its entry,
// against what the two ways cost by themselves.
func TestReadyToVisible(t *testing.T) {
	count := 60
	if raced {
		count = 10
	}
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
		t.Skip("make bench runs it: the race detector makes 10,000 pods too slow to measure")
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
