package mirror

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

const testTTL = 60 * time.Second

// fleet drives a Mirror as a bucket's Watcher would, on a clock of its own.
type fleet struct {
	*testing.T
	*Mirror
	clock    *clocktesting.FakeClock
	revision uint64
	changes  []Change
	settled  int
	values   map[string][]byte // by key, as put last
	asked    []string          // keys that the leader was asked for
	mute     bool              // the leader does not answer
	refused  map[string]bool   // keys that the store refuses
}

func (f *fleet) nodesChanged(changes []Change)          { f.changes = append(f.changes, changes...) }
func (f *fleet) registrySettled(_ types.NamespacedName) { f.settled++ }
func (f *fleet) stateChanged(_ types.NamespacedName)    {}
func (f *fleet) take() (changes []Change)               { changes, f.changes = f.changes, nil; return changes }
func (f *fleet) bucket(ttl time.Duration) kv.Bucket {
	return kv.Bucket{Name: "b", TTL: ttl, ServerTime: f.clock.Now().Add(10 * time.Minute), ReceivedAt: f.clock.Now()}
}

// Entry shows a message, and has it read.
func (f *fleet) Entry(x kv.Entry) {
	f.Mirror.Entry(x)
	f.read()
}

// Synced ends a listing, and has it read.
func (f *fleet) Synced(b kv.Bucket) {
	f.Mirror.Synced(b)
	f.read()
}

// SetPolicy puts a policy in force, and has those read that get in by it.
func (f *fleet) SetPolicy(p Policy) {
	f.Mirror.SetPolicy(p)
	f.read()
}

// read reads everything that waits to be read.
func (f *fleet) read() {
	for read := 1; read > 0; {
		read, _ = f.readSome(f.Context())
	}
}

var testPolicy = Policy{
	Record:        record.Policy{KeyPrefix: "node.", Cluster: "here", Labels: map[string]string{"role": "role"}},
	RetainExpired: 30 * time.Second, MaxSilentPercent: 50, MinNodes: 10,
}

// newFleet returns a Mirror that has been listed, empty, for so long that no grace is left.
func newFleet(t *testing.T, p Policy) *fleet {
	t.Helper()
	f := &fleet{T: t, clock: clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))}
	f.Mirror = newMirror(types.NamespacedName{Namespace: "ns", Name: "reg"}, p, nil, nil, f.clock, f)
	f.list(kv.CauseStart)
	f.pass(2 * testTTL)
	return f
}

// list is a complete listing with these nodes in it, as they were just written.
func (f *fleet) list(cause kv.Cause, ids ...int) {
	f.Listing(cause)
	f.Arrived(f.clock.Now())
	for _, id := range ids {
		f.beat(id)
	}
	f.Synced(f.bucket(testTTL))
}

// arrival is the time between two arrivals from the server.
const arrival = 500 * time.Millisecond

// pass lets the time pass while something arrives every half second and the stream's leader knows no more than the Mirror.
func (f *fleet) pass(d time.Duration) {
	for ; d > 0; d -= arrival {
		f.clock.Step(min(d, arrival))
		f.Arrived(f.clock.Now())
		f.read()
		if keys := f.Overdue(); len(keys) > 0 {
			f.asked = append(f.asked, keys...)
			if !f.mute {
				f.Silent(slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return f.refused[key] }))
				f.Withheld(slices.DeleteFunc(keys, func(key string) bool { return !f.refused[key] }))
			}
		}
	}
}

func id(n int) string { return fmt.Sprintf("n%d", n) }

func (f *fleet) put(key, value string) {
	f.revision++
	if f.values == nil {
		f.values = map[string][]byte{}
	}
	f.values[key] = []byte(value)
	f.Entry(kv.Entry{Key: key, Value: f.values[key], Revision: f.revision, Written: f.now(), Operation: kv.Put})
}

func (f *fleet) beat(n int) {
	f.put("node."+id(n), fmt.Sprintf(`{"NodeId":"n%d","Endpoint":"http://10.0.%d.%d:80","Load":0.%d,"Metadata":{"role":"web"}}`, n, n/200, n%200+1, f.revision))
}

func (f *fleet) unregister(n int) {
	f.revision++
	f.Entry(kv.Entry{Key: "node." + id(n), Revision: f.revision, Written: f.now(), Operation: kv.Unregister})
}

func (f *fleet) marker(n int) {
	f.revision++
	f.Entry(kv.Entry{Key: "node." + id(n), Revision: f.revision, Written: f.now(), Operation: kv.Expire})
}

// phase returns the node's phase, "" if it is unknown.
func (f *fleet) phase(n int) rollcallv1alpha1.NodePhase {
	if node := f.Node("reg." + id(n)); node != nil {
		return node.Phase
	}
	return ""
}

func (f *fleet) want(n int, phase rollcallv1alpha1.NodePhase) {
	f.Helper()
	if got := f.phase(n); got != phase {
		f.Fatalf("phase of %s is %q, want %q", id(n), got, phase)
	}
}

func (f *fleet) wantAll(from, to int, phase rollcallv1alpha1.NodePhase) {
	f.Helper()
	for n := from; n < to; n++ {
		f.want(n, phase)
	}
}

const gone rollcallv1alpha1.NodePhase = ""

func TestJoinHeartbeatUnregister(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beat(1)
	f.want(1, rollcallv1alpha1.NodeReady)
	node := f.Node("reg.n1")
	if node.Labels["role"] != "web" || node.Labels[rollcallv1alpha1.LabelRegistry] != "reg" || node.Labels[rollcallv1alpha1.LabelOrigin] != "external" {
		t.Errorf("labels are %v", node.Labels)
	}
	if changes := f.take(); len(changes) != 1 || changes[0].Old != nil || changes[0].New != node {
		t.Fatalf("joining told %v", changes)
	}
	f.pass(5 * time.Second)
	f.beat(1)
	if changes := f.take(); len(changes) != 0 {
		t.Errorf("a heartbeat told %v", changes)
	}
	after := f.Node("reg.n1")
	if after.Load == node.Load || !after.LastHeartbeat.After(node.LastHeartbeat) || after.Revision <= node.Revision || !after.Changed.Equal(node.Changed) {
		t.Errorf("a heartbeat turned %+v into %+v", node, after)
	}
	f.unregister(1)
	f.want(1, gone)
	if changes := f.take(); len(changes) != 1 || changes[0].New != nil {
		t.Errorf("unregistering told %v", changes)
	}
}

func TestDeathExpiresThenIsForgotten(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beat(1)
	f.pass(testTTL - time.Second)
	f.want(1, rollcallv1alpha1.NodeReady)
	f.pass(time.Second)
	f.want(1, rollcallv1alpha1.NodeExpired)
	if got := f.Node("reg.n1").Traffic(); got != TrafficNone {
		t.Errorf("an expired node has traffic %v", got)
	}
	f.pass(testPolicy.RetainExpired - time.Second)
	f.want(1, rollcallv1alpha1.NodeExpired)
	f.pass(time.Second)
	f.want(1, gone)
}

func TestHeartbeatsMoveTheDeadline(t *testing.T) {
	f := newFleet(t, testPolicy)
	for range 20 {
		f.beat(1)
		f.pass(testTTL / 2)
		f.want(1, rollcallv1alpha1.NodeReady)
	}
	f.pass(testTTL / 2)
	f.want(1, rollcallv1alpha1.NodeExpired)
	f.beat(1)
	f.want(1, rollcallv1alpha1.NodeReady)
}

func TestMarkerIsOnlyAHint(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beat(1)
	f.pass(10 * time.Second)
	f.marker(1)
	f.pass(testTTL - 11*time.Second)
	f.want(1, rollcallv1alpha1.NodeReady)
	f.pass(time.Second)
	f.want(1, rollcallv1alpha1.NodeExpired)
}

func TestMessageTTL(t *testing.T) {
	for _, test := range []struct {
		name    string
		allowed bool
		ttl     time.Duration
		after   time.Duration
		want    rollcallv1alpha1.NodePhase
	}{
		{"shorter than the bucket's", true, 10 * time.Second, 11 * time.Second, rollcallv1alpha1.NodeExpired},
		{"longer than the bucket's", true, 2 * testTTL, testTTL, rollcallv1alpha1.NodeExpired},
		{"none at all", true, -1, 10 * testTTL, rollcallv1alpha1.NodeReady},
		{"ignored by the bucket", false, 10 * time.Second, testTTL - time.Second, rollcallv1alpha1.NodeReady},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFleet(t, testPolicy)
			bucket := f.bucket(testTTL)
			bucket.MessageTTL = test.allowed
			f.Bucket(bucket)
			f.Entry(kv.Entry{Key: "node.n1", Value: []byte(`{"NodeId":"n1","Endpoint":"10.0.0.1:80"}`), Revision: 1, Written: f.now(), TTL: test.ttl, Operation: kv.Put})
			f.pass(test.after)
			f.want(1, test.want)
		})
	}
}

func TestNoDeadlinePassesWhileTheBucketIsAway(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beat(1)
	f.beat(2)
	f.Disconnected(errors.New("gone"))
	f.pass(10 * testTTL)
	f.want(1, rollcallv1alpha1.NodeReady)
	// The server lost everything: the nodes get the grace to come back, and one does.
	f.list(kv.CauseReconnect)
	f.Absent([]string{"node.n1", "node.n2"})
	f.pass(testTTL - time.Second)
	f.beat(2)
	f.want(1, rollcallv1alpha1.NodeReady)
	f.pass(time.Second)
	f.want(1, rollcallv1alpha1.NodeExpired)
	f.want(2, rollcallv1alpha1.NodeReady)
	// The one that came back has its own deadline again.
	f.pass(testTTL - 2*time.Second)
	f.want(2, rollcallv1alpha1.NodeReady)
	f.pass(time.Second)
	f.want(2, rollcallv1alpha1.NodeExpired)
}

func TestReconnectGrace(t *testing.T) {
	p := testPolicy
	p.ReconnectGrace = 3 * testTTL
	f := newFleet(t, p)
	f.pass(2 * testTTL)
	f.beat(1)
	f.Listing(kv.CauseSequenceGap)
	f.Synced(f.bucket(testTTL))
	f.pass(p.ReconnectGrace - time.Second)
	f.want(1, rollcallv1alpha1.NodeReady)
	f.pass(time.Second)
	f.want(1, rollcallv1alpha1.NodeExpired)
}

func TestPeriodicListingGivesNoGrace(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beat(1)
	f.pass(testTTL / 2)
	f.list(kv.CausePeriodic)
	f.Absent([]string{"node.n1"})
	f.pass(testTTL/2 - time.Second)
	f.want(1, rollcallv1alpha1.NodeReady)
	f.pass(time.Second)
	f.want(1, rollcallv1alpha1.NodeExpired)
}

func TestAbsentKeyOfABucketWithoutTTL(t *testing.T) {
	p := testPolicy
	p.FallbackTTL = testTTL
	f := newFleet(t, p)
	f.Bucket(f.bucket(0))
	f.beat(1)
	f.beat(2)
	f.pass(10 * testTTL)
	f.Absent([]string{"node.n1"})
	f.pass(testTTL - time.Second)
	f.want(1, rollcallv1alpha1.NodeReady)
	f.pass(time.Second)
	f.want(1, rollcallv1alpha1.NodeExpired)
	f.want(2, rollcallv1alpha1.NodeReady)
}

func TestStale(t *testing.T) {
	p := testPolicy
	p.StaleAfter = 20 * time.Second
	f := newFleet(t, p)
	f.beat(1)
	f.pass(19 * time.Second)
	f.want(1, rollcallv1alpha1.NodeReady)
	f.pass(time.Second)
	f.want(1, rollcallv1alpha1.NodeStale)
	if got := f.Node("reg.n1").Traffic(); got != TrafficNotReady {
		t.Errorf("a stale node has traffic %v", got)
	}
	// A gap is no sign of life.
	f.list(kv.CauseReconnect)
	f.pass(time.Second)
	f.want(1, rollcallv1alpha1.NodeStale)
	f.beat(1)
	f.want(1, rollcallv1alpha1.NodeReady)
	f.pass(20 * time.Second)
	f.want(1, rollcallv1alpha1.NodeStale)
	f.pass(40 * time.Second)
	f.want(1, rollcallv1alpha1.NodeExpired)
}

func TestTheLongestTTLEndsNoLife(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beat(1)
	f.Listing(kv.CauseReconnect)
	f.Synced(f.bucket(1<<63 - 1))
	f.pass(testTTL)
	f.want(1, rollcallv1alpha1.NodeReady)
	if f.State().Held != nil {
		t.Error("it counts as silent")
	}
}

func TestTTLChangesWhileRunning(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beat(1)
	f.Bucket(f.bucket(10 * time.Second))
	f.pass(10 * time.Second)
	f.want(1, rollcallv1alpha1.NodeExpired)
}

func TestPolicyChangesWhileRunning(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beat(1)
	f.take()
	p := testPolicy
	p.Record.Labels = map[string]string{"kind": "role"}
	f.SetPolicy(p)
	if node := f.Node("reg.n1"); node.Labels["kind"] != "web" || node.Labels["role"] != "" {
		t.Errorf("labels are %v", node.Labels)
	}
	if changes := f.take(); len(changes) != 1 {
		t.Errorf("told %v", changes)
	}
	p.StaleAfter = time.Second
	f.SetPolicy(p)
	f.pass(time.Second)
	f.want(1, rollcallv1alpha1.NodeStale)
}

func TestChangesDuringAListingAreToldTogether(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.take()
	f.Listing(kv.CauseStart)
	for n := range 5 {
		f.beat(n)
	}
	f.beat(5)
	f.unregister(5)
	if changes := f.take(); len(changes) != 0 {
		t.Errorf("told %d changes in the middle of a listing", len(changes))
	}
	f.Synced(f.bucket(testTTL))
	if changes := f.take(); len(changes) != 5 {
		t.Errorf("told %d changes after the listing, want 5", len(changes))
	}
	f.Listing(kv.CauseReconnect)
	f.beat(6)
	f.pass(listingPatience)
	if changes := f.take(); len(changes) != 1 {
		t.Errorf("told %d changes of a listing that takes long, want 1", len(changes))
	}
}

// Of a listing that takes long, nodes that join are told in steps, each longer than the one before, and anything else at once.
func TestAListingThatTakesLongIsToldInSteps(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.take()
	f.Listing(kv.CauseReconnect)
	for _, step := range []struct {
		after time.Duration
		does  func()
		want  int
	}{
		{listingPatience - time.Millisecond, func() { f.beat(0) }, 0},
		{time.Millisecond, func() { f.beat(1) }, 1},
		{listingPatience, func() { f.beat(2) }, 0},
		{pauseFactor*listingPatience - listingPatience, func() { f.beat(3) }, 2},
		{pauseFactor * listingPatience, func() { f.beat(4) }, 0},
		{0, func() { f.unregister(0) }, 3},
		{0, func() { f.beat(5) }, 0},
		{maxPause, func() { f.beat(6) }, 1},
		{0, func() { f.beat(7) }, 0},
		{0, func() { f.Synced(f.bucket(testTTL)); f.read() }, 2},
		{0, func() { f.beat(8) }, 1},
	} {
		f.pass(step.after)
		step.does()
		if changes := f.take(); len(changes) != step.want {
			t.Errorf("%d changes were told, not %d, of %v", len(changes), step.want, step)
		}
	}
}

func TestSettledOnce(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.list(kv.CauseReconnect)
	f.list(kv.CausePeriodic)
	if f.settled != 1 {
		t.Errorf("settled %d times", f.settled)
	}
}

func TestForeignAndLocalEntries(t *testing.T) {
	const value = `{"NodeId":"n%d","Endpoint":"10.0.0.%d:80","Owner":{"Cluster":"%s","UID":"u"}}`
	f := newFleet(t, testPolicy)
	f.put("node.n1", fmt.Sprintf(value, 1, 1, "here"))
	f.put("node.n2", fmt.Sprintf(value, 2, 2, "there"))
	f.want(1, gone)
	if got := f.Node("reg.n2").Labels[rollcallv1alpha1.LabelOrigin]; got != "there" {
		t.Errorf("origin is %q", got)
	}
	p := testPolicy
	p.Record.IncludeLocal = true
	f = newFleet(t, p)
	f.put("node.n1", fmt.Sprintf(value, 1, 1, "here"))
	f.want(1, rollcallv1alpha1.NodeReady)
}

func TestBadRecordsDisturbNothingElse(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beat(1)
	for key, test := range map[string]struct{ value, reason string }{
		"n2": {`{`, rollcallv1alpha1.ReasonInvalidRecord},
		"n3": {`{"NodeId":"n4","Endpoint":"10.0.0.3:80"}`, rollcallv1alpha1.ReasonNodeIDMismatch},
		"n5": {`{"NodeId":"n5","Endpoint":"127.0.0.1:80"}`, rollcallv1alpha1.ReasonAddressRefused},
		"n6": {`{"NodeId":"n6","Endpoint":"169.254.169.254:80"}`, rollcallv1alpha1.ReasonAddressRefused},
	} {
		f.put("node."+key, test.value)
		node := f.Node("reg." + key)
		if node == nil || node.Phase != rollcallv1alpha1.NodeInvalid || node.Reason != test.reason || node.Message == "" {
			t.Errorf("%s: %+v, want %s", test.value, node, test.reason)
		}
	}
	f.want(1, rollcallv1alpha1.NodeReady)
	f.beat(2)
	f.want(2, rollcallv1alpha1.NodeReady)
}

func TestCordon(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beat(1)
	f.SetCordoned("reg.n1", true)
	if node := f.Node("reg.n1"); node.Reason != rollcallv1alpha1.ReasonCordoned || node.Traffic() != TrafficNotReady {
		t.Errorf("cordoned: %+v", node)
	}
	f.beat(1)
	f.take()
	f.SetCordoned("reg.n1", true)
	if changes := f.take(); len(changes) != 0 {
		t.Errorf("told %v", changes)
	}
	f.SetCordoned("reg.n1", false)
	if node := f.Node("reg.n1"); node.Traffic() != TrafficReady {
		t.Errorf("uncordoned: %+v", node)
	}
}
