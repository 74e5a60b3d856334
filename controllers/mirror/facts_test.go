package mirror

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation"
	netutils "k8s.io/utils/net"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// wantHarmless checks that the API server takes the node, and that a person can read what it says.
func wantHarmless(t *testing.T, n *Node) {
	t.Helper()
	for what, ok := range map[string]bool{
		"key":      n.Key != "" && utf8.ValidString(n.Key) && utf8.RuneCountInString(n.Key) <= rollcallv1alpha1.MaxKeyLength,
		"ID":       n.ID != "" && utf8.ValidString(n.ID) && utf8.RuneCountInString(n.ID) <= rollcallv1alpha1.MaxKeyLength,
		"message":  n.Message != "" && utf8.RuneCountInString(n.Message) <= record.MaxMessage && !strings.ContainsFunc(n.Message, unicode.IsControl),
		"name":     utf8.RuneCountInString(n.DisplayName) <= rollcallv1alpha1.MaxDisplayNameLength,
		"zone":     utf8.RuneCountInString(n.Zone) <= rollcallv1alpha1.MaxZoneLength,
		"ports":    len(n.Ports) <= rollcallv1alpha1.MaxPorts,
		"metadata": len(n.Metadata) <= rollcallv1alpha1.MaxMetadataEntries,
		"load":     len(n.Load) <= rollcallv1alpha1.MaxLoadLength,
	} {
		if !ok {
			t.Errorf("the %s of the node is no good: %.400q", what, fmt.Sprintf("%+v", n))
		}
	}
	for _, port := range n.Ports {
		if utf8.RuneCountInString(port.Name) > rollcallv1alpha1.MaxPortNameLength || port.Port < 1 || port.Port > 65535 {
			t.Errorf("the port %+v is no good", port)
		}
	}
	if text, err := json.Marshal(n); err != nil || len(text) > 1<<20 {
		t.Errorf("the node takes %d bytes: %v", len(text), err)
	}
}

// bad are records that can't be used, each with the reason and words of the message.
var bad = map[string]struct{ value, reason, says string }{
	"empty":                   {"", rollcallv1alpha1.ReasonInvalidRecord, "empty"},
	"no JSON":                 {"hello", rollcallv1alpha1.ReasonInvalidRecord, "isn't JSON"},
	"1 MiB":                   {`{"NodeId":"x","Name":"` + strings.Repeat("x", 1<<20) + `"}`, rollcallv1alpha1.ReasonInvalidRecord, "more than 65536 bytes"},
	"nested":                  {`{"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, rollcallv1alpha1.ReasonInvalidRecord, "max depth"},
	"another shape":           {`{"NodeId":{"id":"x"}}`, rollcallv1alpha1.ReasonInvalidRecord, "NodeId can't be a JSON object"},
	"a list":                  {`[1]`, rollcallv1alpha1.ReasonInvalidRecord, "a JSON array"},
	"no NodeId":               {`{"Endpoint":"10.0.0.1:80"}`, rollcallv1alpha1.ReasonInvalidRecord, "NodeId is missing"},
	"another NodeId":          {`{"NodeId":"y","Endpoint":"10.0.0.1:80"}`, rollcallv1alpha1.ReasonNodeIDMismatch, `NodeId is "y"`},
	"a huge NodeId":           {`{"NodeId":"` + strings.Repeat(`\n`, 9000) + `","Endpoint":"10.0.0.1:80"}`, rollcallv1alpha1.ReasonNodeIDMismatch, "write it under the key"},
	"port 0":                  {`{"NodeId":"x","Endpoint":"10.0.0.1:0"}`, rollcallv1alpha1.ReasonInvalidRecord, "out of range"},
	"port 70000":              {`{"NodeId":"x","Endpoint":"10.0.0.1:70000"}`, rollcallv1alpha1.ReasonInvalidRecord, "out of range"},
	"port 70000 in Ports":     {`{"NodeId":"x","Addresses":["10.0.0.1"],"Ports":[{"Port":70000}]}`, rollcallv1alpha1.ReasonInvalidRecord, "out of range"},
	"text as port":            {`{"NodeId":"x","Endpoint":"10.0.0.1:http"}`, rollcallv1alpha1.ReasonInvalidRecord, "out of range"},
	"text as port in Ports":   {`{"NodeId":"x","Addresses":["10.0.0.1"],"Ports":[{"Port":"http"}]}`, rollcallv1alpha1.ReasonInvalidRecord, "Port can't be a JSON string"},
	"a host name":             {`{"NodeId":"x","Endpoint":"http://web-1.example.com"}`, rollcallv1alpha1.ReasonInvalidRecord, "host name"},
	"loopback":                {`{"NodeId":"x","Endpoint":"127.0.0.1:80"}`, rollcallv1alpha1.ReasonAddressRefused, "loopback"},
	"link-local":              {`{"NodeId":"x","Endpoint":"169.254.169.254:80"}`, rollcallv1alpha1.ReasonAddressRefused, "link-local"},
	"user info":               {`{"NodeId":"x","Endpoint":"http://me:secret@10.0.0.1"}`, rollcallv1alpha1.ReasonInvalidRecord, "user"},
	"user info, no scheme":    {`{"NodeId":"x","Endpoint":"me:secret@10.0.0.1:80"}`, rollcallv1alpha1.ReasonInvalidRecord, "user"},
	"user info, broken":       {`{"NodeId":"x","Endpoint":"tcp://me:secret@10.0.0.1"}`, rollcallv1alpha1.ReasonInvalidRecord, "user"},
	"a path, no scheme":       {`{"NodeId":"x","Endpoint":"10.0.0.1:80/path"}`, rollcallv1alpha1.ReasonInvalidRecord, "80/path"},
	"IPv6 without brackets":   {`{"NodeId":"x","Endpoint":"http://2001:db8::1:80"}`, rollcallv1alpha1.ReasonInvalidRecord, "isn't a URL"},
	"no port":                 {`{"NodeId":"x","Endpoint":"10.0.0.1"}`, rollcallv1alpha1.ReasonInvalidRecord, "no port"},
	"no port, unknown scheme": {`{"NodeId":"x","Endpoint":"grpc://10.0.0.1"}`, rollcallv1alpha1.ReasonInvalidRecord, "no port"},
	"a long scheme":           {`{"NodeId":"x","Endpoint":"` + strings.Repeat("a", 64) + `://10.0.0.1:80"}`, rollcallv1alpha1.ReasonInvalidRecord, "name of port 80"},
	"a long port name":        {`{"NodeId":"x","Addresses":["10.0.0.1"],"Ports":[{"Port":80,"Name":"` + strings.Repeat("a", 64) + `"}]}`, rollcallv1alpha1.ReasonInvalidRecord, "name of port 80"},
	"much metadata":           {`{"NodeId":"x","Endpoint":"10.0.0.1:80","Metadata":{"a":"` + strings.Repeat("<", record.MaxRecordSize) + `"}}`, rollcallv1alpha1.ReasonInvalidRecord, "bytes"},
}

func TestBadRecords(t *testing.T) {
	for name, tt := range bad {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, testPolicy)
			f.put("node.x", tt.value)
			node := f.Node("reg.x")
			if node.Phase != rollcallv1alpha1.NodeInvalid || node.Reason != tt.reason || !strings.Contains(node.Message, tt.says) {
				t.Fatalf("%s, %s: %s", node.Phase, node.Reason, node.Message)
			}
			if strings.Contains(node.Message, "secret") {
				t.Errorf("it tells a secret: %s", node.Message)
			}
			wantHarmless(t, node)
			if again := restart(f).Node("reg.x"); again == nil || !node.same(again) {
				t.Errorf("after a restart it is %+v", again)
			}
		})
	}
}

// said returns everything that is said of a node.
func said(n *Node) string { return strings.Join(append([]string{n.Message}, n.Remarks...), "; ") }

func TestOddRecordsThatDoNoHarm(t *testing.T) {
	p := testPolicy
	p.Record.Labels = map[string]string{"role": "role", "kind": "kind"}
	for name, tt := range map[string]struct{ members, message string }{
		"a trailing slash":    {`"Endpoint":"http://10.0.0.1:80/"`, "the node heartbeats"},
		"a path":              {`"Endpoint":"http://10.0.0.1:80/api?x=1"`, "the node heartbeats; only the scheme, address and port of Endpoint are used"},
		"a query":             {`"Endpoint":"http://10.0.0.1:80?x"`, "the node heartbeats; only the scheme, address and port of Endpoint are used"},
		"a path that is idle": {`"Endpoint":"http://10.0.0.1/x","Addresses":["10.0.0.1"],"Ports":[{"Port":1}]`, "the node heartbeats"},
		"an IPv6 literal":     {`"Endpoint":"http://[2001:db8::1]:80"`, "the node heartbeats"},
		"a clock years ahead": {`"Endpoint":"10.0.0.1:80","LastSeen":"2036-01-01T00:00:00Z"`, "the node heartbeats; LastSeen is more than a day away from the time at which the server had it"},
		"a clock of 1970":     {`"Endpoint":"10.0.0.1:80","LastSeen":"1970-01-01T00:00:00Z"`, "the node heartbeats; LastSeen is more than a day away from the time at which the server had it"},
		"the year 9999":       {`"Endpoint":"10.0.0.1:80","LastSeen":"9999-12-31T23:59:59Z"`, "the node heartbeats; LastSeen is more than a day away from the time at which the server had it"},
		"no clock":            {`"Endpoint":"10.0.0.1:80","LastSeen":"0001-01-01T00:00:00"`, "the node heartbeats"},
		"another time zone":   {`"Endpoint":"10.0.0.1:80","LastSeen":"2026-01-01T13:00:00"`, "the node heartbeats"},
		"no label values": {
			`"Endpoint":"10.0.0.1:80","Metadata":{"role":"a b","kind":"` + strings.Repeat("x", 64) + `"}`,
			`the node heartbeats; there is no label kind, since the metadata "kind" is no label value; there is no label role, since the metadata "role" is no label value`,
		},
		"draining":    {`"Endpoint":"http://10.0.0.1/x","Draining":true`, "the node asked for no new traffic; only the scheme, address and port of Endpoint are used"},
		"a huge load": {`"Endpoint":"10.0.0.1:80","Load":1e300`, "the node heartbeats"},
		"a tiny load": {`"Endpoint":"10.0.0.1:80","Load":-1e-300`, "the node heartbeats"},
		"a long zone": {`"Endpoint":"10.0.0.1:80","Zone":"` + strings.Repeat("a", 254) + `"`, "the node heartbeats; Zone has more than 253 characters: it is left out"},
		"a long name": {`"Endpoint":"10.0.0.1:80","Name":"` + strings.Repeat("a", 1025) + `"`, "the node heartbeats; Name has more than 1024 characters: the rest is left out"},
		"one refused address of two": {
			`"Addresses":["127.0.0.1","10.0.0.1"],"Ports":[{"Port":80}]`,
			"the node heartbeats; the address 127.0.0.1 is a loopback address, so it is left out",
		},
		"odd strings": {`"Endpoint":"10.0.0.1:80","Name":"a\u0000b\ud800","Zone":"a b\u0007","Metadata":{"\u0000":"\u0000"}`, "the node heartbeats"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, p)
			put := func() { f.put("node.x", `{"NodeId":"x",`+tt.members+`}`) }
			put()
			node := f.Node("reg.x")
			if node.Traffic() == TrafficNone || said(node) != tt.message {
				t.Fatalf("%s: %s", node.Phase, said(node))
			}
			wantHarmless(t, node)
			f.take()
			f.pass(time.Second)
			put()
			if changes := f.take(); len(changes) != 0 {
				t.Error("a heartbeat is a change")
			}
			if again := restart(f).Node("reg.x"); again == nil || said(again) != said(node) {
				t.Errorf("after a restart it is %+v", again)
			}
		})
	}
}

// TestTheLargestNode has one that is just not too large, in the characters that take the most room in JSON.
func TestTheLargestNode(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.put("node.x", `{"NodeId":"x","Endpoint":"10.0.0.1:80","Metadata":{"a":"`+strings.Repeat("<", record.MaxRecordSize-100)+`"}}`)
	f.wantReason("reg.x", rollcallv1alpha1.ReasonHeartbeating)
	wantHarmless(t, f.Node("reg.x"))
}

// TestARecordThatChangesShape has a record that is another one with every heartbeat: it is one node all the time.
func TestARecordThatChangesShape(t *testing.T) {
	f := newFleet(t, testPolicy)
	f.beat(1)
	good := f.Node("reg.n1")
	f.take()
	for range 3 {
		// In any other order it might change more often than its budget allows.
		for _, name := range slices.Sorted(maps.Keys(bad)) {
			f.put("node.x", bad[name].value)
		}
		f.put("node.x", `{"NodeId":"x","Endpoint":"10.0.1.1:80"}`)
	}
	if len(f.Nodes()) != 2 || f.Node("reg.x").Phase != rollcallv1alpha1.NodeReady {
		t.Errorf("there are %d nodes, and x is %s", len(f.Nodes()), f.Node("reg.x").Phase)
	}
	for _, c := range f.take() {
		if c.New.Name != "reg.x" {
			t.Errorf("it changed %+v", c.New)
		}
	}
	if f.Node("reg.n1") != good {
		t.Error("it touched another node")
	}
}

var alwaysRefused = []string{
	"127.0.0.1", "127.255.255.254", "::1", "0.0.0.0", "::", "169.254.1.1", "fe80::1", "fe80::1%eth0", "224.0.0.1", "239.1.1.1",
	"ff02::1", "255.255.255.255", "::ffff:127.0.0.1", "0:0:0:0:0:ffff:7f00:1", "::ffff:7f00:1", "::FFFF:127.0.0.1", "::127.0.0.1",
	"::7f00:1", "64:ff9b::7f00:1", "64:ff9b::127.0.0.1", "64:ff9b:1::169.254.169.254", "2002:7f00:1::", "2002:a9fe:a9fe::1",
	"::ffff:0:127.0.0.1", "0177.0.0.1", "2130706433", "0x7f.0.0.1", "0x7f000001", "127.1", "127.0.1", "127.0.0.01", "0:0:0:0:0:0:0:1",
	"[::1]", " 127.0.0.1", "127.0.0.1 ", "１２７.0.0.1", "127。0。0。1", "localhost", "::1%lo", "10.0.0.1%eth0",
	"10.96.0.1", "::ffff:10.96.0.1", "64:ff9b::10.96.0.1", "2002:0a60:0001::", "10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3",
}

func refusingPolicy() Policy {
	p := testPolicy
	p.Record.Refused = []netip.Addr{netip.MustParseAddr("10.96.0.1")}
	p.Record.Denied = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
	p.Record.DeniedToAll = []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}
	return p
}

func TestAddressesThatAreAlwaysRefused(t *testing.T) {
	p := refusingPolicy()
	for _, address := range alwaysRefused {
		quoted, err := json.Marshal(address)
		if err != nil {
			t.Fatal(err)
		}
		host := address
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		endpoint, err := json.Marshal("http://" + host + ":80")
		if err != nil {
			t.Fatal(err)
		}
		bare, err := json.Marshal(host + ":80")
		if err != nil {
			t.Fatal(err)
		}
		for _, members := range []string{
			fmt.Sprintf(`"Addresses":[%s],"Ports":[{"Port":80}]`, quoted), fmt.Sprintf(`"Endpoint":%s`, endpoint), fmt.Sprintf(`"Endpoint":%s`, bare),
		} {
			f := newFleet(t, p)
			f.put("node.x", `{"NodeId":"x",`+members+`}`)
			if node := f.Node("reg.x"); node.Phase != rollcallv1alpha1.NodeInvalid {
				t.Errorf("%s is %s with %v", members, node.Phase, node.Addresses)
			}
		}
	}
}

func TestAddressPolicy(t *testing.T) {
	p := refusingPolicy()
	p.Record.Allowed = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	for address, want := range map[string]string{
		"10.0.0.1": "", "10.255.0.1": "", "2001:db8::1": "", "::ffff:10.0.0.1": "",
		"10.2.0.1": "is within 10.2.0.0/16, which Rollcall is set to deny",
		"10.1.2.3": "is within deniedCIDRs 10.1.0.0/16", "192.0.2.1": "is outside of allowedCIDRs", "64:ff9b::10.0.0.1": "is outside of allowedCIDRs",
		"64:ff9b::10.1.2.3": "stands for 10.1.2.3, which is within deniedCIDRs 10.1.0.0/16", "2002:7f00:1::": "stands for 127.0.0.1, which is a loopback address",
	} {
		if got := p.Record.Refusal(netip.MustParseAddr(address).Unmap()); got != want {
			t.Errorf("%s %q, want %q", address, got, want)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, address := range alwaysRefused {
		f.Add(address)
	}
	f.Add("10.0.0.1")
	f.Add("2001:db8::1")
	p := refusingPolicy()
	f.Fuzz(func(t *testing.T, address string) {
		value, err := json.Marshal(map[string]any{"NodeId": "x", "Addresses": []string{address}, "Ports": []map[string]int{{"Port": 80}}})
		if err != nil {
			t.Fatal(err)
		}
		reading := record.Read(&kv.Entry{Key: "node.x", Value: value}, &p.Record, 0)
		facts := reading.Onto(nil)
		facts.Judge(record.NewLabeller("reg", p.Record.Labels), &p.Record, nil)
		if facts.Verdict.Reason != "" {
			return
		}
		if len(facts.Addresses) != 1 {
			t.Fatalf("%q gives %v", address, facts.Addresses)
		}
		// What other parsers make of it must be no other address, and none that may not take traffic.
		for _, ip := range []net.IP{net.ParseIP(address), netutils.ParseIPSloppy(address), netutils.ParseIPSloppy(facts.Addresses[0].String())} {
			other, ok := netip.AddrFromSlice(ip)
			if !ok || other.Unmap() != facts.Addresses[0] || ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsMulticast() {
				t.Errorf("%q is taken as %s, and elsewhere as %s", address, facts.Addresses[0], ip)
			}
		}
	})
}

// FuzzEntry puts anything under any key: what comes of it must be something that the API server takes, and come out the
// same after a restart.
func FuzzEntry(f *testing.F) {
	for _, tt := range bad {
		f.Add("x", []byte(tt.value))
	}
	f.Add("a\xff", []byte(`{"NodeId":"a\ud800","Endpoint":"http://10.0.0.1:80/","Load":1e300,"Metadata":{"":""}}`))
	f.Add("m-1", []byte(`{"id":"m-1","ip":"10.0.0.1"}`))
	plainPolicy, otherPolicy := testPolicy, foreignPolicy()
	f.Fuzz(func(t *testing.T, id string, value []byte) {
		for _, p := range []Policy{plainPolicy, otherPolicy} {
			f := newFleet(t, p)
			f.put("node."+id, string(value))
			for _, node := range f.Nodes() {
				wantHarmless(t, node)
				if errs := validation.IsDNS1123Subdomain(node.Name); len(errs) > 0 {
					t.Errorf("the name is %q: %v", node.Name, errs)
				}
				if node.Traffic() != TrafficNone && (len(node.Addresses) == 0 || len(node.Ports) == 0) {
					t.Errorf("it takes traffic nowhere: %+v", node)
				}
				if again := restart(f).Node(node.Name); utf8.ValidString(id) && (again == nil || !node.same(again)) {
					t.Errorf("before a restart:\n%+v\nafter it:\n%+v", node, again)
				}
			}
		}
	})
}
