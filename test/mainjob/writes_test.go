package mainjob

import (
	"slices"
	"strings"
	"testing"
	"time"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// quiet waits until the manager has written nothing for a while.
func (m *run) quiet(r *rig) {
	r.Helper()
	last := time.Now()
	r.within(patience, "the manager to have nothing more to write", func() bool {
		if len(m.take()) > 0 {
			last = time.Now()
		}
		return time.Since(last) > 3*time.Second
	})
}

func TestHeartbeatsCostNoWrites(t *testing.T) {
	const count = 50
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web")
	manager := r.start()
	r.beatAll(0, count)
	r.within(patience, "all endpoints", r.serves(0, count))
	r.within(patience, "all nodes", func() bool { return len(r.nodes()) == count })
	manager.quiet(r)
	for range 5 {
		r.beatAll(0, count)
	}
	// The change that follows proves that the heartbeats before it were seen.
	r.beat(count)
	r.within(patience, "the new endpoint", r.serves(0, count+1))
	r.within(patience, "the new node", func() bool { return r.node(count) != nil })
	for _, write := range manager.take() {
		if !strings.HasPrefix(write, "PUT /apis/discovery.k8s.io") && !strings.HasSuffix(write, "/discoverednodes") && !strings.HasSuffix(write, "/catga/status") {
			t.Errorf("%d heartbeats cost a write: %s", 5*count, write)
		}
	}
	if got := r.node(0).Status.Revision; got > count {
		t.Errorf("the status followed a heartbeat before statusInterval: revision %d", got)
	}
}

func TestStatusCatchesUp(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.StatusInterval = seconds(2) })
	r.start()
	r.beat(0)
	r.within(patience, "the node", func() bool { return r.node(0) != nil })
	r.beat(0)
	r.beat(0)
	r.within(patience, "the status to catch up", func() bool { return r.node(0).Status.Revision == 3 })
}

func TestRestartOverUnchangedNodesWritesNothing(t *testing.T) {
	const count = 2000
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web")
	manager := r.start()
	r.beatAll(0, count)
	r.within(time.Minute, "all nodes", func() bool { return len(r.nodes()) == count })
	r.within(patience, "all endpoints", r.serves(0, count))
	manager.quiet(r)
	manager.stop(r)

	// They go on heartbeating meanwhile, as a fleet does.
	r.beatAll(0, count/2)
	manager = r.start()
	r.beat(count)
	r.within(patience, "a node that is new", func() bool { return r.node(count) != nil })
	r.within(patience, "its endpoint", r.serves(0, count+1))
	writes := manager.take()
	writes = slices.DeleteFunc(writes, func(w string) bool {
		return strings.HasPrefix(w, "POST") && strings.HasSuffix(w, "/discoverednodes") || strings.HasSuffix(w, "/catga/status")
	})
	if len(writes) > 1 { // the slice of the new node
		t.Errorf("a restart over %d unchanged nodes and one new one wrote %v", count, writes)
	}
	manager.quiet(r)
	manager.stop(r)

	manager = r.start()
	r.throughout(5*time.Second, "no write after a restart", func() bool {
		writes := manager.take()
		if len(writes) > 0 {
			t.Logf("a restart over unchanged nodes wrote %v", writes)
		}
		return len(writes) == 0
	})
}
