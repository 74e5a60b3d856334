package mainjob

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

func TestAnOutageLongerThanTheTTLRemovesNothing(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	r := newRig(t)
	r.bucket(ttl)
	// The grace is so long that the nodes come back within it, however late it is noticed here that it began.
	r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) {
		s.Liveness.StaleAfter, s.Liveness.ReconnectGrace = seconds(2), seconds(6)
	})
	r.service("web")
	r.startReady()
	r.shown(0, 3)
	r.Within(patience, "three nodes", r.keepTrying(0, 3, func() bool { return len(r.nodes()) == 3 }))

	r.beatAll(0, 3)
	r.nats.Stop()
	r.Throughout(2*ttl, "the last known state", r.serves(0, 3))
	r.Within(patience, "the registry to say so", func() bool {
		return r.condition("Connected") == "False/ConnectionLost" && r.condition("Ready") == "False/ConnectionLost"
	})
	if err := r.nats.Restart(); err != nil {
		t.Fatal(err)
	}
	// All keys have expired meanwhile. The nodes come back late, but within the grace.
	r.Within(patience, "the registry to be listed again", func() bool { return r.condition("Ready") == "True/Ready" })
	r.Throughout(ttl/2, "the last known state", r.serves(0, 3))
	r.beatAll(0, 2)
	for _, n := range []int{0, 1, 2} {
		if phase := r.phase(n); phase != rollcallv1alpha1.NodeReady {
			t.Errorf("%s is %s", nodeID(n), phase)
		}
	}
	// One did not come back.
	r.Within(patience, "the node that did not come back to go", func() bool {
		r.beatAll(0, 2)
		return r.serves(0, 2)()
	})
}

func TestAStartWhileNATSIsDownServesTheLastKnownState(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(3 * time.Second)
	r.registry()
	r.service("web")
	manager := r.startReady()
	r.shown(0, 3)
	r.Within(patience, "three nodes", r.keepTrying(0, 3, func() bool { return len(r.nodes()) == 3 }))
	manager.Stop()

	r.nats.Stop()
	manager = r.Start()
	r.service("made-meanwhile")
	r.Within(patience, "the endpoints of a Service made meanwhile", func() bool { return len(r.ready("made-meanwhile")) == 3 })
	r.Within(patience, "the registry to say so", func() bool { return r.condition("Connected") == "False/ServerUnreachable" })
	r.Throughout(4*time.Second, "the last known state", r.serves(0, 3))
	for _, write := range manager.Take() {
		t.Logf("wrote %s", write)
	}
	if err := r.nats.Restart(); err != nil {
		t.Fatal(err)
	}
	r.Within(patience, "the registry to be Ready", r.keepTrying(0, 3, func() bool { return r.condition("Ready") == "True/Ready" }))
	r.unregister(0)
	r.Within(patience, "the node that unregistered to go", r.keepTrying(1, 3, r.serves(1, 3)))
}

func TestUnregisteredWhileTheManagerIsDown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web")
	manager := r.Start()
	r.beatAll(0, 3)
	r.Within(patience, "three endpoints", r.serves(0, 3))
	r.Within(patience, "three nodes", func() bool { return len(r.nodes()) == 3 })
	manager.Stop()
	r.unregister(0)
	r.Start()
	r.Within(patience, "the node that unregistered to go", r.serves(1, 3))
	r.Within(patience, "its DiscoveredNode to go", func() bool { return r.node(0) == nil })
}

func TestDisruptionGuard(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	const count = 12
	r := newRig(t)
	r.bucket(ttl)
	registry := r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Bucket.TTL = seconds(3) })
	r.service("web")
	r.startReady()
	r.shown(0, count)
	r.Within(patience, "the guard to trip", func() bool { return r.condition("Degraded") == "True/ExpiryGuard" })
	r.Throughout(ttl, "all endpoints", r.serves(0, count))

	// Heartbeats return.
	r.Within(patience, "the guard to let go", r.keepTrying(0, count, func() bool { return r.condition("Degraded") == "False/AsExpected" }))
	r.Within(patience, "the guard to trip again", func() bool { return r.condition("Degraded") == "True/ExpiryGuard" })

	// A person accepts.
	r.AcceptExpiry(patience, registry.Name)
	r.Within(patience, "the endpoints to go", r.serves(0, 0))
	r.Within(patience, "the guard to be off", func() bool { return r.condition("Degraded") == "False/AsExpected" })
	r.Within(patience, "the annotation to go", func() bool {
		if err := r.API.Get(t.Context(), client.ObjectKeyFromObject(registry), registry); err != nil {
			t.Fatal(err)
		}
		return len(registry.Annotations) == 0
	})
}

func TestADeletedRegistryTakesItsEndpointsAlong(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	registry := r.registry()
	r.service("web")
	r.Start()
	r.beatAll(0, 3)
	r.Within(patience, "three endpoints", r.serves(0, 3))
	if err := r.API.Delete(t.Context(), registry); err != nil {
		t.Fatal(err)
	}
	r.Within(patience, "the endpoints to go", r.serves(0, 0))
}
