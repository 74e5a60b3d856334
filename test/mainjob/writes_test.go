package mainjob

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

func TestHeartbeatsCostNoWrites(t *testing.T) {
	t.Parallel()
	const count = 50
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web")
	manager := r.Start()
	r.beatAll(0, count)
	r.Within(patience, "all endpoints", r.serves(0, count))
	r.Within(patience, "all nodes", func() bool { return len(r.nodes()) == count })
	manager.Quiet(patience)
	for range 5 {
		r.beatAll(0, count)
	}
	// The change that follows proves that the heartbeats before it were seen.
	r.beat(count)
	r.Within(patience, "the new endpoint", r.serves(0, count+1))
	r.Within(patience, "the new node", func() bool { return r.node(count) != nil })
	for _, write := range manager.Take() {
		if !strings.HasPrefix(write, "PUT /apis/discovery.k8s.io") && !strings.HasSuffix(write, "/discoverednodes") && !strings.HasSuffix(write, "/catga/status") {
			t.Errorf("%d heartbeats cost a write: %s", 5*count, write)
		}
	}
	if got := r.node(0).Status.Revision; got > count {
		t.Errorf("the status followed a heartbeat before statusInterval: revision %d", got)
	}
}

// TestWhatNothingDependsOnCostsNoWrites: a counter in the metadata, another display name and an odd load wait as heartbeats do.
func TestWhatNothingDependsOnCostsNoWrites(t *testing.T) {
	t.Parallel()
	const count = 20
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web")
	manager := r.Start()
	r.beatAll(0, count)
	r.Within(patience, "all endpoints", r.serves(0, count))
	r.Within(patience, "all nodes", func() bool { return len(r.nodes()) == count })
	manager.Quiet(patience)
	for beat := range 10 {
		for n := range count {
			value := fmt.Sprintf(`{"NodeId":%q,"Name":"beat %d","Endpoint":"http://%s:8080","Load":%d,"Metadata":{"role":"web","counter":"%d"}}`,
				nodeID(n), beat, address(n), beat, beat)
			if _, err := r.kv.PutString(r.Context(), "node."+nodeID(n), value); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The change that follows proves that what came before it was seen.
	r.beat(count)
	r.Within(patience, "the new endpoint", r.serves(0, count+1))
	r.Within(patience, "the new node", func() bool { return r.node(count) != nil })
	manager.Quiet(patience)
	for _, write := range manager.Take() {
		if strings.HasPrefix(write, "PUT /apis/rollcall.dev") {
			t.Errorf("%d heartbeats cost a write: %s", 10*count, write)
		}
	}
}

func TestStatusCatchesUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.StatusInterval = seconds(2) })
	r.Start()
	r.beat(0)
	r.Within(patience, "the node", func() bool { return r.node(0) != nil })
	r.beat(0)
	r.beat(0)
	r.Within(patience, "the status to catch up", func() bool { return r.node(0).Status.Revision == 3 })
}

func TestRestartOverUnchangedNodesWritesNothing(t *testing.T) {
	t.Parallel()
	const count = 500
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web")
	manager := r.Start()
	r.beatAll(0, count)
	r.Within(time.Minute, "all nodes", func() bool { return len(r.nodes()) == count })
	r.Within(patience, "all endpoints", r.serves(0, count))
	manager.Quiet(patience)
	manager.Stop()

	// They go on heartbeating meanwhile, as a fleet does.
	r.beatAll(0, count/2)
	manager = r.Start()
	r.beat(count)
	r.Within(patience, "a node that is new", func() bool { return r.node(count) != nil })
	r.Within(patience, "its endpoint", r.serves(0, count+1))
	writes := manager.Take()
	writes = slices.DeleteFunc(writes, func(w string) bool {
		return strings.HasPrefix(w, "POST") && strings.HasSuffix(w, "/discoverednodes") || strings.HasSuffix(w, "/catga/status")
	})
	if len(writes) > 1 { // the slice of the new node
		t.Errorf("a restart over %d unchanged nodes and one new one wrote %v", count, writes)
	}
	manager.Quiet(patience)
	manager.Stop()

	manager = r.Start()
	r.Throughout(5*time.Second, "no write after a restart", func() bool {
		writes := manager.Take()
		if len(writes) > 0 {
			t.Logf("a restart over unchanged nodes wrote %v", writes)
		}
		return len(writes) == 0
	})
}
