package mirror

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

func (f *fleet) raw(key, value string) kv.Entry {
	f.revision++
	return kv.Entry{Key: key, Value: []byte(value), Revision: f.revision, Written: f.now(), Operation: kv.Put}
}

func rec(id string, n int) string {
	return fmt.Sprintf(`{"NodeId":%q,"Endpoint":"http://10.0.0.%d:80","Metadata":{"role":"web"}}`, id, n)
}

// A periodic or planned relist begins before the first listing was read: the Mirror never reads.
func TestRelistBeforeFirstListingIsRead(t *testing.T) {
	for _, cause := range []kv.Cause{kv.CausePeriodic, kv.CausePlanned} {
		f := newFleet(t, testPolicy)
		f.Listing(kv.CauseStart)
		f.Arrived(f.clock.Now())
		f.Mirror.Entry(f.raw("node.x", rec("x", 1)))
		f.Mirror.Synced(f.bucket(testTTL))
		f.Listing(cause)
		f.Mirror.Synced(f.bucket(testTTL))
		f.read()
		f.pass(time.Second)
		if s := f.State(); !s.Reading || f.Node("reg.x") == nil || f.table.staged != nil {
			t.Errorf("%s: Reading %v, node %v, staged %v", cause, s.Reading, f.Node("reg.x"), f.table.staged)
		}
	}
}

// A staged listing is cut off; the Watcher of the same run does not deliver again what it delivered.
func TestStagedListingCutOff(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.put("node.x", rec("x", 1))
	f.put("node.z", rec("z", 3))
	f.Disconnected(nil)
	f.Listing(kv.CauseStart) // another session
	f.Entry(f.raw("node.x", rec("x", 1)))
	f.Entry(f.raw("node.y", rec("y", 2)))
	f.revision++
	f.Entry(kv.Entry{Key: "node.z", Revision: f.revision, Written: f.now(), Operation: kv.Unregister})
	f.Disconnected(kv.ErrConnectionLost)
	f.Listing(kv.CauseReconnect) // of the same Watcher: what it has delivered does not come again
	f.Synced(f.bucket(testTTL))
	if f.Node("reg.y") == nil {
		t.Error("y, which was listed, is not known")
	}
	if f.Node("reg.z") != nil {
		t.Error("z, which unregistered, is still known")
	}
}

// Prefix change of a fleet that is more than half of maxNodes.
func TestPrefixChangeNearMaxNodes(t *testing.T) {
	p := testPolicy
	p.MaxNodes = 10
	f := newFleet(t, p)
	for n := range 10 {
		f.put("node."+id(n), rec(id(n), n))
	}
	p.Record.KeyPrefix = "v2."
	f.SetPolicy(p)
	f.Listing(kv.CauseStart)
	f.Arrived(f.clock.Now())
	for n := range 10 {
		f.put("v2."+id(n), rec(id(n), n))
	}
	f.Synced(f.bucket(testTTL))
	if s := f.State(); s.Excess != 0 {
		t.Errorf("%d beyond maxNodes, of 10 nodes and 10 places", s.Excess)
	}
	for range 20 {
		f.pass(testTTL / 4)
		for n := range 10 {
			f.put("v2."+id(n), rec(id(n), n))
		}
	}
	f.wantAll(0, 10, rollcallv1alpha1.NodeReady)
}

// hooked is a Reader that does something while it reads.
type hooked struct {
	record.Reader
	hook func()
}

func (h *hooked) KeyHoldsID() bool { return true }
func (h *hooked) Read(_ string, value []byte) record.Content {
	if h.hook != nil {
		hook := h.hook
		h.hook = nil
		hook()
	}
	node, _, err := discovery.Decode(value)
	return record.Content{Node: node, Err: err}
}

// An edit of the mapping while the first listing is being read completes that listing, empty.
func TestPolicyWhileFirstListingIsRead(t *testing.T) {
	h := &hooked{}
	p := testPolicy
	p.Record.Reader = h
	f := newFleetUnlisted(t, p)
	f.Listing(kv.CauseStart)
	f.Arrived(f.clock.Now())
	for n := range 3 {
		f.Mirror.Entry(f.raw("node."+id(n), rec(id(n), n)))
	}
	f.Mirror.Synced(f.bucket(testTTL))
	h.hook = func() {
		q := p
		q.Record.Reader = &hooked{}
		f.Mirror.SetPolicy(q)
	}
	f.readSome(t.Context())
	if f.State().Listed || f.State().Reading {
		t.Errorf("listed %v, reading %v, with %d nodes of 3", f.State().Listed, f.State().Reading, len(f.Nodes()))
	}
}

// An expired node is heard, and its message is forgotten since the prefix changes: it stays for ever.
func TestExpiredForEver(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.put("node.x", rec("x", 1))
	for range 4 {
		f.beat(5)
		f.beat(6)
		f.beat(7)
		f.pass(testTTL / 3)
	}
	if n := f.Node("reg.x"); n == nil || n.Phase != rollcallv1alpha1.NodeExpired {
		t.Fatalf("%+v", n)
	}
	f.Mirror.Entry(f.raw("node.x", rec("x", 1)))
	f.Listing(kv.CauseStart)
	f.Arrived(f.clock.Now())
	for _, n := range []int{5, 6, 7} {
		f.beat(n)
	}
	f.Synced(f.bucket(testTTL))
	f.Absent([]string{"node.x"})
	for range 40 {
		for _, n := range []int{5, 6, 7} {
			f.beat(n)
		}
		f.pass(testTTL / 3)
	}
	if n := f.Node("reg.x"); n != nil {
		t.Errorf("after %v it is still there: %s", 40*testTTL/3, n.Phase)
	}
}

// A node dies while its record waits; read later it comes back.
func TestDeadComesBack(t *testing.T) {
	f := newFleet(t, testPolicy)
	for n := range 4 {
		f.beat(n)
	}
	f.pass(testTTL / 3)
	f.Mirror.Entry(f.raw("node.n0", rec("n0", 9)))
	passUnread := func(d time.Duration) {
		for ; d > 0; d -= arrival {
			f.clock.Step(min(d, arrival))
			f.Arrived(f.clock.Now())
			if keys := f.Overdue(); len(keys) > 0 {
				f.Silent(keys)
			}
		}
	}
	for range 4 {
		for n := 1; n < 4; n++ {
			f.Mirror.Entry(f.raw("node."+id(n), rec(id(n), n)))
		}
		passUnread(testTTL / 3)
	}
	if p := f.Node("reg.n0").Phase; p != rollcallv1alpha1.NodeExpired {
		t.Fatal(p)
	}
	f.take()
	f.read()
	if n := f.Node("reg.n0"); n.Traffic() != TrafficNone {
		t.Errorf("the dead node is %s again", n.Phase)
	}
}

// A heartbeat comes between the end of a staged listing and its commit: it is never heard.
func TestHeartbeatBeforeCommit(t *testing.T) {
	h := &hooked{}
	p := testPolicy
	p.Record.Reader = h
	f := newFleet(t, p)
	f.put("node.n0", rec("n0", 1))
	for n := 1; n < 4; n++ {
		f.beat(n)
	}
	f.Disconnected(nil)
	f.Listing(kv.CauseStart)
	f.Arrived(f.clock.Now())
	old := f.raw("node.n0", rec("n0", 1))
	old.Age = 50 * time.Second
	f.Mirror.Entry(old)
	f.Mirror.Synced(f.bucket(testTTL))
	var last kv.Entry
	h.hook = func() {
		last = f.raw("node.n0", rec("n0", 1))
		f.Mirror.Entry(last)
	}
	f.read()
	if n := f.Node("reg.n0"); n.Revision != last.Revision {
		t.Errorf("revision %d is shown, %d was delivered", n.Revision, last.Revision)
	}
	if e := f.table.entries["node.n0"]; e.heard.Age != 0 {
		t.Errorf("it counts as silent for %v", e.heard.Age)
	}
}

// A person accepts the expiry of silent nodes while one is back and its record waits.
func TestAcceptWhileBack(t *testing.T) {
	f := newFleet(t, testPolicy)
	for n := range 4 {
		f.beat(n)
	}
	f.pass(2 * testTTL)
	h := f.State().Held
	if h == nil {
		t.Fatal("not held")
	}
	f.Mirror.Entry(f.raw("node.n0", rec("n0", 0)))
	f.take()
	f.AcceptExpiry(h.Since)
	if n := f.Node("reg.n0"); n.Traffic() != TrafficReady {
		t.Errorf("it has just heartbeated and is %s", n.Phase)
	}
	f.read()
	if e := f.table.entries["node.n0"]; e.accepted {
		t.Error("the guard no longer protects it")
	}
}

// A key that is written and deleted in turn.
func TestPutAndDeleteInTurn(t *testing.T) {
	f := newFleet(t, testPolicy)
	for range 1000 {
		f.Mirror.Entry(f.raw("node.x", rec("x", 1)))
		f.revision++
		f.Mirror.Entry(kv.Entry{Key: "node.x", Revision: f.revision, Operation: kv.Unregister})
	}
	if n := len(f.table.unread.order); n > 1 {
		t.Errorf("%d messages of one key wait, none of which counts", n)
	}
}

// What waits to be read is not bounded.
func TestUnreadIsBounded(t *testing.T) {
	p := testPolicy
	p.MaxNodes = 10
	f := newFleet(t, p)
	value := strings.Repeat("x", 1<<20)
	for n := range 200 {
		f.Mirror.Entry(f.raw("node."+id(n), value))
	}
	bytes := 0
	for _, w := range f.table.unread.order {
		bytes += cap(w.Value)
	}
	if bytes > leastRoom+p.MaxNodes*roomPerNode {
		t.Errorf("%d KiB wait to be read, of a registry of 10 nodes", bytes>>10)
	}
}

// Under the new prefix the record of a known node is refused.
func TestRefusedUnderNewPrefix(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.put("node.x", rec("x", 1))
	p := testPolicy
	p.Record.KeyPrefix = "v2."
	f.SetPolicy(p)
	f.Listing(kv.CauseStart)
	f.Arrived(f.clock.Now())
	f.put("v2.x", `{"NodeId":"x","Endpoint":7}`)
	f.Synced(f.bucket(testTTL))
	if n := f.Node("reg.x"); n == nil || n.Traffic() != TrafficReady {
		t.Errorf("it lost its traffic: %+v", n)
	}
}

// The old session lists again before it is stopped, with another prefix in force.
func TestOldSessionListsAgain(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.put("node.x", rec("x", 1))
	p := testPolicy
	p.Record.KeyPrefix = "v2."
	f.SetPolicy(p)
	f.Listing(kv.CauseReconnect)
	f.Arrived(f.clock.Now())
	f.put("node.x", rec("x", 1))
	f.Synced(f.bucket(testTTL))
	if n := f.Node("reg.x"); n == nil || n.Traffic() != TrafficReady {
		t.Errorf("it lost its traffic: %+v", n)
	}
	if f.State().Reading {
		t.Error("the listing of the old session counts for the new policy")
	}
}

// An expression fails for all nodes, but one that has expired is still shown.
func TestFailingForAllButTheDead(t *testing.T) {
	p := testPolicy
	f := newFleet(t, p)
	f.put("node.dead", rec("dead", 1))
	for range 4 {
		for n := range 3 {
			f.put("node."+id(n), rec(id(n), n+2))
		}
		f.pass(testTTL / 3)
	}
	p.Record.Reader = failing{}
	f.SetPolicy(p)
	f.Listing(kv.CauseStart)
	f.Arrived(f.clock.Now())
	for n := range 3 {
		f.put("node."+id(n), rec(id(n), n+2))
	}
	f.Synced(f.bucket(testTTL))
	s := f.State()
	for field, n := range s.Records.Failing {
		if n < s.Records.Entries {
			t.Errorf("%s fails for all that are read, and nothing says so: %d of %d", field, n, s.Records.Entries)
		}
	}
}

func newFleetUnlisted(t *testing.T, p Policy) *fleet {
	t.Helper()
	f := &fleet{T: t, clock: clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))}
	f.Mirror = newMirror(types.NamespacedName{Namespace: "ns", Name: "reg"}, p, nil, nil, f.clock, f)
	return f
}

// Absent while its message waits, in a bucket without a TTL.
func TestAbsentWhileUnread(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.list(kv.CauseStart)
	f.Mirror.Synced(f.bucket(0))
	f.Listing(kv.CausePeriodic)
	f.Mirror.Synced(f.bucket(0))
	f.Mirror.Entry(f.raw("node.x", rec("x", 1)))
	f.Absent([]string{"node.x"})
	f.read()
	f.pass(20 * testTTL)
	if n := f.Node("reg.x"); n != nil && n.Phase == rollcallv1alpha1.NodeReady {
		t.Errorf("%s for ever, and its key is gone", n.Phase)
	}
}

// B registers at A's address, A heartbeats after that, B's record is read after that. A does not stop being alive.
func TestPlacedWhenRead(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.put("node.a", rec("a", 1))
	f.put("node.c", rec("c", 2))
	f.pass(time.Second)
	f.Mirror.Entry(f.raw("node.b", rec("b", 1)))
	adv := func(d time.Duration) {
		for ; d > 0; d -= arrival {
			f.clock.Step(arrival)
			f.Arrived(f.clock.Now())
		}
	}
	adv(2 * time.Second)
	f.Mirror.Entry(f.raw("node.a", rec("a", 1))) // A lives at the address too
	adv(2 * time.Second)
	f.read()
	for range 3 {
		f.pass(testTTL / 4)
		f.put("node.b", rec("b", 1))
		f.put("node.c", rec("c", 2))
	}
	if n := f.Node("reg.a"); n.Reason == rollcallv1alpha1.ReasonSuperseded {
		t.Errorf("superseded by one that registered before it was last heard: %s", n.Phase)
	}
}

// TestGoMicroKeepsLabels: an entry of go-micro of which nothing can be read leaves the labels by which Services select.
func TestGoMicroKeepsLabels(t *testing.T) {
	envelope := func(data string) string {
		return fmt.Sprintf(`{"key":"orders","data":%q}`, base64.StdEncoding.EncodeToString([]byte(data)))
	}
	good := envelope(`{"name":"orders","version":"1","nodes":[{"id":"x","address":"10.0.0.1:80","metadata":{"role":"web"}}]}`)
	for _, bad := range []string{
		`{"key":"orders","data":7}`, `{"key":"orders"}`, `{"key":"orders","data":"?"}`,
		envelope(`{"name":"orders","nodes":[]}`), envelope(`{"name":"orders","nodes":7}`), envelope(`{"name":"orders","nodes":[7]}`), envelope(`7`), envelope(`?`), `?`,
	} {
		m, err := record.Compile(rollcallv1alpha1.Record{Format: rollcallv1alpha1.FormatGoMicro})
		if err != nil {
			t.Fatal(err)
		}
		p := testPolicy
		p.Record.KeyPrefix, p.Record.Reader = "", m
		f := newFleet(t, p)
		f.put("k", good)
		if f.Node("reg.x") == nil || f.Node("reg.x").Labels["role"] != "web" {
			t.Fatalf("%+v", f.Node("reg.x"))
		}
		f.put("k", bad)
		if n := f.Node("reg.x"); n == nil || n.Labels["role"] != "web" || n.Refusal.Reason == "" || n.Traffic() != TrafficReady {
			t.Errorf("%s: labels %v, metadata %v, refused %v", bad, n.Labels, n.Metadata, n.Refusal)
		}
	}
}

// TestHeartbeatWhileTheFirstMessageIsRead comes while nobody knows the node yet.
func TestHeartbeatWhileTheFirstMessageIsRead(t *testing.T) {
	h := &hooked{}
	p := testPolicy
	p.Record.Reader = h
	f := newFleet(t, p)
	h.hook = func() {
		f.clock.Step(arrival)
		f.Arrived(f.clock.Now())
		f.Mirror.Entry(f.raw("node.x", rec("x", 1)))
	}
	f.put("node.x", rec("x", 1))
	if n := f.Node("reg.x"); n.Revision != f.revision {
		t.Errorf("revision %d is shown of %d", n.Revision, f.revision)
	}
}

// TestReadStopsBetweenRecords ends the reading while a record is read: nobody waits for the others.
func TestReadStopsBetweenRecords(t *testing.T) {
	h := &hooked{}
	p := testPolicy
	p.Record.Reader = h
	f := newFleet(t, p)
	for n := range 10 {
		f.Mirror.Entry(f.raw("node."+id(n), rec(id(n), n)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	h.hook = cancel
	f.Read(ctx)
	if got := len(f.Nodes()); got != 1 {
		t.Errorf("%d records were read", got)
	}
}
