package pods

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/internal/natstest"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

// A bucket on three servers loses its leader, and another one after that, while pods heartbeat: nothing expires, and all
// heartbeat again as soon as somebody leads. Servers elect for up to 9 s, twice that if two of them tie.
func TestTheStreamsLeaderIsKilled(t *testing.T) {
	t.Parallel()
	const (
		pods = 20
		ttl  = 30 * time.Second
		// resumed bounds how long after the election the last pod heartbeats: a write that went to the leader of the past is
		// given up after 2 s.
		resumed = 4 * time.Second
	)
	servers := natstest.StartCluster(t, 3)
	r := &rig{Rig: testrig.New(t, env), nats: servers.Servers[0]}
	nc := servers.Connect(t)
	r.kv = r.bucket(nc, jetstream.KeyValueConfig{Bucket: bucket, TTL: ttl, History: 5, LimitMarkerTTL: ttl, Replicas: 3})
	r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) {
		s.Connection.Servers = nil
		for _, server := range servers.Servers {
			s.Connection.Servers = append(s.Connection.Servers, server.URL())
		}
	})
	r.registration("web")
	seen := follow(t, servers)
	r.start()
	r.many(pods)
	r.reports("web", fmt.Sprintf("%d/%d/0 True Registered", pods, pods))
	for range 2 {
		leader := -1
		r.Within(patience, "a leader of the stream", func() bool {
			leader = servers.StreamLeader("KV_" + bucket)
			return leader >= 0
		})
		servers.Servers[leader].Stop()
		killed := time.Now()
		elected := r.Within(ttl, "another leader", func() bool { return servers.StreamLeader("KV_"+bucket) >= 0 })
		// What is seen comes late, over a connection that may have been to the leader of the past. The records have their times.
		r.Within(patience, "a heartbeat of every pod", func() bool { return seen.since(killed) == pods })
		took := seen.resumed(killed) - elected
		t.Logf("there was no leader for %s, and %s later all %d pods had heartbeated", elected, took, pods)
		if took > resumed {
			t.Errorf("it took %s from the election until every pod had heartbeated", took)
		}
		if err := servers.Servers[leader].Restart(); err != nil {
			t.Fatal(err)
		}
		if err := servers.WaitReady(); err != nil {
			t.Fatal(err)
		}
	}
	if left := seen.departures(); len(left) > 0 {
		t.Errorf("these left: %v", left)
	}
	longest := seen.longest()
	t.Logf("the longest silence of a pod was %s, with a TTL of %s", longest, ttl)
	if longest >= ttl {
		t.Errorf("a pod was silent for %s", longest)
	}
}

// heartbeats is what a follower of the bucket has seen of every node.
type heartbeats struct {
	mu     sync.Mutex
	last   map[string]time.Time
	all    map[string][]time.Time
	left   []string
	silent time.Duration
}

// follow follows the bucket through a client of its own, which misses nothing.
func follow(t *testing.T, servers *natstest.Cluster) *heartbeats {
	t.Helper()
	registry, err := discovery.Open(t.Context(), servers.Connect(t), discovery.Options{Bucket: bucket, NoCreate: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(registry.Close)
	h := &heartbeats{last: map[string]time.Time{}, all: map[string][]time.Time{}}
	go func() {
		for e := range registry.Watch(t.Context()) {
			h.take(e)
		}
	}()
	return h
}

func (h *heartbeats) take(e discovery.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.Type == discovery.Left {
		h.left = append(h.left, fmt.Sprint(e.ID, " ", e.Reason))
		return
	}
	if before, known := h.last[e.ID]; known {
		h.silent = max(h.silent, e.Node.LastSeen.Sub(before))
	}
	h.last[e.ID] = e.Node.LastSeen
	h.all[e.ID] = append(h.all[e.ID], e.Node.LastSeen)
}

// resumed returns how long after that time the last of the nodes heartbeated for the first time.
func (h *heartbeats) resumed(at time.Time) (took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, all := range h.all {
		if first := slices.IndexFunc(all, at.Before); first >= 0 {
			took = max(took, all[first].Sub(at))
		}
	}
	return took
}

// since returns how many nodes have heartbeated since then.
func (h *heartbeats) since(at time.Time) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, last := range h.last {
		if last.After(at) {
			n++
		}
	}
	return n
}

func (h *heartbeats) departures() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.left
}

func (h *heartbeats) longest() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.silent
}
