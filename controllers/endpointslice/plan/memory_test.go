package plan

import (
	"runtime"
	"testing"

	"github.com/rollcall-dev/rollcall/controllers/endpointslice/internal/fixture"
)

// TestMemory: what a Placement holds of an endpoint is less than the endpoint.
func TestMemory(t *testing.T) {
	const services, nodes = 100, 1000
	fleet := fixture.Fleet(nodes)
	before := heap()
	placements := make([]*Placement, 0, services)
	for range services {
		c := newCluster(t, fixture.Service(), fleet...)
		c.full()
		placements = append(placements, c.placement)
	}
	got := int64(heap()-before) / (services * nodes)
	t.Logf("a placement takes %d bytes an endpoint", got)
	if most := int64(200); got > most {
		t.Errorf("a placement takes %d bytes an endpoint, want at most %d", got, most)
	}
	runtime.KeepAlive(placements)
	runtime.KeepAlive(fleet)
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
