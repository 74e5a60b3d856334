package mirror

import (
	"strings"
	"testing"
	"time"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// TestARepetitionIsNotRead: a heartbeat that says what is known already is done with when it comes. Any other waits until it was read, and
// whatever comes after it does so too.
func TestARepetitionIsNotRead(t *testing.T) {
	const first, again = `{"NodeId":"x","Endpoint":"http://10.0.0.1:80","Load":0.1}`, `{"NodeId":"x","Endpoint":"http://10.0.0.1:80","Load":0.25}`
	moved := strings.Replace(again, "10.0.0.1", "10.0.0.2", 1)
	long := `{"NodeId":"x","Endpoint":"http://10.0.0.1:80","Metadata":{"note":"` + strings.Repeat("a", maxGlance) + `"}}`
	tests := []struct {
		name    string
		before  string
		silent  bool
		then    []string
		waiting int
	}{
		{"a repetition", first, false, []string{again}, 0},
		{"many of them", first, false, []string{again, first, again}, 0},
		{"one with another address", first, false, []string{moved}, 1},
		{"one after another address", first, false, []string{moved, first}, 1},
		{"one of a record that is long", long, false, []string{long}, 1},
		{"one of a record that is refused", `{"NodeId":"x"}`, false, []string{`{"NodeId":"x"}`}, 1},
		{"one of a node that was silent", first, true, []string{again}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFleet(t, testPolicy)
			f.put("node.x", tt.before)
			f.read()
			if f.pass(arrival); tt.silent {
				f.pass(testTTL)
			}
			for _, value := range tt.then {
				f.Mirror.Entry(f.raw("node.x", value))
			}
			if got := len(f.table.unread.order); got != tt.waiting {
				t.Errorf("%d messages wait, want %d", got, tt.waiting)
			}
			f.read()
			node, last := f.Node("reg.x"), tt.then[len(tt.then)-1]
			if node.Revision != f.revision || strings.Contains(last, "0.25") != (node.Load == "0.25") || node.Phase == "Expired" {
				t.Errorf("the node is %+v", node)
			}
			if addresses := node.Addresses; strings.Contains(last, "10.0.0.2") != (len(addresses) > 0 && addresses[0].String() == "10.0.0.2") {
				t.Errorf("the node is at %v after %s", addresses, last)
			}
		})
	}
}

// TestARepetitionWhileItsKeyIsRead: what is being read is older than what comes meanwhile, and must not be applied after it.
func TestARepetitionWhileItsKeyIsRead(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.put("node.x", rec("x", 1))
	f.read()
	f.Mirror.Entry(f.raw("node.x", rec("x", 2)))
	batch := f.table.unread.take(1)
	f.Mirror.Entry(f.raw("node.x", rec("x", 1)))
	if len(batch) != 1 || len(f.table.unread.order) != 1 {
		t.Errorf("%d are being read and %d wait, want one each", len(batch), len(f.table.unread.order))
	}
	f.pass(time.Second)
}

// TestMemo: what the Watcher keeps for a key leads to the key's entry, and never to one that is gone or another Mirror's.
func TestMemo(t *testing.T) {
	f, other := newFleet(t, testPolicy), newFleet(t, testPolicy)
	memo := &kv.Memo{}
	hear := func(f *fleet, n int, op kv.Operation) *Node {
		x := f.raw("node.x", rec("x", n))
		x.Memo, x.Operation = memo, op
		f.Mirror.Entry(x)
		f.read()
		return f.Node("reg.x")
	}
	for i, step := range []struct {
		of      *fleet
		op      kv.Operation
		address string
	}{
		{f, kv.Put, "10.0.0.0"},
		{f, kv.Put, "10.0.0.1"},
		{f, kv.Unregister, ""},
		{f, kv.Put, "10.0.0.3"},
		{f, kv.Put, "10.0.0.4"},
		{other, kv.Put, "10.0.0.5"},
		{f, kv.Put, "10.0.0.6"},
		{other, kv.Put, "10.0.0.7"},
	} {
		node := hear(step.of, i, step.op)
		if (node == nil) != (step.address == "") || node != nil && node.Addresses[0].String() != step.address {
			t.Errorf("step %d: %+v, want it at %q", i, node, step.address)
		}
		if e, _ := memo.Of.(*entry); node != nil && (e == nil || e != step.of.table.entries["node.x"]) {
			t.Errorf("step %d: the memo has %+v", i, e)
		}
	}
}
