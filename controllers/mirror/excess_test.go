package mirror

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

func smallFleet(t *testing.T, most int) *fleet {
	t.Helper()
	p := testPolicy
	p.MaxNodes = most
	return newFleet(t, p)
}

// in returns the IDs of the nodes that are mirrored.
func (f *fleet) in() (ids []string) {
	for _, n := range f.Nodes() {
		ids = append(ids, n.ID)
	}
	slices.Sort(ids)
	return ids
}

func (f *fleet) wantIn(excess int, ids ...string) {
	f.Helper()
	if got := f.in(); !slices.Equal(got, ids) || f.State().Excess != excess {
		f.Fatalf("in are %v, and %d are not; want %v and %d", got, f.State().Excess, ids, excess)
	}
}

func TestMaxNodes(t *testing.T) {
	f := smallFleet(t, 2)
	for n := 1; n <= 5; n++ {
		f.beat(n)
	}
	f.wantIn(3, "n1", "n2")
	// Which nodes are in does not depend on who heartbeats first.
	for _, n := range []int{5, 3, 4, 2, 1} {
		f.beat(n)
	}
	f.list(kv.CauseReconnect, 5, 4, 3, 2, 1)
	f.wantIn(3, "n1", "n2")
	// A place goes to the one that has waited longest, without waiting for its heartbeat.
	f.unregister(1)
	f.wantIn(2, "n2", "n3")
	f.unregister(4)
	f.wantIn(1, "n2", "n3")
	f.beat(1)
	f.unregister(2)
	f.wantIn(1, "n3", "n5")
	f.unregister(3)
	f.unregister(5)
	f.wantIn(0, "n1")
	f.want(1, rollcallv1alpha1.NodeReady)
}

func TestMaxNodesCountsWhatLeavesOtherwise(t *testing.T) {
	f := smallFleet(t, 1)
	f.beat(1)
	f.beat(2)
	f.beat(3)
	f.beat(4)
	f.Absent([]string{"node.n2"})
	f.marker(3)
	f.wantIn(1, "n1")
	// Those that died while they waited are not let in.
	f.pass(testTTL)
	f.want(1, rollcallv1alpha1.NodeExpired)
	f.pass(testPolicy.RetainExpired)
	f.wantIn(0)
}

func TestThoseThatDiedWaitingAreForgotten(t *testing.T) {
	f := smallFleet(t, 1)
	f.beat(1)
	f.beat(2)
	for range 3 {
		f.pass(testTTL / 2)
		f.beat(1)
	}
	f.list(kv.CausePeriodic)
	f.wantIn(0, "n1")
}

func TestMaxNodesChanges(t *testing.T) {
	f := smallFleet(t, 2)
	for n := 1; n <= 4; n++ {
		f.beat(n)
	}
	p := *f.table.policy
	p.MaxNodes = 3
	f.SetPolicy(p)
	f.wantIn(1, "n1", "n2", "n3")
	p.MaxNodes = 1
	f.SetPolicy(p)
	f.wantIn(1, "n1", "n2", "n3")
	f.unregister(1)
	f.wantIn(1, "n2", "n3")
	p.MaxNodes = 0
	f.SetPolicy(p)
	f.wantIn(0, "n2", "n3", "n4")
}

func TestMaxNodesAcrossARestart(t *testing.T) {
	f := smallFleet(t, 2)
	for n := 1; n <= 4; n++ {
		f.beat(n)
	}
	g := restart(f)
	g.Bucket(g.bucket(testTTL))
	g.list(kv.CauseStart, 4, 3, 2, 1)
	g.wantIn(2, "n1", "n2")
}

func TestAnotherSessionFindsOutAnewWhoWaits(t *testing.T) {
	f := smallFleet(t, 1)
	f.beat(1)
	f.beat(2)
	f.beat(3)
	f.list(kv.CauseStart, 3, 1)
	f.wantIn(1, "n1")
}

// TestExcessIsBound has more wait than the values are kept of.
func TestExcessIsBound(t *testing.T) {
	const count = 40
	x := newShelf(maxExcess)
	value := make([]byte, maxExcess/(count-10)-waitingBytes)
	for range 2 { // what heartbeats counts once
		for n := range count {
			x.put(waiting{Entry: kv.Entry{Key: id(n), Value: value}, reading: &record.Reading{}})
		}
	}
	if x.len() != count || x.bytes > maxExcess || x.bytes < maxExcess-len(value)-waitingBytes {
		t.Fatalf("%d wait, with %d bytes", x.len(), x.bytes)
	}
	n := 0
	for w := range x.all {
		if w.Key != id(n) || w.reading == nil {
			t.Fatalf("%s is next, want %s: %v", w.Key, id(n), w.reading)
		}
		n++
		x.drop(w.Key)
	}
	if n != count-10 || x.len() != 10 || x.bytes != 0 {
		t.Errorf("%d waited, and %d wait with %d bytes", n, x.len(), x.bytes)
	}
}

func TestWhoWaitsWithoutAValueComesInWithItsHeartbeat(t *testing.T) {
	f := smallFleet(t, 1)
	f.beat(1)
	f.beat(2)
	f.table.excess.bytes = maxExcess
	f.beat(3)
	f.unregister(2)
	f.unregister(1)
	f.wantIn(1)
	f.beat(3)
	f.wantIn(0, "n3")
}

func TestLocalEntriesDoNotWait(t *testing.T) {
	f := smallFleet(t, 1)
	f.beat(1)
	f.put("node.n2", `{"NodeId":"n2","Endpoint":"10.0.0.2:80","Owner":{"Cluster":"here","UID":"u"}}`)
	f.wantIn(0, "n1")
	f.beat(3)
	f.put("node.n3", `{"NodeId":"n3","Endpoint":"10.0.0.2:80","Owner":{"Cluster":"here","UID":"u"}}`)
	f.wantIn(0, "n1")
}

// TestLocalEntriesThatWaitedDoNotComeIn has the policy change while one of this cluster's own entries waits.
func TestLocalEntriesThatWaitedDoNotComeIn(t *testing.T) {
	p := testPolicy
	p.MaxNodes, p.Record.IncludeLocal = 1, true
	f := newFleet(t, p)
	f.beat(1)
	f.put("node.n2", `{"NodeId":"n2","Endpoint":"10.0.0.2:80","Owner":{"Cluster":"here","UID":"u"}}`)
	f.beat(3)
	f.wantIn(2, "n1")
	p.Record.IncludeLocal = false
	f.SetPolicy(p)
	f.unregister(1)
	f.wantIn(0, "n3")
}

// A bucket may have more than can be read: what nobody knows is kept up to a bound, what is known is read all the same.
func TestUnreadIsBound(t *testing.T) {
	f := smallFleet(t, 2)
	f.beat(1)
	room := leastRoom + 2*roomPerNode
	value := strings.Repeat("x", record.MaxRecordSize+1) // of which nothing is kept
	for n := range 10 {
		f.Mirror.Entry(f.raw("node.large"+id(n), value))
	}
	value = strings.Repeat("y", record.MaxRecordSize)
	count := room/len(value) + 10
	for n := range count {
		f.Mirror.Entry(f.raw("node.y"+id(n), value))
	}
	f.Mirror.Entry(f.raw("node.n1", rec("n1", 2)))
	if u := &f.table.unread; u.bytes > room+waitingBytes+len(rec("n1", 2)) || u.bytes < room-2*len(value) {
		t.Errorf("%d bytes wait to be read, of %d", u.bytes, room)
	}
	if n := f.State().Excess; n < 10 {
		t.Errorf("%d entries wait for their next heartbeat", n)
	}
	f.read()
	if u := &f.table.unread; u.bytes != 0 {
		t.Errorf("%d bytes wait to be read in the end", u.bytes)
	}
	if n := f.State().Excess; n != 10+count-1 {
		t.Errorf("%d of %d wait for a place", n, 10+count-1)
	}
	if node := f.Node("reg.n1"); len(node.Addresses) != 1 || node.Addresses[0].String() != "10.0.0.2" {
		t.Errorf("the known node has %v", node.Addresses)
	}
}

// TestStagedIsBound has a listing that takes effect in one step show more than is kept until then. Who found no room comes in with
// the next heartbeat.
func TestStagedIsBound(t *testing.T) {
	f := smallFleet(t, 2)
	f.beat(1)
	f.Listing(kv.CauseStart)
	pad := strings.Repeat("y", record.MaxRecordSize-200)
	count := (leastRoom+2*roomPerNode)/len(pad) + 10
	for n := range count {
		f.put("node.y"+id(n), fmt.Sprintf(`{"NodeId":"y%s","Endpoint":"10.0.1.%d:80","Load":0,"Name":%q}`, id(n), n, pad))
	}
	if s := f.table.staged; s.bytes > s.most || s.len() != count {
		t.Errorf("%d bytes of %d keys are kept", s.bytes, s.len())
	}
	f.Synced(f.bucket(testTTL))
	f.put("node.y"+id(count-1), rec("y"+id(count-1), 9))
	if n := f.State().Excess; n == 0 || n > count {
		t.Errorf("%d of %d keys wait", n, count)
	}
}
