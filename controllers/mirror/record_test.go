package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	clocktesting "k8s.io/utils/clock/testing"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/discovery/kv"
	"github.com/rollcall-dev/rollcall/internal/expression"
)

// good is a record of a node x that nothing is to be said of.
const good = `{"NodeId":"x","Endpoint":"http://10.0.0.1:80","Zone":"a","Metadata":{"role":"web"}}`

// wantLastGood checks that the node x lives on its last good record.
func (f *fleet) wantLastGood() {
	f.Helper()
	node := f.Node("reg.x")
	if node == nil || node.Traffic() != TrafficReady || node.Refusal.Reason == "" || len(node.Addresses) != 1 ||
		node.Addresses[0].String() != "10.0.0.1" || len(node.Ports) != 1 || node.Ports[0].Port != 80 {
		f.Fatalf("it does not live on its last good record: %+v", node)
	}
}

func TestARefusedRecordLeavesTheLastGoodOne(t *testing.T) {
	for name, tt := range bad {
		if tt.reason == rollcallv1alpha1.ReasonAddressRefused {
			continue
		}
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, testPolicy)
			f.put("node.x", good)
			f.put("node.x", tt.value)
			f.wantLastGood()
			if node := f.Node("reg.x"); node.Refusal.Reason != tt.reason || !strings.Contains(node.Refusal.Message, tt.says) {
				t.Errorf("refused for %+v", node.Refusal)
			}
			g := restart(f)
			g.wantLastGood()
			g.list(kv.CauseStart)
			g.put("node.x", tt.value)
			g.wantLastGood()
			// It lives for as long as it heartbeats, and no longer.
			for range 4 {
				g.pass(testTTL / 2)
				g.put("node.x", tt.value)
				g.wantLastGood()
			}
			g.pass(testTTL)
			if node := g.Node("reg.x"); node.Phase != rollcallv1alpha1.NodeExpired {
				t.Errorf("it is silent and %s", node.Phase)
			}
			g.put("node.x", good)
			if node := g.Node("reg.x"); node.Traffic() != TrafficReady || node.Refusal.Reason != "" {
				t.Errorf("a good record gives %+v", node)
			}
		})
	}
}

func TestARefusedAddressIsNoLastGoodOne(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.put("node.x", good)
	f.put("node.x", `{"NodeId":"x","Endpoint":"127.0.0.1:80"}`)
	f.wantReason("reg.x", rollcallv1alpha1.ReasonAddressRefused)
	p := testPolicy
	f.put("node.x", good)
	f.put("node.x", "?")
	f.wantLastGood()
	p.Record.Denied = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
	f.SetPolicy(p)
	f.wantReason("reg.x", rollcallv1alpha1.ReasonAddressRefused)
	g := restart(f)
	g.wantReason("reg.x", rollcallv1alpha1.ReasonAddressRefused)
	g.SetPolicy(testPolicy)
	g.wantLastGood()
}

func TestARecordOfAnotherNodeSaysNothing(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.put("node.x", good)
	f.put("node.x", `{"NodeId":"y","Endpoint":"10.0.0.2:80","Zone":"b","Draining":true,"Metadata":{"role":"db"}}`)
	f.wantLastGood()
	if node := f.Node("reg.x"); node.Labels["role"] != "web" || node.Zone != "a" {
		t.Errorf("%+v", node)
	}
}

func TestWhatCanBeReadOfARefusedRecordCounts(t *testing.T) {
	f := newFleet(t, foreignPolicy())
	f.table.policy.Record.Reader = contents{
		"good": {Node: discovery.Node{ID: "x", Endpoint: "10.0.0.1:80", Zone: "a", Metadata: map[string]string{"role": "web"}, Load: new(1.0)}},
		"bad": {
			Node: discovery.Node{Draining: true, Zone: "b", Metadata: map[string]string{"role": "db"}, Load: new(2.0)}, Err: errors.New("no port"),
		},
		"worse":  {Err: errors.New("no JSON"), Unread: true},
		"failed": {Node: discovery.Node{ID: "x", Endpoint: "10.0.0.2:80"}, Failing: []string{"spec.record.zone", "spec.record.metadata"}, LeftOut: []string{"Zone", "Metadata"}},
	}
	f.put("node.x", "good")
	f.put("node.x", "bad")
	node := f.Node("reg.x")
	if node.Traffic() != TrafficTerminating || node.Zone != "b" || node.Labels["role"] != "db" || node.Load != "2" || node.Addresses[0].String() != "10.0.0.1" {
		t.Errorf("a refused record gives %+v", node)
	}
	f.put("node.x", "worse")
	if after := f.Node("reg.x"); after.Traffic() != TrafficTerminating || after.Zone != "b" || after.Load != "2" {
		t.Errorf("one that says nothing gives %+v", after)
	}
	f.put("node.x", "failed")
	node = f.Node("reg.x")
	if node.Traffic() != TrafficReady || node.Zone != "b" || node.Labels["role"] != "db" || node.Addresses[0].String() != "10.0.0.2" || node.Refusal.Reason != "" {
		t.Errorf("expressions that fail for what only informs give %+v", node)
	}
	if records := f.State().Records; records.Failing["spec.record.zone"] != 1 || records.Refused != 0 {
		t.Errorf("counted are %+v", records)
	}
}

// TestWhatCannotBeReadStaysAsItWas spoils what a label, the zone and the drain come from.
func TestWhatCannotBeReadStaysAsItWas(t *testing.T) {
	const known = `"Endpoint":"10.0.0.1:80","Zone":"a","Name":"x","Draining":true,"Metadata":{"role":"web","rack":"7"}`
	for _, members := range []string{
		`"Endpoint":"10.0.0.1:80","Zone":{},"Name":[],"Draining":"perhaps","Metadata":5`,
		`"Endpoint":"10.0.0.1:80","Zone":["a"],"Name":{},"Draining":{},"Metadata":{"role":["web"],"rack":{}}`,
		`"Endpoint":"10.0.0.1:80","Zone":,"Name":undefined,"Draining":None,"Metadata":{"role":undefined,"rack":}`,
		`"Endpoint":"10.0.0.1:80","Zone":{},"Name":{},"Draining":true,"Metadata":{"role":"no label!","rack":"7"}`,
		`"Endpoint":5,"Draining":true`,
		`"Endpoint":"name:80","Draining":true,"Metadata":{}`,
	} {
		f := newFleet(t, testPolicy)
		f.put("node.x", `{"NodeId":"x",`+known+`}`)
		before := f.Node("reg.x")
		f.take()
		f.put("node.x", `{"NodeId":"x",`+members+`}`)
		after := f.Node("reg.x")
		if after.Zone != "a" || after.DisplayName != "x" || after.Traffic() != TrafficTerminating || after.Metadata["rack"] != "7" ||
			!maps.Equal(after.Labels, before.Labels) {
			t.Errorf("%s: %+v", members, after)
		}
		p := testPolicy
		p.MaxNodes = 5
		f.SetPolicy(p)
		for _, node := range []*Node{f.Node("reg.x"), restart(f).Node("reg.x")} {
			if !maps.Equal(node.Labels, before.Labels) {
				t.Errorf("%s: after an edit or a restart the labels are %v", members, node.Labels)
			}
		}
		if len(after.Remarks) == 0 && after.Refusal.Reason == "" {
			t.Errorf("%s is not remarked", members)
		}
	}
	var many []string
	for n := range 2000 {
		many = append(many, fmt.Sprintf(`"a%d":""`, n))
	}
	full := newFleet(t, testPolicy)
	full.put("node.x", `{"NodeId":"x","Endpoint":"10.0.0.1:80","Metadata":{"role":"web",`+strings.Join(many, ",")+`}}`)
	if node := full.Node("reg.x"); node.Labels["role"] != "web" || len(node.Metadata) != rollcallv1alpha1.MaxMetadataEntries || len(node.Remarks) != 1 {
		t.Errorf("of many entries there are %d, with the labels %v: %v", len(node.Metadata), node.Labels, node.Remarks)
	}
	// Names that change with every heartbeat do not pile up.
	growing := newFleet(t, testPolicy)
	growing.put("node.x", good)
	for n := range 300 {
		growing.put("node.x", fmt.Sprintf(`{"NodeId":"x","Endpoint":"10.0.0.1:80","Metadata":{"odd":{},"k%d":"v"}}`, n))
	}
	if node := growing.Node("reg.x"); node.Labels["role"] != "web" || len(node.Metadata) != 2 {
		t.Errorf("%d entries are kept of a record that has two", len(node.Metadata))
	}
	// What the record no longer says is no longer so.
	f := newFleet(t, testPolicy)
	f.put("node.x", `{"NodeId":"x",`+known+`}`)
	f.put("node.x", `{"NodeId":"x","Endpoint":"10.0.0.1:80"}`)
	if node := f.Node("reg.x"); node.Zone != "" || node.Labels["role"] != "" || node.Traffic() != TrafficReady {
		t.Errorf("%+v", node)
	}
}

// contents is a Reader that knows what each value says.
type contents map[string]record.Content

func (c contents) Read(_ string, value []byte) record.Content { return c[string(value)] }
func (c contents) KeyHoldsID() bool                           { return false }

// TestWhatNothingDependsOnIsNoChange has nodes whose heartbeats differ in what no endpoint, label or condition shows.
func TestWhatNothingDependsOnIsNoChange(t *testing.T) {
	for name, value := range map[string]func(n int) string{
		"metadata":          func(n int) string { return fmt.Sprintf(`"Metadata":{"role":"web","n":"%d"}`, n) },
		"name":              func(n int) string { return fmt.Sprintf(`"Name":"%d"`, n) },
		"load":              func(n int) string { return fmt.Sprintf(`"Load":%d`, n) },
		"a second address":  func(n int) string { return fmt.Sprintf(`"Addresses":["10.0.0.1","10.0.1.%d"]`, n) },
		"a refused address": func(n int) string { return fmt.Sprintf(`"Addresses":["10.0.0.1","127.0.1.%d"]`, n) },
		"order of ports": func(n int) string {
			return []string{`"Ports":[{"Name":"a","Port":1},{"Name":"b","Port":2}]`, `"Ports":[{"Name":"b","Port":2},{"Name":"a","Port":1}]`}[n%2]
		},
		"owner":   func(n int) string { return fmt.Sprintf(`"Owner":{"Cluster":"","UID":"%d"}`, n) },
		"remarks": func(n int) string { return fmt.Sprintf(`"Zone":"%s"`, strings.Repeat("z", 253+n%2)) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, testPolicy)
			for n := range 10 {
				f.put("node.x", `{"NodeId":"x","Endpoint":"http://10.0.0.1:80",`+value(n)+`}`)
				if n == 1 {
					f.take()
				}
			}
			if changes := f.take(); len(changes) > 0 && name != "remarks" {
				t.Errorf("%d changes, the last to %+v", len(changes), changes[len(changes)-1].New)
			}
			if node := f.Node("reg.x"); node.Revision != f.revision {
				t.Errorf("revision %d is shown of %d", node.Revision, f.revision)
			}
		})
	}
}

func TestRefusalsThatDifferInTheirTextAreNoChange(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.put("node.x", good)
	f.put("node.x", `{"NodeId":"0"}`)
	f.take()
	for n := range 10 {
		f.put("node.x", fmt.Sprintf(`{"NodeId":"%d"}`, n))
	}
	if changes := f.take(); len(changes) > 0 {
		t.Errorf("%d changes", len(changes))
	}
	if message := f.Node("reg.x").Refusal.Message; !strings.Contains(message, `"9"`) {
		t.Errorf("the refusal is out of date: %s", message)
	}
}

// bothPrefixes is a listing of nodes that are under two prefixes, as it is with one of them.
func (f *fleet) bothPrefixes(prefix string, ids ...int) {
	for _, n := range ids {
		f.put(prefix+id(n), fmt.Sprintf(`{"NodeId":"n%d","Endpoint":"http://10.0.0.%d:80"}`, n, n))
	}
}

func TestAnotherKeyPrefixTakesEffectInOneStep(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.bothPrefixes("node.", 1, 2, 3)
	f.SetCordoned("reg.n3", true)
	before := f.Node("reg.n1")
	f.take()
	p := testPolicy
	p.Record.KeyPrefix = "x."
	f.SetPolicy(p)
	f.pass(10 * testTTL)
	f.Disconnected(nil)
	f.Listing(kv.CauseStart)
	f.bothPrefixes("x.", 1, 2, 3, 4)
	if keys := f.Keys(); len(keys) != 0 {
		t.Errorf("a listing has to confirm %v", keys)
	}
	if changes := f.take(); len(changes) != 0 {
		t.Fatalf("before the listing is complete there are changes: %+v", changes[0])
	}
	f.Synced(f.bucket(testTTL))
	for _, c := range f.take() {
		switch {
		case c.New == nil:
			t.Errorf("%s is gone", c.Old.Name)
		case c.Old == nil && c.New.Name != "reg.n4":
			t.Errorf("%s is new", c.New.Name)
		case c.Old != nil && !strings.HasPrefix(c.New.Key, "x."):
			t.Errorf("%s has the key %s", c.New.Name, c.New.Key)
		}
	}
	if after := f.Node("reg.n1"); !after.FirstSeen.Equal(before.FirstSeen) || !f.Node("reg.n3").Cordoned || len(f.Nodes()) != 4 {
		t.Errorf("%+v became %+v", before, after)
	}
}

// TestUnregisteredUnderBothPrefixes has nodes leave under both prefixes while the prefix is edited, and one that left the new
// prefix long ago.
func TestUnregisteredUnderBothPrefixes(t *testing.T) {
	f := newFleet(t, testPolicy)
	deleted := func(key string, age time.Duration) kv.Entry {
		f.revision++
		return kv.Entry{Key: key, Revision: f.revision, Written: f.now().Add(-age), Age: age, Operation: kv.Unregister}
	}
	long := deleted("x.n1", time.Second)
	f.bothPrefixes("node.", 1, 2, 3)
	f.pass(time.Second)
	p := testPolicy
	p.Record.KeyPrefix = "x."
	f.SetPolicy(p)
	f.Listing(kv.CauseStart)
	f.Entry(long)
	f.Entry(deleted("x.n2", 0))
	f.bothPrefixes("x.", 3)
	f.Synced(f.bucket(testTTL))
	f.want(1, rollcallv1alpha1.NodeReady)
	f.want(2, gone)
	f.want(3, rollcallv1alpha1.NodeReady)
}

func TestAKeyPrefixThatNobodyHasTakesNothing(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.bothPrefixes("node.", 1, 2, 3)
	p := testPolicy
	p.Record.KeyPrefix = "x."
	f.SetPolicy(p)
	f.list(kv.CauseStart)
	f.pass(10 * testTTL)
	for n := 1; n <= 3; n++ {
		if node := f.Node("reg." + id(n)); node == nil || node.Traffic() != TrafficReady {
			t.Fatalf("n%d: %+v", n, node)
		}
	}
	if held := f.State().Held; held == nil || held.Silent != 3 {
		t.Errorf("held is %+v", held)
	}
	if len(f.asked) > 0 {
		t.Errorf("the leader was asked for %v, which says nothing of the new prefix", f.asked)
	}
	// The mistake is corrected.
	f.SetPolicy(testPolicy)
	f.Listing(kv.CauseStart)
	f.bothPrefixes("node.", 1, 2, 3)
	f.Synced(f.bucket(testTTL))
	f.pass(time.Second)
	f.wantAll(1, 4, rollcallv1alpha1.NodeReady)
	// Of many nodes, a few that are not under the new prefix die as those that are silent do.
	for n := 4; n <= 20; n++ {
		f.bothPrefixes("node.", n)
	}
	f.SetPolicy(p)
	f.Listing(kv.CauseStart)
	for n := 1; n <= 18; n++ {
		f.bothPrefixes("x.", n)
	}
	f.Synced(f.bucket(testTTL))
	for range 3 {
		f.pass(testTTL / 2)
		f.wantAll(1, 19, rollcallv1alpha1.NodeReady)
		for n := 1; n <= 18; n++ {
			f.bothPrefixes("x.", n)
		}
	}
	if phase := f.phase(20); phase == rollcallv1alpha1.NodeReady {
		t.Error("one that is not under the new prefix lives on")
	}
}

func TestAMappingThatFailsForAllTakesNothing(t *testing.T) {
	f := newFleet(t, foreignPolicy())
	for n := 1; n <= 3; n++ {
		f.say(fmt.Sprintf("k%d", n), id(n), n)
	}
	f.take()
	p := foreignPolicy()
	p.Record.Reader = failing{}
	f.SetPolicy(p)
	f.Listing(kv.CauseStart)
	for n := 1; n <= 3; n++ {
		f.say(fmt.Sprintf("k%d", n), id(n), n)
	}
	f.Synced(f.bucket(testTTL))
	f.wantAll(1, 4, rollcallv1alpha1.NodeReady)
	if records := f.State().Records; records.Failing["spec.record.addresses"] != 3 || records.Refused != 3 || records.Entries != 3 || records.Example == "" {
		t.Errorf("counted are %+v", records)
	}
}

// failing reads nothing.
type failing struct{}

func (failing) Read(string, []byte) record.Content {
	return record.Content{
		Failing: []string{"spec.record.addresses"},
		Err:     &discovery.RecordError{Reason: expression.ReasonFailed, Detail: "spec.record.addresses: no such key: address"},
	}
}
func (failing) KeyHoldsID() bool { return false }

// TestReadingWaits has messages come in faster than they are read.
func TestReadingWaits(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.put("node.x", good)
	message := func(key, value string) kv.Entry {
		f.revision++
		return kv.Entry{Key: key, Value: []byte(value), Revision: f.revision, Written: f.now(), Operation: kv.Put}
	}
	advance := func(d time.Duration) {
		for ; d > 0; d -= arrival {
			f.clock.Step(arrival)
			f.Arrived(f.clock.Now())
			f.Silent(f.Overdue())
		}
	}
	// A message is a sign of life before it is read.
	for range 6 {
		advance(testTTL / 2)
		f.Mirror.Entry(message("node.x", `{"NodeId":"x","Endpoint":"http://10.0.0.2:80"}`))
		f.want2("reg.x", TrafficReady, "10.0.0.1")
	}
	if got := len(f.table.unread.order); got != 1 || !f.State().Records.TooSlow {
		t.Errorf("%d messages of one key wait: %+v", got, f.State().Records)
	}
	f.read()
	f.want2("reg.x", TrafficReady, "10.0.0.2")
	if f.State().Records.TooSlow {
		t.Error("nothing waits, and yet it is too slow")
	}
	// An unregistration does not wait, and takes along what waits.
	f.Mirror.Entry(message("node.x", good))
	f.Mirror.Entry(kv.Entry{Key: "node.x", Revision: f.revision + 1, Operation: kv.Unregister})
	if f.Node("reg.x") != nil {
		t.Error("it waits to be unregistered")
	}
	f.read()
	if f.Node("reg.x") != nil {
		t.Error("what was read late has raised the dead")
	}
	// A listing is not complete before it is read.
	f.Listing(kv.CauseReconnect)
	f.Mirror.Entry(message("node.x", good))
	f.Mirror.Synced(f.bucket(testTTL))
	if f.State().Reading {
		t.Error("the bucket is read before its records are")
	}
	f.read()
	if !f.State().Reading || f.Node("reg.x") == nil {
		t.Error("the bucket is not read")
	}
	// A silent node is back once its record is read, and not forgotten meanwhile.
	f.pass(testTTL + testPolicy.RetainExpired - time.Second)
	f.wantReason("reg.x", rollcallv1alpha1.ReasonExpired)
	f.Mirror.Entry(message("node.x", good))
	advance(testPolicy.RetainExpired)
	f.wantReason("reg.x", rollcallv1alpha1.ReasonExpired)
	f.read()
	f.want2("reg.x", TrafficReady, "10.0.0.1")
}

func (f *fleet) want2(name string, traffic Traffic, address string) {
	f.Helper()
	node := f.Node(name)
	if node == nil || node.Traffic() != traffic || node.Addresses[0].String() != address {
		f.Fatalf("%+v, want traffic %d at %s", node, traffic, address)
	}
}

func TestTwoWritersOfOneKey(t *testing.T) {
	f := newFleet(t, testPolicy)
	at := func(n int) {
		f.put("node.x", fmt.Sprintf(`{"NodeId":"x","Endpoint":"http://10.0.0.%d:80"}`, n))
		f.pass(time.Second)
	}
	shared := func(want bool) {
		t.Helper()
		node := f.Node("reg.x")
		if node.Shared != want || slices.Contains(node.Remarks, remarkShared) != want || (f.State().Records.Shared == 1) != want {
			t.Fatalf("shared is not %t: %+v", want, node)
		}
	}
	for _, n := range []int{1, 2, 3, 4, 3} { // moves, and comes back once
		at(n)
		shared(false)
	}
	at(4)
	shared(true)
	for range 3 {
		at(3)
		at(4)
		shared(true)
	}
	for range 3 {
		f.pass(testTTL / 2)
		at(4)
	}
	shared(false)
	for range 3 { // three writers
		at(5)
		at(6)
		at(7)
	}
	shared(true)
}

func TestANodeThatIsBackIsAsOldAsItWas(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beat(1)
	f.SetCordoned("reg.n1", true)
	before := f.Node("reg.n1")
	f.unregister(1)
	f.pass(testTTL / 2)
	f.beat(1)
	if after := f.Node("reg.n1"); !after.FirstSeen.Equal(before.FirstSeen) || !after.Cordoned {
		t.Errorf("it is another one: %+v", after)
	}
	f.unregister(1)
	f.pass(testTTL)
	f.beat(1)
	if after := f.Node("reg.n1"); after.FirstSeen.Equal(before.FirstSeen) || after.Cordoned {
		t.Errorf("it is the one of long ago: %+v", after)
	}
}

func TestCountsOfRecords(t *testing.T) {
	p := testPolicy
	p.StaleAfter = 20 * time.Second
	p.Record.Labels = map[string]string{"role": "rolle", "kind": "kind"}
	f := newFleet(t, p)
	if missing := f.State().Records.Missing; missing != nil {
		t.Errorf("without nodes %v are missing", missing)
	}
	f.put("node.a", `{"NodeId":"a","Endpoint":"http://10.0.0.1:80/x","Metadata":{"role":"web"}}`)
	f.put("node.b", `{"NodeId":"b","Endpoint":"http://10.0.0.2:80","Metadata":{"kind":"a b"}}`)
	f.put("node.c", `?`)
	f.put("node.d", `{"NodeId":"d","Endpoint":"http://10.0.0.4:80"}`)
	f.put("node.d", `?`)
	got := f.State().Records
	if got.Entries != 4 || got.Accepted != 3 || got.Refused != 1 || got.NeverAccepted != 1 || got.Remarked != 2 ||
		!slices.Equal(got.Missing, []string{"role"}) || !strings.HasPrefix(got.Example, "node.d: ") {
		t.Errorf("%+v", got)
	}
	f.unregisterKey("node.d")
	f.unregisterKey("node.b")
	got = f.State().Records
	if got.Entries != 2 || got.Accepted != 1 || got.Refused != 0 || got.Remarked != 1 || !slices.Equal(got.Missing, []string{"kind", "role"}) ||
		!strings.HasPrefix(got.Example, "node.c: ") {
		t.Errorf("%+v", got)
	}
	for range 3 {
		f.pass(10 * time.Second)
		f.put("node.a", good)
	}
	if got := f.State().Records; got.Sparse != 0 {
		t.Errorf("one that heartbeats twice in staleAfter is sparse: %+v", got)
	}
	for range 4 {
		f.pass(15 * time.Second)
		f.put("node.a", good)
	}
	if got := f.State().Records; got.Sparse != 1 || got.Interval <= 10*time.Second {
		t.Errorf("one that heartbeats less often is not: %+v", got)
	}
	p.StaleAfter = 40 * time.Second
	f.SetPolicy(p)
	if got := f.State().Records; got.Sparse != 0 {
		t.Errorf("with another staleAfter it still is: %+v", got)
	}
}

func (f *fleet) unregisterKey(key string) {
	f.revision++
	f.Entry(kv.Entry{Key: key, Revision: f.revision, Operation: kv.Unregister})
}

// TestASuccessorServesAtOnce has a process come back at its address under another ID.
func TestASuccessorServesAtOnce(t *testing.T) {
	p := testPolicy
	p.StaleAfter = 20 * time.Second
	f := newFleet(t, p)
	at := func(name, ports string) {
		f.put("node."+name, fmt.Sprintf(`{"NodeId":%q,"Addresses":["10.0.0.1"],"Ports":[%s]}`, name, ports))
	}
	at("old", `{"Name":"http","Port":80},{"Name":"metrics","Port":9100}`)
	f.pass(19 * time.Second)
	at("new", `{"Name":"http","Port":80}`)
	f.pass(500 * time.Millisecond)
	if node := f.Node("reg.old"); !node.Silent {
		t.Errorf("a silent node does not give way to another at its address: %+v", node)
	}
	at("new", `{"Name":"http","Port":80},{"Name":"metrics","Port":9100}`)
	f.wantReason("reg.old", rollcallv1alpha1.ReasonSuperseded)
	at("old", `{"Name":"http","Port":80},{"Name":"metrics","Port":9100}`)
	if node := f.Node("reg.old"); node.Silent || node.Traffic() != TrafficReady {
		t.Errorf("it is back, and yet %+v", node)
	}
}

// slow is a Reader that takes its time.
type slow struct{ clock *clocktesting.FakeClock }

func (s slow) Read(key string, _ []byte) record.Content {
	s.clock.Step(longest)
	return record.Content{Node: discovery.Node{ID: key, Endpoint: "10.0.0.1:80"}}
}
func (slow) KeyHoldsID() bool { return false }

// TestReadingTakesAShare has more to read than a registry may at once: it rests, and what needs no reading does not wait.
func TestReadingTakesAShare(t *testing.T) {
	p := foreignPolicy()
	f := newFleet(t, p)
	p.Record.Reader = slow{f.clock}
	f.SetPolicy(p)
	f.list(kv.CauseStart)
	const count = 3 * burst / 20_000
	for n := range count {
		f.Mirror.Entry(kv.Entry{Key: id(n), Revision: uint64(n + 1), Written: f.clock.Now(), Operation: kv.Put})
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Read(ctx)
	}()
	rests := func(context.Context) (bool, error) { return f.clock.HasWaiters(), nil }
	if err := wait.PollUntilContextTimeout(ctx, time.Millisecond, 10*time.Second, true, rests); err != nil {
		t.Fatalf("it never rests: %v", err)
	}
	read := f.State().Records.Entries
	if read < count/3-batchSize || read > count/3+2*batchSize {
		t.Errorf("it rests after %d of %d", read, count)
	}
	f.Mirror.Entry(kv.Entry{Key: id(0), Revision: count + 1, Operation: kv.Unregister})
	if got := f.State().Records; got.Entries != read-1 {
		t.Errorf("after an unregistration there are %d of %d", got.Entries, read)
	}
	f.clock.Step(tooLong)
	f.Arrived(f.clock.Now())
	if !f.State().Records.TooSlow {
		t.Error("nobody says that it is too slow")
	}
	// Reading that ends in the middle of a batch leaves the rest of it to the next listing.
	if err := wait.PollUntilContextTimeout(ctx, time.Millisecond, 10*time.Second, true, rests); err != nil {
		t.Fatalf("it does not rest again: %v", err)
	}
	cancel()
	<-done
	f.read()
	if got := f.State().Records; got.Entries != count-1 || got.TooSlow {
		t.Errorf("in the end there are %+v", got)
	}
}
