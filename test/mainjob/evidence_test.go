package mainjob

import (
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// tryBeat sends a node's heartbeat, which the server may refuse.
func (r *rig) tryBeat(n int) error {
	value, err := json.Marshal(map[string]any{
		"NodeId": nodeID(n), "Endpoint": "http://" + address(n) + ":8080", "Metadata": map[string]string{"role": "web"},
	})
	if err != nil {
		return err
	}
	_, err = r.kv.Put(r.Context(), "node."+nodeID(n), value)
	return err
}

// keepTrying lets nodes heartbeat, whatever comes of it, whenever holds is looked at.
func (r *rig) keepTrying(from, to int, holds func() bool) func() bool {
	return func() bool {
		// At once: they are to fall silent at once as well.
		var all sync.WaitGroup
		for n := from; n < to; n++ {
			all.Go(func() { _ = r.tryBeat(n) })
		}
		all.Wait()
		return holds()
	}
}

// shown waits until exactly those nodes have endpoints. They heartbeat meanwhile: it may take longer than their TTL.
func (r *rig) shown(from, to int) {
	r.Helper()
	r.Within(patience, "all endpoints", r.keepTrying(from, to, r.serves(from, to)))
}

// alter changes the configuration of the bucket's stream.
func (r *rig) alter(change func(*jetstream.StreamConfig)) {
	r.Helper()
	js, err := jetstream.New(r.nats.Connect(r.T))
	if err != nil {
		r.Fatal(err)
	}
	stream, err := js.Stream(r.Context(), "KV_catga_nodes")
	if err != nil {
		r.Fatal(err)
	}
	config := stream.CachedInfo().Config
	change(&config)
	if _, err := js.UpdateStream(r.Context(), config); err != nil {
		r.Fatal(err)
	}
}

// held returns status.held, nil if nothing is.
func (r *rig) held() *rollcallv1alpha1.HeldStatus {
	r.Helper()
	registry := &rollcallv1alpha1.NodeRegistry{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "catga"}}
	if err := r.API.Get(r.Context(), client.ObjectKeyFromObject(registry), registry); err != nil {
		r.Fatal(err)
	}
	return registry.Status.Held
}

// TestNobodyDiesWhileNobodyCanHeartbeat: the bucket can be read all the time, and takes no heartbeats.
func TestNobodyDiesWhileNobodyCanHeartbeat(t *testing.T) {
	t.Parallel()
	const ttl = 4 * time.Second
	for _, tt := range []struct {
		name   string
		reason rollcallv1alpha1.HeldReason
		stop   func(r *rig)
		// free lets the bucket take heartbeats again; nil if nothing can.
		free func(r *rig)
	}{
		{
			"full of bytes", rollcallv1alpha1.HeldStoreFull,
			func(r *rig) { r.alter(func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 10 }) },
			func(r *rig) { r.alter(func(c *jetstream.StreamConfig) { c.MaxBytes = -1 }) },
		},
		{
			"full of messages", rollcallv1alpha1.HeldStoreFull,
			func(r *rig) { r.alter(func(c *jetstream.StreamConfig) { c.MaxMsgs = 3 }) },
			func(r *rig) { r.alter(func(c *jetstream.StreamConfig) { c.MaxMsgs = -1 }) },
		},
		{
			"without its subjects", rollcallv1alpha1.HeldNobodyWrites,
			func(r *rig) { r.alter(func(c *jetstream.StreamConfig) { c.Subjects = []string{"elsewhere.>"} }) },
			func(r *rig) { r.alter(func(c *jetstream.StreamConfig) { c.Subjects = []string{"$KV.catga_nodes.>"} }) },
		},
		{"sealed", rollcallv1alpha1.HeldSealed, func(r *rig) { r.alter(func(c *jetstream.StreamConfig) { c.Sealed = true }) }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.bucket(ttl)
			r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Bucket.TTL = &metav1.Duration{Duration: ttl} })
			r.service("web")
			r.startReady()
			r.shown(0, 3)
			tt.stop(r)
			r.Throughout(3*ttl, "three endpoints", r.keepTrying(0, 3, r.serves(0, 3)))
			r.Within(patience, "the registry to say so", func() bool {
				h := r.held()
				return r.condition("Degraded") == "True/"+string(tt.reason) && h != nil && h.Reason == tt.reason
			})
			if tt.free == nil {
				r.AcceptExpiry(patience, "catga")
				r.Within(patience, "the endpoints that a person gave up to go", r.serves(0, 0))
				return
			}
			tt.free(r)
			r.Within(patience, "the trouble to be over", r.keepTrying(0, 2, func() bool { return r.held() == nil }))
			r.Within(2*ttl+time.Second+allowance, "the node that died meanwhile to go, and no other", r.keepTrying(0, 2, r.serves(0, 2)))
		})
	}
}

// TestSmallFleetsAreGuarded has all nodes of fleets fall silent, and keys beside them that are no nodes.
func TestSmallFleetsAreGuarded(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	for size, guarded := range map[int]bool{1: false, 2: false, 3: true, 9: true} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.bucket(ttl)
			r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Bucket.TTL = seconds(3) })
			r.service("web")
			r.startReady()
			r.shown(0, size)
			if !guarded {
				r.Within(ttl+patience, "the endpoints to go", r.serves(0, 0))
				return
			}
			r.Throughout(3*ttl, "all endpoints", r.serves(0, size))
			r.Within(patience, "the guard to say so", func() bool { return r.condition("Degraded") == "True/ExpiryGuard" })
			for n := range size {
				r.Within(patience, nodeID(n)+" to be Stale and held", func() bool { return r.phase(n) == rollcallv1alpha1.NodeStale })
			}
		})
	}
}

// TestStaticKeysKeepNobodyAlive: a guard that counts what never was a node holds the dead for ever.
func TestStaticKeysKeepNobodyAlive(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	r := newRig(t)
	r.bucket(ttl)
	r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Bucket.TTL = seconds(3) })
	r.service("web")
	r.startReady()
	static := func(holds func() bool) func() bool {
		return func() bool {
			for n := range 12 {
				if _, err := r.kv.Put(r.Context(), fmt.Sprintf("node.%s.info", nodeID(n)), []byte(`"static"`)); err != nil {
					return false
				}
			}
			return holds()
		}
	}
	r.Within(patience, "six endpoints", r.keepTrying(0, 6, static(r.serves(0, 6))))
	r.Within(ttl+patience, "the one that died to go", r.keepTrying(0, 5, static(r.serves(0, 5))))
}

// TestAFleetThatIsCutOffIsHeldInSpiteOfStaleAfter: the manager reads the bucket, and no node reaches it.
func TestAFleetThatIsCutOffIsHeldInSpiteOfStaleAfter(t *testing.T) {
	t.Parallel()
	const count = 100
	r := newRig(t)
	r.bucket(time.Minute)
	r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Liveness.StaleAfter = seconds(6) })
	r.service("web")
	r.startReady()
	r.shown(0, count)
	r.Throughout(10*time.Second, "all endpoints", r.serves(0, count))
	// How many were silent when it said so first: most of them, and the rest in the next moment.
	r.Within(patience, "the registry to say so", func() bool {
		h := r.held()
		return r.condition("Degraded") == "True/ExpiryGuard" && h != nil && h.Reason == rollcallv1alpha1.HeldGuard && 2*h.Silent > count && h.Of == count
	})
}

// TestAReplacedFleetReleasesTheGuard: most nodes die, and more new ones join than the guard asks for.
func TestAReplacedFleetReleasesTheGuard(t *testing.T) {
	t.Parallel()
	const ttl = 4 * time.Second
	r := newRig(t)
	r.bucket(ttl)
	r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Bucket.TTL = seconds(4) })
	r.service("web")
	r.startReady()
	r.shown(0, 20)
	r.Within(patience, "the guard to hold those that died", r.keepTrying(0, 9, func() bool { return r.condition("Degraded") == "True/ExpiryGuard" }))
	r.Within(patience, "the dead to go", r.keepTrying(0, 9, func() bool {
		ok := r.keepTrying(100, 140, func() bool { return true })()
		return ok && len(r.ready("web")) == 9+40
	}))
	r.Within(patience, "the guard to be off", r.keepTrying(0, 9, func() bool {
		return r.keepTrying(100, 140, func() bool { return r.condition("Degraded") == "False/AsExpected" })()
	}))
}
