package record

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/internal/expression"
)

// every is a spec.record with all expressions.
var every = rollcallv1alpha1.Record{NodeID: "value.id", Addresses: "value.ips", Ports: "value.ports", Zone: "value.rack", Metadata: "value.tags"}

const good = `"id":"m-1","ips":["10.0.0.5"],"ports":[{"port":80}],"rack":"r7","tags":{"a":"b"},"Draining":true`

func said(c Content) string {
	var all []string
	for _, r := range c.Remarks {
		all = append(all, r.String())
	}
	return strings.Join(all, "; ")
}

// TestFailingExpressions spoils one part after the other. What informs is left out, what is needed refuses the record, and
// the other parts are read in either case.
func TestFailingExpressions(t *testing.T) {
	m := mapping(t, every)
	whole := m.Read("k", []byte("{"+good+"}")).Node
	for name, tt := range map[string]struct {
		with, field, says string
		informs           bool
		spoil             func(*discovery.Node)
	}{
		"no ID":            {`"id":null`, "spec.record.nodeID", "the node ID is empty", false, func(n *discovery.Node) { n.ID = "" }},
		"a number as ID":   {`"id":7`, "spec.record.nodeID", "type int", false, func(n *discovery.Node) { n.ID = "" }},
		"an object as ID":  {`"id":{}`, "spec.record.nodeID", "type map", false, func(n *discovery.Node) { n.ID = "" }},
		"no list":          {`"ips":"10.0.0.5"`, "spec.record.addresses", "a list is expected", false, func(n *discovery.Node) { n.Addresses = nil }},
		"no port":          {`"ports":[{"port":"x"}]`, "spec.record.ports", "no whole number", false, func(n *discovery.Node) { n.Ports = nil }},
		"a number as zone": {`"rack":7`, "spec.record.zone", "spec.record.zone fails: it gives a value of the type int", true, func(n *discovery.Node) { n.Zone = "" }},
		"a long zone": {
			`"rack":"` + strings.Repeat("z", 300) + `"`, "spec.record.zone", "spec.record.zone fails: it gives more than 253 characters", true,
			func(n *discovery.Node) { n.Zone = "" },
		},
		"no object": {`"tags":[1]`, "spec.record.metadata", "spec.record.metadata fails: it gives a value of the type list", true, func(n *discovery.Node) { n.Metadata = nil }},
		"too many members": {
			`"tags":{` + numbered(1025) + `}`, "spec.record.metadata", "spec.record.metadata fails: it gives more than 1024 members", true,
			func(n *discovery.Node) { n.Metadata = nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := m.Read("k", []byte("{"+good+","+tt.with+"}"))
			want := whole
			tt.spoil(&want)
			if diff := cmp.Diff(want, got.Node); diff != "" {
				t.Error(diff)
			}
			if tt.informs {
				if got.Err != nil || !strings.Contains(said(got), tt.says) {
					t.Errorf("refused with %v, remarks %s", got.Err, said(got))
				}
			} else if got.Err == nil || !strings.Contains(got.Err.Error(), tt.says) || got.Unread {
				t.Errorf("refused with %v, unread %v", got.Err, got.Unread)
			}
			if name != "no ID" && cmp.Diff([]string{tt.field}, got.Failing) != "" {
				t.Errorf("failing %q", got.Failing)
			}
		})
	}
}

func numbered(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"k%d":%d`, i, i))
	}
	return strings.Join(all, ",")
}

func TestAllExpressionsFail(t *testing.T) {
	got := mapping(t, every).Read("k", []byte(`{"Draining":true}`))
	wantError(t, got.Err, expression.ReasonFailed, "spec.record.nodeID: no such key: id")
	if len(got.Failing) != 5 || !got.Node.Draining || len(got.Remarks) != 2 {
		t.Errorf("%+v", got)
	}
}

// TestMetadataThatIsNoText leaves out what is no text, in the same words however the map is ordered.
func TestMetadataThatIsNoText(t *testing.T) {
	m := mapping(t, every)
	for range 10 {
		got := m.Read("k", []byte("{"+good+`,"tags":{"a":"b","l":[1],"m":{},"n":8,"o":[],"p":[],"q":null}}`))
		if got.Err != nil || len(got.Failing) > 0 || cmp.Diff(map[string]string{"a": "b", "n": "8"}, got.Node.Metadata) != "" {
			t.Fatalf("%+v", got)
		}
		if want := `spec.record.metadata gives no string, number or boolean for "l", "m", "o", 1 more: left out`; said(got) != want {
			t.Fatal(said(got))
		}
	}
}

// TestSameTroubleSameText holds the texts to say nothing that changes with a heartbeat.
func TestSameTroubleSameText(t *testing.T) {
	for expression, values := range map[string][2]string{
		"string(int(value.x))":           {`"1a"`, `"2\"b"`},
		"string(timestamp(value.x))":     {`"a"`, `"b"`},
		"string(duration(value.x))":      {`"a"`, `"b"`},
		"string(ip(value.x))":            {`"a"`, `"b"`},
		"string(cidr(value.x))":          {`"a"`, `"b"`},
		"url(value.x).getHost()":         {`"::a"`, `"::b"`},
		"'abc'.charAt(value.x)":          {"10", "11"},
		"['a'][value.x]":                 {"10", "11"},
		"lists.range(value.x).map(x, x)": {"100000", "100001"},
		"string(semver(value.x).major())": {
			`"a1"`, `"b2"`,
		},
		"value.x": {"10", "11"},
	} {
		for _, field := range []rollcallv1alpha1.Record{{Zone: "dyn(" + expression + ")"}, {NodeID: "dyn(" + expression + ")"}} {
			m := mapping(t, field)
			var texts []string
			for _, x := range values {
				got := m.Read("k", []byte(`{"NodeId":"a","Endpoint":"10.0.0.5:80","x":`+x+`}`))
				texts = append(texts, fmt.Sprint(got.Err, said(got)))
				if len(got.Failing) != 1 {
					t.Errorf("%s of %s is no failure", expression, x)
				}
			}
			if texts[0] != texts[1] {
				t.Errorf("%s says %q and %q", expression, texts[0], texts[1])
			}
		}
	}
}

// TestOddJSON reads in every format what writers take for JSON.
func TestOddJSON(t *testing.T) {
	formats := map[string]struct {
		spec       rollcallv1alpha1.Record
		value      string
		in         func(string) string
		unreadable string
	}{
		"Rollcall": {
			spec: rollcallv1alpha1.Record{}, value: `{"NodeId":"m-1","Endpoint":"10.0.0.5:80","Metadata":{"a":"b"},"Load":%s}`,
			in: func(s string) string { return s },
		},
		"expressions": {
			spec:  rollcallv1alpha1.Record{NodeID: "value.id", Addresses: "[value.ip]", Ports: "[{'port': 80}]"},
			value: `{"id":"m-1","ip":"10.0.0.5","other":%s}`, in: func(s string) string { return s },
		},
		"one expression": {
			spec: rollcallv1alpha1.Record{Zone: "value.z"}, value: `{"NodeId":"m-1","z":"z","Endpoint":"10.0.0.5:80","Load":%s}`,
			in: func(s string) string { return s },
		},
		"GoMicro": {
			spec:  rollcallv1alpha1.Record{Format: rollcallv1alpha1.FormatGoMicro},
			value: `{"name":"s","other":%s,"nodes":[{"id":"m-1","address":"10.0.0.5:80"}]}`, in: wrap,
		},
	}
	for name, f := range formats {
		m := mapping(t, f.spec)
		for trouble, odd := range map[string]string{
			"none": "1", "NaN": "NaN", "infinity": "-Infinity", "undefined": "undefined", "too large": "1e400", "a control character": "\"a\tb\"", "quotes": "'a'",
		} {
			plain := fmt.Sprintf(f.value, odd)
			for wrapped, value := range map[string]string{
				"as it is": plain, "byte order mark": "\uFEFF" + plain, "in a string": quoted(plain), "with a byte order mark in a string": quoted("\uFEFF" + plain),
			} {
				got := m.Read("k", []byte(f.in(value)))
				if got.Err != nil || got.Node.ID != "m-1" {
					t.Errorf("%s with %s, %s: %v", name, trouble, wrapped, got.Err)
				}
				if wrapped != "as it is" && said(got) == "" {
					t.Errorf("%s with %s, %s: no remark", name, trouble, wrapped)
				}
			}
		}
	}
}

func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\t", `\t`).Replace(text) + `"`
}

// TestLongStrings leaves out what expressions must not see. The record's own members stay.
func TestLongStrings(t *testing.T) {
	long := strings.Repeat("x", expression.MaxString+1)
	m := mapping(t, rollcallv1alpha1.Record{NodeID: "value.id", Zone: "value.?blob.orValue('none')", Metadata: "{'n': size(value.list), 'm': size(value.inner)}"})
	got := m.Read("k", []byte(`{"id":"m-1","Endpoint":"10.0.0.5:80","blob":"`+long+`","list":["`+long+`","a"],"inner":{"b":"`+long+`","`+long+`":1},"huge":1e999}`))
	if got.Err != nil || got.Node.Zone != "none" || cmp.Diff(map[string]string{"n": "1", "m": "0"}, got.Node.Metadata) != "" {
		t.Errorf("%v %+v", got.Err, got.Node)
	}
	const bytes = " has 8193 bytes, expressions see strings of at most 8192: left out for them"
	want := "blob" + bytes + "; huge is a number out of range: left out for expressions; inner.b" + bytes + "; list.0" + bytes
	if said(got) != want {
		t.Error(said(got))
	}
	if exact := m.Read("k", []byte(`{"id":"m-1","Endpoint":"10.0.0.5:80","blob":"`+long[1:]+`","list":[],"inner":{}}`)); !strings.Contains(said(exact), "more than 253 characters") {
		t.Errorf("a string of the greatest length is not seen: %s", said(exact))
	}
}

// TestRemarksAreBounded has a record that is odd in more ways than can be told.
func TestRemarksAreBounded(t *testing.T) {
	got := mapping(t, rollcallv1alpha1.Record{Zone: "'z'"}).Read("k", []byte(`{"NodeId":"m-1","x":[`+many("1e999", ",", 5000)+`]}`))
	if got.Err != nil || len(got.Remarks) != maxRemarks {
		t.Errorf("%d remarks, %v", len(got.Remarks), got.Err)
	}
}

func TestGoMicroOddMembers(t *testing.T) {
	m := mapping(t, rollcallv1alpha1.Record{Format: rollcallv1alpha1.FormatGoMicro})
	for name, tt := range map[string]struct {
		data, says string
		want       map[string]string
	}{
		"numbers as metadata":      {`"metadata":{"cores":8,"gpu":true,"none":null},"name":"s"`, "metadata.cores", map[string]string{"cores": "8", "gpu": "true", "service": "s"}},
		"a list as metadata":       {`"metadata":[1],"name":"s"`, "metadata is no object", map[string]string{"service": "s"}},
		"a list in the metadata":   {`"metadata":{"a":[1]},"name":"s"`, "metadata.a", map[string]string{"service": "s"}},
		"a number as version":      {`"version":7,"name":"s"`, "metadata.version", map[string]string{"service": "s", "version": "7"}},
		"an object as version":     {`"version":{},"name":"s"`, "metadata.version", map[string]string{"service": "s"}},
		"a number as name":         {`"name":12`, "name", map[string]string{"service": "12"}},
		"NaN in the metadata":      {`"metadata":{"load":NaN},"name":"s"`, "metadata.load", map[string]string{"load": "NaN", "service": "s"}},
		"endpoints that are a map": {`"endpoints":{},"name":"s"`, "", map[string]string{"service": "s"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := m.Read("k", []byte(wrap(`{`+tt.data+`,"nodes":[{"id":"m-1","address":"10.0.0.5:80"}]}`)))
			if got.Err != nil || !strings.Contains(said(got), tt.says) || (tt.says == "") != (said(got) == "") {
				t.Errorf("%v, remarks %q", got.Err, said(got))
			}
			if diff := cmp.Diff(tt.want, got.Node.Metadata); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGoMicroNodes(t *testing.T) {
	m := mapping(t, rollcallv1alpha1.Record{Format: rollcallv1alpha1.FormatGoMicro})
	nodes := func(more string) Content {
		return m.Read("k", []byte(wrap(`{"name":"s","nodes":[{"id":"m-1","address":"10.0.0.5:80"}`+more+`]}`)))
	}
	for more, says := range map[string]string{
		"":                         "",
		`,{"id":"m-2"}`:            `nodes has 2 of them, the first is read and not "m-2"`,
		`,{"id":"m-2"},7,{},{}`:    `nodes has 5 of them, the first is read and not "m-2", "", "", 1 more`,
		`,{"id":{"not":"a text"}}`: `nodes has 2 of them, the first is read and not "{\"not\":\"a text\"}"`,
	} {
		if got := nodes(more); got.Err != nil || said(got) != says || got.Node.ID != "m-1" {
			t.Errorf("%s: %v %s", more, got.Err, said(got))
		}
	}
	if got := nodes(`,{"id":"` + strings.Repeat("x", 5000) + `"}`); len(said(got)) > 200 {
		t.Error(said(got))
	}
}

// TestBareNeededMembers refuses, in every format, a needed text that was no JSON.
func TestBareNeededMembers(t *testing.T) {
	for _, tt := range []struct {
		spec         rollcallv1alpha1.Record
		value, wrong string
	}{
		{rollcallv1alpha1.Record{}, `{"NodeId":"a","Endpoint":10.0.0.5:80}`, "Endpoint"},
		{rollcallv1alpha1.Record{Zone: "'z'"}, `{"NodeId":"a","Endpoint":10.0.0.5:80}`, "Endpoint"},
		{rollcallv1alpha1.Record{Zone: "'z'"}, `{"NodeId":NaN,"Endpoint":"10.0.0.5:80"}`, "NodeId"},
		{rollcallv1alpha1.Record{Zone: "'z'"}, `{"NodeId":"a","Addresses":[10.0.0.5],"Ports":[{"Port":80}]}`, "Addresses"},
		{rollcallv1alpha1.Record{NodeID: "value.id"}, `{"id":"a","endpoint":10.0.0.5:80}`, "endpoint"},
		{rollcallv1alpha1.Record{NodeID: "value.id", Addresses: "['10.0.0.5']", Ports: "[{'port': 80}]"}, `{"id":"a","endpoint":10.0.0.5:80,"NodeId":NaN}`, ""},
		{rollcallv1alpha1.Record{Format: rollcallv1alpha1.FormatGoMicro}, wrap(`{"name":"s","nodes":[{"id":NaN,"address":"10.0.0.5:80"}]}`), "nodes[0].id"},
		{rollcallv1alpha1.Record{Format: rollcallv1alpha1.FormatGoMicro}, wrap(`{"name":"s","nodes":[{"id":"a","address":10.0.0.5:80}]}`), "nodes[0].address"},
	} {
		got := mapping(t, tt.spec).Read("k", []byte(tt.value))
		if tt.wrong == "" && got.Err == nil {
			continue
		}
		wantError(t, got.Err, discovery.ReasonWrongShape, tt.wrong)
		if got.Unread {
			t.Errorf("nothing is read of %s", tt.value)
		}
	}
}
