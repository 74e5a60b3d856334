package mirror

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

type nobody struct{}

func (nobody) nodesChanged([]Change)                {}
func (nobody) registrySettled(types.NamespacedName) {}
func (nobody) stateChanged(types.NamespacedName)    {}

// TestSessionsInTurn has sessions begin and end while messages come and the policy changes.
func TestSessionsInTurn(t *testing.T) {
	p := testPolicy
	m := newMirror(types.NamespacedName{Namespace: "ns", Name: "reg"}, p, nil, nil, clock.RealClock{}, nobody{})
	rev := uint64(0)
	bucket := func() kv.Bucket {
		return kv.Bucket{Name: "b", TTL: testTTL, ServerTime: time.Now(), ReceivedAt: time.Now()}
	}
	var readers sync.WaitGroup
	for round := range 60 {
		ctx, cancel := context.WithCancel(context.Background())
		readers.Go(func() { m.Read(ctx) })
		prefix := []string{"node.", "v2."}[round/10%2]
		m.Listing(kv.CauseStart)
		for n := range 200 {
			rev++
			m.Entry(kv.Entry{Key: prefix + id(n), Value: []byte(fmt.Sprintf(`{"NodeId":%q,"Endpoint":"http://10.0.0.%d:80"}`, id(n), n+1)), Revision: rev, Written: time.Now()})
			if n%50 == 0 {
				m.Arrived(time.Now())
				m.State()
				m.Nodes()
			}
		}
		m.Synced(bucket())
		if round%2 == 0 {
			m.Listing(kv.CausePeriodic)
			m.Synced(bucket())
		}
		if round%3 == 0 {
			reads := func(context.Context) (bool, error) { return m.State().Reading, nil }
			if err := wait.PollUntilContextTimeout(ctx, time.Millisecond, 10*time.Second, true, reads); err != nil {
				t.Fatalf("round %d: it is never listed: %v", round, err)
			}
		}
		if round%10 == 9 {
			p.Record.KeyPrefix = []string{"node.", "v2."}[(round+1)/10%2]
			m.SetPolicy(p)
		}
		cancel()
		readers.Wait()
		m.Disconnected(context.Canceled)
	}
	if n := len(m.Nodes()); n != 200 {
		t.Errorf("%d nodes", n)
	}
}
