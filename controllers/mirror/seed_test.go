package mirror

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// written returns the DiscoveredNode that was written down of a node.
func written(n *Node, created time.Time) *rollcallv1alpha1.DiscoveredNode {
	dn := &rollcallv1alpha1.DiscoveredNode{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.Namespace, Name: n.Name, Labels: n.Labels, CreationTimestamp: metav1.NewTime(created.Truncate(time.Second)),
			Annotations: map[string]string{rollcallv1alpha1.AnnotationLabels: record.FormatLabels(n.Labels)}},
		Spec: rollcallv1alpha1.DiscoveredNodeSpec{
			RegistryName: n.Registry, Key: n.Key, NodeID: n.ID, DisplayName: n.DisplayName, Zone: n.Zone, Metadata: n.Metadata, Cordoned: n.Cordoned,
		},
		Status: rollcallv1alpha1.DiscoveredNodeStatus{
			Phase: n.Phase, Load: n.Load, Revision: int64(n.Revision), LastHeartbeatTime: &metav1.Time{Time: n.LastHeartbeat.Truncate(time.Second)},
			Conditions: []metav1.Condition{{Type: rollcallv1alpha1.ConditionReady, Reason: n.Reason, Message: n.Message}},
		},
	}
	accepted := metav1.Condition{Type: rollcallv1alpha1.ConditionRecordAccepted, Status: metav1.ConditionTrue, Reason: rollcallv1alpha1.ReasonAccepted}
	switch {
	case n.Refusal.Reason != "":
		accepted.Status, accepted.Reason, accepted.Message = metav1.ConditionFalse, n.Refusal.Reason, n.Refusal.Message
	case len(n.Remarks) > 0:
		accepted.Reason, accepted.Message = rollcallv1alpha1.ReasonAcceptedWithRemarks, strings.Join(n.Remarks, "; ")
	}
	dn.Status.Conditions = append(dn.Status.Conditions, accepted)
	for _, addr := range n.Addresses {
		dn.Spec.Addresses = append(dn.Spec.Addresses, addr.String())
	}
	for _, port := range n.Ports {
		dn.Spec.Ports = append(dn.Spec.Ports, rollcallv1alpha1.NodePort{Name: port.Name, Port: port.Port, Protocol: string(port.Protocol)})
	}
	return dn
}

// restart returns a Mirror that was seeded with what was written down of the old one.
func restart(f *fleet) *fleet {
	var nodes []*rollcallv1alpha1.DiscoveredNode
	for _, n := range f.Nodes() {
		nodes = append(nodes, written(n, n.FirstSeen))
	}
	g := &fleet{T: f.T, clock: clocktesting.NewFakeClock(f.clock.Now()), revision: f.revision}
	g.Mirror = newMirror(types.NamespacedName{Namespace: "ns", Name: "reg"}, *f.table.policy, f.State().Held, nodes, g.clock, g)
	g.start()
	return g
}

func TestRestartGoesOnFromWhatWasWrittenDown(t *testing.T) {
	p := testPolicy
	p.StaleAfter = 20 * time.Second
	f := newFleet(t, p)
	f.beat(1) // will have expired,
	f.pass(testTTL - 25*time.Second)
	f.beat(2) // be stale,
	f.pass(25 * time.Second)
	f.beat(3) // ready,
	f.beat(4) // cordoned,
	f.SetCordoned("reg.n4", true)
	f.put("node.n6", `{"NodeId":"other"}`) // and invalid.
	g := restart(f)
	for _, before := range f.Nodes() {
		after := g.Node(before.Name)
		if after == nil || !before.same(after) {
			t.Errorf("before the restart:\n%+v\nafter it:\n%+v", before, after)
		}
	}

	// The listing shows what was there; it is no sign of life, and no change.
	g.take()
	g.Listing(kv.CauseStart)
	for _, n := range f.Nodes() {
		if n.Phase != rollcallv1alpha1.NodeExpired {
			e := f.table.entries[n.Key]
			g.Entry(kv.Entry{Key: n.Key, Value: f.values[n.Key], Revision: e.revision, Written: e.written, Operation: kv.Put})
		}
	}
	g.Synced(f.state.Bucket)
	if changes := g.take(); len(changes) != 0 {
		t.Errorf("a restart over unchanged nodes told %+v", changes)
	}
	g.want(1, rollcallv1alpha1.NodeExpired)
	g.want(2, rollcallv1alpha1.NodeStale)
}

func TestRestartWhileTheBucketIsAwayKeepsEverything(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beat(1)
	g := restart(f)
	g.Disconnected(nil)
	g.pass(10 * testTTL)
	g.want(1, rollcallv1alpha1.NodeReady)
	if g.State().Listed {
		t.Error("a bucket that was never read counts as listed")
	}
	// Unregistered meanwhile: the listing holds its deletion.
	g.Listing(kv.CauseStart)
	g.unregister(1)
	g.Synced(g.bucket(testTTL))
	g.want(1, gone)
}

// Who was written down, and is not in the first listing, has left, also for a projection that has not looked before: there is an
// object of it.
func TestWhoWasWrittenDownLeaves(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beat(1)
	f.beat(2)
	for name, show := range map[string]func(g *fleet){
		"its key was deleted":    func(g *fleet) { g.unregister(1) },
		"it is deleted at once":  func(g *fleet) { g.beat(1); g.unregister(1) },
		"it came back, and left": func(g *fleet) { g.unregister(1); g.beat(1); g.unregister(1) },
	} {
		t.Run(name, func(t *testing.T) {
			g := restart(f)
			g.T = t
			g.Listing(kv.CauseStart)
			g.Arrived(g.clock.Now())
			g.beat(2)
			show(g)
			g.Synced(g.bucket(testTTL))
			g.want(1, gone)
			c := NewCursor()
			for i, change := range g.take() {
				c.Put(uint64(i+1), []Change{change})
			}
			nodes := c.Take().Nodes
			change, told := nodes[types.NamespacedName{Namespace: "ns", Name: "reg.n1"}]
			if !told || change.New != nil || change.Old == nil {
				t.Errorf("of who left is told %+v", change)
			}
		})
	}
}

func TestSeedTakesNoForeignObject(t *testing.T) {
	f := &fleet{T: t, clock: clocktesting.NewFakeClock(time.Now())}
	f.Mirror = newMirror(types.NamespacedName{Namespace: "ns", Name: "reg"}, testPolicy, nil, []*rollcallv1alpha1.DiscoveredNode{{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "reg.other"},
		Spec:       rollcallv1alpha1.DiscoveredNodeSpec{RegistryName: "reg", Key: "node.n1", NodeID: "n1"},
	}}, f.clock, f)
	if nodes := f.Nodes(); len(nodes) != 0 {
		t.Errorf("seeded %+v", nodes[0])
	}
}

// A label of somebody else on a DiscoveredNode is none of the node's after a restart, whatever its key.
func TestLabelsOfOthersAreNotRemembered(t *testing.T) {
	p := testPolicy
	p.Record.Labels = map[string]string{"role": "role", "zone": "zone"}
	f := newFleet(t, p)
	f.put("node.n1", `{"NodeId":"n1","Endpoint":"http://10.1.0.1:8080","Metadata":{"role":"no label value!","zone":"a"}}`)
	n := f.Node("reg.n1")
	dn := written(n, n.FirstSeen)
	for annotation, want := range map[string]string{record.FormatLabels(n.Labels): "", "role=web,zone=a": "web"} {
		dn.Labels = map[string]string{"role": "db", "zone": "b", "team": "x", rollcallv1alpha1.LabelOrigin: rollcallv1alpha1.OriginExternal}
		dn.Annotations[rollcallv1alpha1.AnnotationLabels] = annotation
		g := &fleet{T: t, clock: clocktesting.NewFakeClock(f.clock.Now())}
		g.Mirror = newMirror(types.NamespacedName{Namespace: "ns", Name: "reg"}, p, nil, []*rollcallv1alpha1.DiscoveredNode{dn}, g.clock, g)
		labels := g.Node("reg.n1").Labels
		if labels["role"] != want || labels["zone"] != "a" || labels["team"] != "" {
			t.Errorf("with the annotation %q the node has the labels %v", annotation, labels)
		}
	}
}
