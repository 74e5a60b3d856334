package record

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/internal/expression"
	"github.com/rollcall-dev/rollcall/internal/gomicrotest"
)

func mapping(t *testing.T, spec rollcallv1alpha1.Record) *Mapping {
	t.Helper()
	m, err := Compile(spec)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func many(element, separator string, times int) string {
	return strings.TrimSuffix(strings.Repeat(element+separator, times), separator)
}

// read returns the node that a value holds, or why it is refused.
func read(m *Mapping, key string, value []byte) (discovery.Node, error) {
	c := m.Read(key, value)
	return c.Node, c.Err
}

func TestPlainRecord(t *testing.T) {
	m := mapping(t, rollcallv1alpha1.Record{Format: rollcallv1alpha1.FormatRollcall})
	got, err := read(m, "node.web-1", []byte(`{"NodeId":"web-1","Endpoint":"http://10.0.0.5:8080"}`))
	want := discovery.Node{ID: "web-1", Endpoint: "http://10.0.0.5:8080"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" || !m.KeyHoldsID() {
		t.Errorf("%v %s", err, diff)
	}
}

func TestForeignJSON(t *testing.T) {
	tests := map[string]struct {
		spec  rollcallv1alpha1.Record
		key   string
		value string
		want  discovery.Node
	}{
		"everything from expressions": {
			spec: rollcallv1alpha1.Record{
				NodeID: "value.id", Addresses: "[value.net.ip]", Ports: "[{'name': 'http', 'port': value.net.port}]",
				Zone: "value.rack", Metadata: "value.tags",
			},
			value: `{"id":"m-1","net":{"ip":"10.0.0.5","port":8080},"rack":"r7","tags":{"role":"web","cores":8,"ratio":0.5,"gpu":true,"none":null}}`,
			want: discovery.Node{
				ID: "m-1", Addresses: []string{"10.0.0.5"}, Ports: []discovery.Port{{Name: "http", Port: 8080}},
				Zone: "r7", Metadata: map[string]string{"role": "web", "cores": "8", "ratio": "0.5", "gpu": "true"},
			},
		},
		"members of the record that mean something else": {
			spec:  rollcallv1alpha1.Record{NodeID: "string(value.id)", Addresses: "value.ips", Ports: "[{'port': 80}]", Metadata: "{'a': 'b'}"},
			value: `{"id":7,"ips":["10.0.0.5"],"name":{"first":"x"},"load":"high","metadata":[1],"ports":"none","endpoint":5,"lastSeen":12,"owner":"me","draining":1}`,
			want:  discovery.Node{ID: "7", Addresses: []string{"10.0.0.5"}, Ports: []discovery.Port{{Port: 80}}, Metadata: map[string]string{"a": "b"}},
		},
		"members of the record that mean the same": {
			spec:  rollcallv1alpha1.Record{NodeID: "value.id"},
			value: `{"id":"m-1","name":"machine 1","endpoint":"10.0.0.5:80","zone":"r7"}`,
			want:  discovery.Node{ID: "m-1", Name: "machine 1", Endpoint: "10.0.0.5:80", Zone: "r7"},
		},
		"the key": {
			spec: rollcallv1alpha1.Record{NodeID: "key.split('.')[2]", Addresses: "[key.split('.')[1].replace('-', '.')]", Ports: "[{'port': 80}]"},
			key:  "fleet.10-0-0-5.m-1", value: `{}`,
			want: discovery.Node{ID: "m-1", Addresses: []string{"10.0.0.5"}, Ports: []discovery.Port{{Port: 80}}},
		},
		"a value that is a list": {
			spec:  rollcallv1alpha1.Record{NodeID: "value[0]", Addresses: "[value[1]]", Ports: "[{'port': value[2]}]"},
			value: `["m-1","10.0.0.5",80]`,
			want:  discovery.Node{ID: "m-1", Addresses: []string{"10.0.0.5"}, Ports: []discovery.Port{{Port: 80}}},
		},
		"ports in every spelling": {
			spec:  rollcallv1alpha1.Record{Ports: "value.p.map(p, {'port': p, 'name': 'p' + string(p), 'protocol': 'udp'})"},
			value: `{"NodeId":"m-1","p":[80,81.0,"82"]}`,
			want: discovery.Node{ID: "m-1", Ports: []discovery.Port{
				{Name: "p80", Port: 80, Protocol: "udp"}, {Name: "p81", Port: 81, Protocol: "udp"}, {Name: "p82", Port: 82, Protocol: "udp"},
			}},
		},
		"what is optional": {
			spec:  rollcallv1alpha1.Record{Zone: "value.?rack", Metadata: "value.?tags", Addresses: "null"},
			value: `{"NodeId":"m-1","Endpoint":"10.0.0.5:80","tags":{"a":"b"}}`,
			want:  discovery.Node{ID: "m-1", Endpoint: "10.0.0.5:80", Metadata: map[string]string{"a": "b"}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := mapping(t, tt.spec)
			content := m.Read(tt.key, []byte(tt.value))
			if content.Err != nil || len(content.Remarks) > 0 {
				t.Fatal(content.Err, content.Remarks)
			}
			got := content.Node
			if m.KeyHoldsID() != (tt.spec.NodeID == "") {
				t.Errorf("it says of the key that it holds the ID: %v", m.KeyHoldsID())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestLibraries holds the environment to the libraries that Kubernetes has, by one function of each.
func TestLibraries(t *testing.T) {
	for _, expression := range []string{
		"'a,b'.split(',')[0]",
		"['a', 'b'].join('-')",
		"sets.contains([1, 2], [1]) ? 'a' : 'b'",
		"[1, 2].isSorted() ? 'a' : 'b'",
		"['b', 'a'].sort()[0]",
		"'web-17'.find('[0-9]+')",
		"url('http://10.0.0.5:80/x').getHostname()",
		"isIP('10.0.0.5') ? string(ip('::1').family()) : ''",
		"cidr('10.0.0.0/8').containsIP('10.0.0.5') ? 'a' : 'b'",
		"timestamp('2026-11-28T04:00:00Z').getHours('UTC') == 4 ? 'a' : 'b'",
		"'a1b2'.findAll('[0-9]').join('-')",
		"key.matches('k|' + key) ? 'a' : 'b'",
		"value.?a.optMap(x, x + x).optMap(x, x + 'b').orValue('c')",
		"value.?b.optFlatMap(x, x.?c).orValue('c')",
		"([1] + [2] + value.?b.orValue([])).size() == 2 && {'a': [1]} == {'a': [1]} && 1 != 2 ? 'a' : 'b'",
		"['b', 'a'].sortBy(x, x)[0]",
		"format.dns1123Label().validate('A').hasValue() ? 'a' : 'b'",
		"semver('1.2.3').major() == 1 ? 'a' : 'b'",
		"value.transformList(k, v, k)[0]",
		"value.?a.orValue('b')",
		"string(base64.decode('aGVsbG8='))",
		"'%s-%d'.format(['a', 1])",
	} {
		m := mapping(t, rollcallv1alpha1.Record{NodeID: expression})
		if node, err := read(m, "k", []byte(`{"a":"x"}`)); err != nil || node.ID == "" {
			t.Errorf("%s gives %q: %v", expression, node.ID, err)
		}
	}
}

func TestInvalidExpressions(t *testing.T) {
	long := "'" + strings.Repeat("a", 2994) + "' + valu.id"
	for name, tt := range map[string]struct {
		spec         rollcallv1alpha1.Record
		field, wants string
		line, column int
	}{
		"syntax":            {rollcallv1alpha1.Record{NodeID: "value.id +"}, "spec.record.nodeID", `"value.id +"`, 1, 11},
		"unknown variable":  {rollcallv1alpha1.Record{Zone: "valu.id"}, "spec.record.zone", "undeclared reference to 'valu'", 1, 1},
		"in the third line": {rollcallv1alpha1.Record{Zone: "'a' +\n'b' +\n valu"}, "spec.record.zone", `" valu"`, 3, 2},
		"unknown function":  {rollcallv1alpha1.Record{Ports: "[value.x].nope()"}, "spec.record.ports", "nope", 1, 15},
		"number as ID":      {rollcallv1alpha1.Record{NodeID: "1 + 1"}, "spec.record.nodeID", "it gives int, a string is expected", 1, 1},
		"string as list":    {rollcallv1alpha1.Record{Addresses: "key"}, "spec.record.addresses", "a list of strings", 1, 1},
		"list of numbers":   {rollcallv1alpha1.Record{Addresses: "[1]"}, "spec.record.addresses", "list(int)", 1, 1},
		"list as metadata":  {rollcallv1alpha1.Record{Metadata: "[key]"}, "spec.record.metadata", "a map of strings", 1, 1},
		"list of strings":   {rollcallv1alpha1.Record{Ports: "[key]"}, "spec.record.ports", "a list of maps", 1, 1},
		"optional number":   {rollcallv1alpha1.Record{Zone: "optional.of(1)"}, "spec.record.zone", "optional_type(int)", 1, 1},
		"a broken pattern":  {rollcallv1alpha1.Record{NodeID: "key.matches('(') ? 'a' : 'b'"}, "spec.record.nodeID", "invalid matches argument", 1, 13},
		"a long pattern":    {rollcallv1alpha1.Record{NodeID: "key.find('" + strings.Repeat("a", 1025) + "')"}, "spec.record.nodeID", "more than 1024 bytes", 1, 10},
		"a large pattern":   {rollcallv1alpha1.Record{NodeID: "key.findAll('a{999}b{999}c{999}d{999}e{999}')[0]"}, "spec.record.nodeID", "it has more than 4096 instructions", 1, 13},
		"a deep one":        {rollcallv1alpha1.Record{NodeID: "key" + strings.Repeat(".trim()", 50)}, "spec.record.nodeID", "recursion", 1, 1},
		"a long one":        {rollcallv1alpha1.Record{NodeID: long}, "spec.record.nodeID", "aaa' + valu.id", 1, 3000},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compile(tt.spec)
			var wrong *expression.Error
			if !errors.As(err, &wrong) {
				t.Fatalf("got %v", err)
			}
			if wrong.Field != tt.field || wrong.Line != tt.line || wrong.Column != tt.column || wrong.Expression == "" {
				t.Errorf("got %+v", wrong)
			}
			if text := err.Error(); !strings.Contains(text, tt.wants) || !strings.Contains(text, tt.field) || strings.Contains(text, "\n") || utf8.RuneCountInString(text) > 450 {
				t.Errorf("it says %s", text)
			}
		})
	}
}

func TestEntriesThatCannotBeRead(t *testing.T) {
	foreign := rollcallv1alpha1.Record{NodeID: "value.id", Addresses: "value.ips", Ports: "value.ports", Zone: "value.?rack", Metadata: "value.?tags"}
	with := func(member string) string {
		return `{"id":"m-1","ips":["10.0.0.5"],"ports":[{"port":80}],` + member + `}`
	}
	for name, tt := range map[string]struct {
		value, wants string
		reason       discovery.Reason
	}{
		"nothing":               {"", "empty", discovery.ReasonEmpty},
		"text":                  {"hello", "isn't JSON", discovery.ReasonNotJSON},
		"cut off":               {`{"id":`, "ends too early", discovery.ReasonNotJSON},
		"two values":            {`{"id":"a"}{}`, "isn't JSON", discovery.ReasonNotJSON},
		"two values, no map":    {`1 2`, "isn't JSON", discovery.ReasonNotJSON},
		"nested":                {strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000), "100 deep", ReasonTooDeep},
		"nested in a member":    {with(`"x":` + strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000)), "100 deep", ReasonTooDeep},
		"no ID":                 {`{}`, "spec.record.nodeID: no such key: id", expression.ReasonFailed},
		"an empty ID":           {`{"id":"","ips":[],"ports":[]}`, "node ID is empty", discovery.ReasonMissingNodeID},
		"a number as ID":        {`{"id":7}`, "spec.record.nodeID: it gives a value of the type int, a string is expected", expression.ReasonFailed},
		"a string as list":      {`{"id":"a","ips":"10.0.0.5"}`, "a list is expected", expression.ReasonFailed},
		"a number as address":   {`{"id":"a","ips":["10.0.0.5",5]}`, "item 1 of the list is of the type int", expression.ReasonFailed},
		"null as address":       {`{"id":"a","ips":[null]}`, "item 0 of the list is of the type null", expression.ReasonFailed},
		"a number as port map":  {`{"id":"a","ips":[],"ports":[80]}`, "item 0 of the list: it gives a value of the type int, a map", expression.ReasonFailed},
		"no port":               {`{"id":"a","ips":[],"ports":[{"name":"x"}]}`, "port is missing", expression.ReasonFailed},
		"text as port":          {`{"id":"a","ips":[],"ports":[{"port":"http"}]}`, "a string that is no whole number", expression.ReasonFailed},
		"a fraction as port":    {`{"id":"a","ips":[],"ports":[{"port":80.5}]}`, "a double that is no whole number", expression.ReasonFailed},
		"true as port":          {`{"id":"a","ips":[],"ports":[{"port":true}]}`, "type bool is no number", expression.ReasonFailed},
		"a huge port":           {`{"id":"a","ips":[],"ports":[{"port":99999999999}]}`, "no whole number", expression.ReasonFailed},
		"a list as port":        {`{"id":"a","ips":[],"ports":[{"port":[1]}]}`, "type list is no number", expression.ReasonFailed},
		"an unknown member":     {`{"id":"a","ips":[],"ports":[{"prot":"TCP","port":1}]}`, `no "prot"`, expression.ReasonFailed},
		"too many addresses":    {`{"id":"a","ips":[` + many(`"10.0.0.5"`, ",", 65) + `]}`, "spec.record.addresses: it gives more than 64 items", expression.ReasonFailed},
		"a long address":        {`{"id":"a","ips":["` + strings.Repeat("a", 254) + `"]}`, "item 0 of the list has more than 253 bytes", expression.ReasonFailed},
		"too many ports":        {`{"id":"a","ips":[],"ports":[` + many(`{"port":80}`, ",", 1001) + `]}`, "it gives more than 1000 items", expression.ReasonFailed},
		"a long ID":             {`{"id":"` + strings.Repeat("a", 4097) + `"}`, "it gives more than 4096 characters", expression.ReasonFailed},
		"an ID too long to see": {`{"id":"` + strings.Repeat("a", 8193) + `"}`, "no such key: id", expression.ReasonFailed},
		"long, on many lines":   {`{"id":"m-1","ips":[],"ports":[{"` + strings.Repeat(`\n\u0007`, 500) + `":1}]}`, "a port has no", expression.ReasonFailed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(mapping(t, foreign), "k", []byte(tt.value))
			wantError(t, err, tt.reason, tt.wants)
		})
	}
}

func wantError(t *testing.T, err error, reason discovery.Reason, wants string) {
	t.Helper()
	var broken *discovery.RecordError
	if !errors.As(err, &broken) || broken.Reason != reason || !strings.Contains(broken.Detail, wants) {
		t.Fatalf("got %v, want %s with %q", err, reason, wants)
	}
	if utf8.RuneCountInString(broken.Detail) > expression.MaxDetail || strings.ContainsFunc(broken.Detail, func(r rune) bool { return r < ' ' }) {
		t.Errorf("the detail is %q", broken.Detail)
	}
}

// TestCostIsBound has an expression that would run for minutes. It ends by its cost, which is the same on every machine.
func TestCostIsBound(t *testing.T) {
	list := "[" + strings.Repeat("1,", 5_000) + "1]"
	for name, source := range map[string]string{
		"a loop in a loop": "value.map(a, value.map(b, value.map(c, string(a + b + c)))).size() > 0 ? 'a' : 'b'",
		"base64 in a loop": "value.map(a, base64.encode(base64.decode(key))).size() > 0 ? 'a' : 'b'",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(mapping(t, rollcallv1alpha1.Record{NodeID: source}), strings.Repeat("A", 60_000), []byte(list))
			wantError(t, err, expression.ReasonFailed, "cost limit exceeded")
		})
	}
}

// TestSizesAreBound has expressions that make more than they may, within the cost limit.
func TestSizesAreBound(t *testing.T) {
	for source, wants := range map[string]string{
		"value.s.replace('a', 'aaaaaaaaa')":                 "a string of more than 65536 bytes",
		"string(size(value.list))":                          "a list of more than 10000 items",
		"string(size(lists.range(10001)))":                  "a list of more than 10000 items",
		"string(size(bytes(value.s.replace('a','äääää'))))": "a string of more than 65536 bytes",
	} {
		_, err := read(mapping(t, rollcallv1alpha1.Record{NodeID: source}), "k", []byte(`{"s":"`+strings.Repeat("a", 8000)+`","list":[`+many("1", ",", 10_001)+`]}`))
		wantError(t, err, expression.ReasonFailed, wants)
	}
}

// TestUsualExpressionsAreCheap keeps what a mapping usually costs far below the limit.
func TestUsualExpressionsAreCheap(t *testing.T) {
	var tags []string
	for n := range 500 {
		tags = append(tags, fmt.Sprintf(`"tag-%d":"%s"`, n, strings.Repeat("x", 50)))
	}
	m := mapping(t, rollcallv1alpha1.Record{
		NodeID: "value.id.lowerAscii().replace(':', '-')", Addresses: "value.ips.filter(i, isIP(i) && ip(i).family() == 4)",
		Ports: "[{'port': 80}]", Metadata: "value.tags.transformMapEntry(k, v, {k.replace('tag', 'label'): v})",
	})
	node, err := read(m, "k", []byte(`{"id":"A:1","ips":["10.0.0.5","::1"],"tags":{`+strings.Join(tags, ",")+`}}`))
	if err != nil || node.ID != "a-1" || len(node.Addresses) != 1 || len(node.Metadata) != 500 {
		t.Errorf("%v: %+v", err, node)
	}
}

func TestGoMicroFixture(t *testing.T) {
	entries, err := gomicrotest.Fixture()
	if err != nil {
		t.Fatal(err)
	}
	m := mapping(t, rollcallv1alpha1.Record{Format: rollcallv1alpha1.FormatGoMicro})
	if m.KeyHoldsID() {
		t.Error("the key of a go-micro entry is not its ID")
	}
	nodes := map[string]discovery.Node{}
	for _, e := range entries {
		node, err := read(m, e.Key, e.Value)
		if err != nil {
			t.Errorf("%s: %v", e.Value, err)
		}
		nodes[node.Metadata["service"]] = node
	}
	const id = "com.owncloud.api.gateway-8d4c9f0e-6c0b-4d0c-9a53-3f1c2b7a6e5d"
	want := discovery.Node{ID: id, Name: "com.owncloud.api.gateway", Endpoint: "10.42.0.11:9142", Metadata: map[string]string{
		"service": "com.owncloud.api.gateway", "version": "7.0.0", "protocol": "grpc", "registry": "nats-js-kv", "server": "grpc", "transport": "grpc",
	}}
	if diff := cmp.Diff(want, nodes["com.owncloud.api.gateway"]); diff != "" || len(nodes) != len(entries) {
		t.Errorf("%d nodes %s", len(nodes), diff)
	}
	if _, found := nodes["com.owncloud.web.idp"].Metadata["version"]; found {
		t.Error("a service without a version has one")
	}
}

func TestGoMicroExpressions(t *testing.T) {
	entries, err := gomicrotest.Fixture()
	if err != nil {
		t.Fatal(err)
	}
	m := mapping(t, rollcallv1alpha1.Record{
		Format: rollcallv1alpha1.FormatGoMicro, NodeID: "key.split('@')[0]", Zone: "value.endpoints[0].name",
		Ports: "[{'name': value.nodes[0].metadata.protocol, 'port': int(value.nodes[0].address.split(':')[1])}]",
	})
	node, err := read(m, entries[0].Key, entries[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	if node.ID != "com.owncloud.api.gateway" || node.Zone != "Service.Call" || len(node.Ports) != 1 || node.Ports[0] != (discovery.Port{Name: "grpc", Port: 9142}) {
		t.Errorf("%+v", node)
	}
	addresses, _, err := node.Reach()
	if err != nil || len(addresses) != 1 || addresses[0].String() != "10.42.0.11" {
		t.Errorf("reached at %v: %v", addresses, err)
	}
}

func wrap(data string) string {
	return `{"key":"a@b@c","data":"` + base64.StdEncoding.EncodeToString([]byte(data)) + `","metadata":null}`
}

func TestGoMicroEntriesThatCannotBeRead(t *testing.T) {
	m := mapping(t, rollcallv1alpha1.Record{Format: rollcallv1alpha1.FormatGoMicro})
	for name, tt := range map[string]struct {
		value, wants string
		reason       discovery.Reason
	}{
		"nothing":         {"", "empty", discovery.ReasonEmpty},
		"text":            {"hello", "the envelope: the value isn't JSON", discovery.ReasonNotJSON},
		"a list":          {"[]", "the envelope is a JSON array", discovery.ReasonWrongShape},
		"no data":         {`{"key":"a"}`, "empty", discovery.ReasonEmpty},
		"no base64":       {`{"key":"a","data":"%%%"}`, "the envelope isn't JSON: illegal base64", discovery.ReasonNotJSON},
		"data is text":    {wrap("hello"), "data: the value isn't JSON", discovery.ReasonNotJSON},
		"data is a list":  {wrap("[]"), "data is a JSON array", discovery.ReasonWrongShape},
		"nested data":     {wrap(strings.Repeat("[", 20_000)), "100 deep", ReasonTooDeep},
		"no nodes":        {wrap(`{"name":"x","nodes":[]}`), "nodes is empty", discovery.ReasonMissingNodeID},
		"nodes is a map":  {wrap(`{"name":"x","nodes":{}}`), "nodes can't be a JSON object", discovery.ReasonWrongShape},
		"a number as ID":  {wrap(`{"name":"x","nodes":[{"id":7,"address":"10.0.0.5:80"}]}`), "nodes[0].id can't be a JSON number", discovery.ReasonWrongShape},
		"no address":      {wrap(`{"name":"x","nodes":[{"id":"a","address":8080}]}`), "nodes[0].address can't be a JSON number", discovery.ReasonWrongShape},
		"a node of no ID": {wrap(`{"name":"x","nodes":[{"address":"10.0.0.5:80"}]}`), "nodes[0].id is missing", discovery.ReasonMissingNodeID},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(m, "k", []byte(tt.value))
			wantError(t, err, tt.reason, tt.wants)
		})
	}
}

func FuzzRead(f *testing.F) {
	var mappings []*Mapping
	for _, spec := range []rollcallv1alpha1.Record{
		{NodeID: "value.id", Addresses: "value.ips", Ports: "value.ports", Zone: "value.?rack", Metadata: "value.?tags"},
		{Zone: "value.Zone + key", Metadata: "value.Metadata"},
		{Format: rollcallv1alpha1.FormatGoMicro, Zone: "value.name"},
	} {
		m, err := Compile(spec)
		if err != nil {
			f.Fatal(err)
		}
		mappings = append(mappings, m)
	}
	f.Add("k", []byte(`{"id":"m-1","ips":["10.0.0.5"],"ports":[{"port":80,"name":"a","protocol":"udp"}],"rack":"r","tags":{"a":1.5}}`))
	f.Add("k", []byte(`{"NodeId":"m-1","nodeid":"m-2","Zone":"z","Metadata":{"a":"b"},"Load":1}`))
	f.Add("k", []byte(wrap(`{"name":"x","nodes":[{"id":"a","address":"10.0.0.5:80"}]}`)))
	f.Add("\xff", []byte("{\"id\":\"\xff\\ud800\",\"ips\":[\"\\u0000\"],\"ports\":[{\"port\":1e3}]}"))
	f.Add("", []byte(`[[[1e999]]]`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		for _, m := range mappings {
			node, err := read(m, strings.ToValidUTF8(key, "?"), value)
			var broken *discovery.RecordError
			switch {
			case err == nil && node.ID == "":
				t.Errorf("%q gives a node without an ID", value)
			case err == nil:
				if text, err := json.Marshal(node); err != nil || !utf8.Valid(text) || strings.Contains(fmt.Sprint(node.Metadata), "\xff") {
					t.Errorf("%q gives %+v: %v", value, node, err)
				}
			case !errors.As(err, &broken) || broken.Reason == "":
				t.Errorf("%q fails with %v", value, err)
			case utf8.RuneCountInString(broken.Detail) > 800:
				t.Errorf("%q fails with %d characters", value, len(broken.Detail))
			}
		}
	})
}

// TestDocumentedExpressions compiles what docs/foreign-records.md shows.
func TestDocumentedExpressions(t *testing.T) {
	page, err := os.ReadFile("../../docs/foreign-records.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`(?m)^ *(nodeID|addresses|ports|zone|metadata): "(.*?)"`).FindAllStringSubmatch(string(page), -1)
	if len(shown) < 10 {
		t.Fatalf("the page shows %q", shown)
	}
	for _, s := range shown {
		spec := map[string]rollcallv1alpha1.Record{
			"nodeID": {NodeID: s[2]}, "addresses": {Addresses: s[2]}, "ports": {Ports: s[2]}, "zone": {Zone: s[2]}, "metadata": {Metadata: s[2]},
		}[s[1]]
		if _, err := Compile(spec); err != nil {
			t.Error(err)
		}
	}
}
