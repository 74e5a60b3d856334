package mirror

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// foreign reads entries whose key says nothing about the node: {"id": …, "ip": …}.
type foreign struct{}

func (*foreign) KeyHoldsID() bool { return false }

func (*foreign) Read(_ string, value []byte) record.Content {
	var v struct{ ID, IP string }
	if err := json.Unmarshal(value, &v); err != nil || v.ID == "" {
		return record.Content{Err: errors.New("unreadable"), Unread: true}
	}
	return record.Content{Node: discovery.Node{ID: v.ID, Endpoint: v.IP + ":80"}}
}

func foreignPolicy() Policy {
	p := testPolicy
	p.Record.KeyPrefix, p.Record.Reader = "", &foreign{}
	return p
}

// say registers a node under a key, or heartbeats for it.
func (f *fleet) say(key, id string, n int) {
	f.put(key, fmt.Sprintf(`{"id":%q,"ip":"10.0.0.%d"}`, id, n))
}

// shown returns the names of the DiscoveredNodes that the changes since the last call leave, and of those that they remove.
func (f *fleet) shown() (there, gone []string) {
	for _, c := range f.take() {
		if c.New != nil {
			there = append(there, c.New.Name)
		} else {
			gone = append(gone, c.Old.Name)
		}
	}
	slices.Sort(there)
	slices.Sort(gone)
	return there, gone
}

func (f *fleet) wantReason(name, reason string) {
	f.Helper()
	node := f.Node(name)
	switch {
	case node == nil:
		f.Fatalf("there is no %s", name)
	case node.Reason != reason:
		f.Fatalf("%s is %s: %s, want %s", name, node.Reason, node.Message, reason)
	}
}

func TestIDsFromTheRecord(t *testing.T) {
	f := newFleet(t, foreignPolicy())
	f.say("k1", "web-1", 1)
	node := f.Node("reg.web-1")
	if node == nil || node.Key != "k1" || node.ID != "web-1" {
		t.Fatalf("%+v", node)
	}
	f.take()
	f.say("k1", "web-2", 1)
	if there, gone := f.shown(); !slices.Equal(there, []string{"reg.web-2"}) || !slices.Equal(gone, []string{"reg.web-1"}) {
		t.Errorf("another ID told %v and the end of %v", there, gone)
	}
	if f.Node("reg.web-1") != nil || f.Node("reg.web-2") == nil || len(f.Nodes()) != 1 {
		t.Error("the old name is still there, or the new one is not")
	}
	// What can't be read for once keeps its name, and its traffic.
	f.put("k1", "?")
	f.wantReason("reg.web-2", rollcallv1alpha1.ReasonHeartbeating)
	if node := f.Node("reg.web-2"); node.Refusal.Reason != rollcallv1alpha1.ReasonInvalidRecord {
		t.Errorf("what can't be read is not refused: %+v", node)
	}
	f.say("k1", "web-2", 1)
	f.wantReason("reg.web-2", rollcallv1alpha1.ReasonHeartbeating)
	// What never said who it is has its key as a name.
	f.put("k2", "?")
	f.wantReason(record.KeyName("reg", "k2"), rollcallv1alpha1.ReasonInvalidRecord)
	if id := f.Node(record.KeyName("reg", "k2")).ID; id != "k2" {
		t.Errorf("it has the ID %q", id)
	}
	f.say("k2", "web-1", 2)
	f.wantReason("reg.web-1", rollcallv1alpha1.ReasonHeartbeating)
	if total := len(f.Nodes()); total != 2 || f.State().Nodes[rollcallv1alpha1.NodeReady] != 2 {
		t.Errorf("%d nodes: %v", total, f.State().Nodes)
	}
}

// TestAMappingThatGivesAllTheSameID has every node but one keep the ID that it had.
func TestAMappingThatGivesAllTheSameID(t *testing.T) {
	f := newFleet(t, foreignPolicy())
	for n := 1; n <= 3; n++ {
		f.say(fmt.Sprintf("k%d", n), id(n), n)
	}
	p := foreignPolicy()
	f.SetPolicy(p)
	f.Listing(kv.CauseStart)
	for n := 1; n <= 3; n++ {
		f.say(fmt.Sprintf("k%d", n), "same", n)
	}
	f.Synced(f.bucket(testTTL))
	ready := f.State().Nodes[rollcallv1alpha1.NodeReady]
	if node := f.Node("reg.n2"); ready != 3 || node == nil || node.Refusal.Reason != rollcallv1alpha1.ReasonDuplicateNodeID {
		t.Fatalf("%d are ready, and the second is %+v", ready, node)
	}
	f.unregisterKey("k1")
	f.say("k2", "same", 2)
	f.wantReason("reg.same", rollcallv1alpha1.ReasonHeartbeating)
}

func TestDuplicateIDs(t *testing.T) {
	f := newFleet(t, foreignPolicy())
	f.say("k1", "web", 1)
	f.pass(time.Second)
	f.say("k2", "web", 2)
	f.pass(time.Second)
	f.say("k3", "web", 3)
	second, third := record.KeyName("reg", "k2"), record.KeyName("reg", "k3")
	f.wantReason("reg.web", rollcallv1alpha1.ReasonHeartbeating)
	f.wantReason(second, rollcallv1alpha1.ReasonDuplicateNodeID)
	f.wantReason(third, rollcallv1alpha1.ReasonDuplicateNodeID)
	if node := f.Node(second); node.Traffic() != TrafficNone || node.ID != "web" || node.Key != "k2" {
		t.Errorf("%+v", node)
	}
	// It keeps no address from others either.
	f.say("k4", "other", 2)
	f.wantReason("reg.other", rollcallv1alpha1.ReasonHeartbeating)
	f.revision++
	f.Entry(kv.Entry{Key: "k4", Revision: f.revision, Written: f.now(), Operation: kv.Unregister})
	// Heartbeats change nothing.
	f.take()
	for n, key := range []string{"k3", "k2", "k1"} {
		f.say(key, "web", 3-n)
	}
	if there, gone := f.shown(); len(there)+len(gone) != 0 {
		t.Errorf("heartbeats told %v and the end of %v", there, gone)
	}

	f.revision++
	f.Entry(kv.Entry{Key: "k1", Revision: f.revision, Written: f.now(), Operation: kv.Unregister})
	if there, gone := f.shown(); !slices.Equal(there, []string{"reg.web"}) || !slices.Equal(gone, []string{second}) {
		t.Errorf("the end of the older told %v and the end of %v", there, gone)
	}
	if node := f.Node("reg.web"); node.Key != "k2" || node.Phase != rollcallv1alpha1.NodeReady {
		t.Errorf("the name went to %+v", node)
	}
	f.wantReason(third, rollcallv1alpha1.ReasonDuplicateNodeID)

	// The holder takes another ID.
	f.say("k2", "web-2", 2)
	f.wantReason("reg.web-2", rollcallv1alpha1.ReasonHeartbeating)
	if node := f.Node("reg.web"); node.Key != "k3" || node.Phase != rollcallv1alpha1.NodeReady {
		t.Errorf("the name went to %+v", node)
	}
}

func TestANodeThatComesBackUnderAnotherKey(t *testing.T) {
	f := newFleet(t, foreignPolicy())
	f.say("k1", "web", 1)
	f.pass(testTTL / 2)
	f.say("k2", "web", 1)
	f.wantReason(record.KeyName("reg", "k2"), rollcallv1alpha1.ReasonDuplicateNodeID)
	f.pass(testTTL / 2)
	if node := f.Node("reg.web"); node == nil || node.Key != "k2" || node.Phase != rollcallv1alpha1.NodeReady {
		t.Errorf("when the old key expired, the node was %+v", node)
	}
	f.pass(testTTL / 2)
	f.wantReason("reg.web", rollcallv1alpha1.ReasonExpired)
	f.say("k3", "web", 1)
	if node := f.Node("reg.web"); node == nil || node.Key != "k3" || len(f.Nodes()) != 1 {
		t.Errorf("after it had expired, the node was %+v", node)
	}
}

func TestDuplicatesSurviveARestart(t *testing.T) {
	f := newFleet(t, foreignPolicy())
	f.say("k1", "web", 1)
	f.say("k2", "web", 2)
	f.say("k3", "other", 3)
	f.put("k4", "?")
	f.put("k5\xff", "?")
	g := restart(f)
	for _, before := range f.Nodes() {
		after := g.Node(before.Name)
		if before.Key == "k5\uFFFD" {
			continue // Its key can't be written down.
		}
		if after == nil || !before.same(after) || before.Key != after.Key {
			t.Errorf("before the restart:\n%+v\nafter it:\n%+v", before, after)
		}
	}
	g.take()
	g.Listing(kv.CauseStart)
	for _, key := range []string{"k2", "k1", "k3", "k4"} {
		e := f.table.entries[key]
		g.Entry(kv.Entry{Key: key, Value: f.values[key], Revision: e.revision, Written: e.written, Operation: kv.Put})
	}
	g.Synced(f.state.Bucket)
	if there, gone := g.shown(); len(there)+len(gone) != 0 {
		t.Errorf("a restart told %v and the end of %v", there, gone)
	}
}

func TestTheHolderIsGoneAfterARestart(t *testing.T) {
	f := newFleet(t, foreignPolicy())
	f.say("k1", "web", 1)
	f.say("k2", "web", 2)
	dn := written(f.Node(record.KeyName("reg", "k2")), f.now())
	g := &fleet{T: t, clock: f.clock}
	g.Mirror = newMirror(f.registry, foreignPolicy(), nil, []*rollcallv1alpha1.DiscoveredNode{dn}, g.clock, g)
	g.start()
	if node := g.Node("reg.web"); node == nil || node.Key != "k2" || node.Phase != rollcallv1alpha1.NodeReady {
		t.Errorf("%+v", node)
	}
}

func TestAnotherReaderReadsTheSameRevisionsAnew(t *testing.T) {
	p := foreignPolicy()
	p.Record.Reader = nil
	f := newFleet(t, p)
	f.put("k1", `{"NodeId":"k1","Endpoint":"10.0.0.9:80","id":"web","ip":"10.0.0.1"}`)
	f.wantReason("reg.k1", rollcallv1alpha1.ReasonHeartbeating)
	f.take()
	before := f.table.entries["k1"].written
	f.pass(testTTL / 2)
	f.SetPolicy(foreignPolicy())
	f.Listing(kv.CauseStart)
	f.Entry(kv.Entry{Key: "k1", Value: f.values["k1"], Revision: f.revision, Written: before, Operation: kv.Put})
	f.Synced(f.bucket(testTTL))
	if there, gone := f.shown(); !slices.Equal(there, []string{"reg.web"}) || !slices.Equal(gone, []string{"reg.k1"}) {
		t.Errorf("told %v and the end of %v", there, gone)
	}
	node := f.Node("reg.web")
	if node == nil || node.Addresses[0].String() != "10.0.0.1" || !node.LastHeartbeat.Equal(before) {
		t.Errorf("%+v", node)
	}
}

func TestKeysThatGetRefuses(t *testing.T) {
	f := newFleet(t, testPolicy)
	for _, rest := range []string{"", "ä", "a\xff", "a*", "a b", ".a", "a.", "a..b", "a\x01", strings.Repeat("x", discovery.MaxKeyLength)} {
		key := "node." + rest
		f.put(key, `{"NodeId":"x","Endpoint":"10.0.0.1:80"}`)
		node := f.Node(record.KeyName("reg", key))
		if node == nil || node.Reason != rollcallv1alpha1.ReasonInvalidKey || node.Traffic() != TrafficNone {
			t.Errorf("%q: %+v", key, node)
			continue
		}
		wantHarmless(t, node)
	}
}
