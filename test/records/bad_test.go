package records

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// record returns a record that is good but for these members.
func record(id, members string) string {
	return fmt.Sprintf(`{"NodeId":%q,%s}`, id, members)
}

// entry is an entry and what its DiscoveredNode is to say: the reason of its condition Ready, and what is to be found in the message of
// RecordAccepted, or of Ready where an address is refused. An entry with an address is served at it.
type entry struct {
	id, value, reason, says, address string
}

// accepted returns status and reason of the condition RecordAccepted.
func (e *entry) accepted() string {
	switch e.reason {
	case rollcallv1alpha1.ReasonInvalidRecord, rollcallv1alpha1.ReasonInvalidKey, rollcallv1alpha1.ReasonNodeIDMismatch:
		return "False/" + e.reason
	case rollcallv1alpha1.ReasonHeartbeating:
		if e.says != "" {
			return "True/" + rollcallv1alpha1.ReasonAcceptedWithRemarks
		}
	}
	return "True/" + rollcallv1alpha1.ReasonAccepted
}

// wrong returns what the node says that is not what it is to say; empty if all is right.
func (e *entry) wrong(dn *rollcallv1alpha1.DiscoveredNode) string {
	ready, accepted := ready(dn), meta.FindStatusCondition(dn.Status.Conditions, rollcallv1alpha1.ConditionRecordAccepted)
	if ready == nil || accepted == nil {
		return fmt.Sprintf("%+v", dn.Status.Conditions)
	}
	message := accepted.Message
	if e.reason == rollcallv1alpha1.ReasonAddressRefused {
		message = ready.Message
	}
	if ready.Reason != e.reason || string(accepted.Status)+"/"+accepted.Reason != e.accepted() || !strings.Contains(message, e.says) ||
		len(message) > 1000 || strings.Contains(message, "secret") {
		return fmt.Sprintf("%+v, %+v", ready, accepted)
	}
	return ""
}

func ready(dn *rollcallv1alpha1.DiscoveredNode) *metav1.Condition {
	return meta.FindStatusCondition(dn.Status.Conditions, rollcallv1alpha1.ConditionReady)
}

// key is the entry's key.
func (e *entry) key() string { return "node." + e.id }

func bad(id, members, reason, says string) entry {
	return entry{id: id, value: record(id, members), reason: reason, says: says}
}

func odd(id, members, address, says string) entry {
	return entry{id: id, value: record(id, members), reason: rollcallv1alpha1.ReasonHeartbeating, says: says, address: address}
}

func everything() []entry {
	const (
		invalid  = rollcallv1alpha1.ReasonInvalidRecord
		refused  = rollcallv1alpha1.ReasonAddressRefused
		key      = rollcallv1alpha1.ReasonInvalidKey
		endpoint = `"Endpoint":"http://%s"`
	)
	at := func(address string) string { return fmt.Sprintf(endpoint, address) }
	entries := []entry{
		{id: "text", value: "hello", reason: invalid, says: "isn't JSON"},
		{id: "empty", reason: invalid, says: "is empty"},
		{id: "large", value: record("large", `"Name":"`+strings.Repeat("x", 1<<20-1000)+`"`), reason: invalid, says: "more than 65536 bytes"},
		{id: "nested", value: record("nested", `"X":`+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)), reason: invalid, says: "exceeded max depth"},
		{id: "nested-metadata", value: record("nested-metadata", `"Metadata":{"a":`+strings.Repeat(`{"a":`, 10_000)+"1"+strings.Repeat("}", 10_001)), reason: invalid, says: "exceeded max depth"},
		{id: "shape", value: `{"NodeId":{"a":1}}`, reason: invalid, says: "NodeId can't be a JSON object"},
		{id: "array", value: `["a"]`, reason: invalid, says: "a JSON array"},
		{id: "no-id", value: `{"Endpoint":"10.0.0.1:80"}`, reason: invalid, says: "NodeId is missing"},
		{id: "other-id", value: `{"NodeId":"x","Endpoint":"10.0.0.1:80"}`, reason: rollcallv1alpha1.ReasonNodeIDMismatch, says: `NodeId is "x"`},
		bad("port-0", at("10.0.0.1:0"), invalid, "out of range"),
		bad("port-70000", at("10.0.0.1:70000"), invalid, "out of range"),
		bad("port-text", `"Endpoint":"10.0.0.1:http"`, invalid, "out of range"),
		bad("ports-70000", `"Addresses":["10.0.0.1"],"Ports":[{"Port":70000}]`, invalid, "out of range"),
		bad("ports-text", `"Addresses":["10.0.0.1"],"Ports":[{"Port":"http"}]`, invalid, "Ports.Port can't be a JSON string"),
		bad("host", at("web-1.example.com"), invalid, "is a host name"),
		bad("loopback", at("127.0.0.1"), refused, "is a loopback address"),
		bad("mapped", at("[::ffff:127.0.0.1]"), refused, "is a loopback address"),
		bad("nat64", at("[64:ff9b::127.0.0.1]"), refused, "stands for 127.0.0.1"),
		bad("link-local", at("169.254.169.254"), refused, "is a link-local address"),
		bad("zone", at("[fe80::1%25eth0]"), invalid, "has a zone"),
		bad("zeros", at("0177.0.0.1"), invalid, "isn't an IP address"),
		bad("decimal", at("2130706433"), invalid, "isn't an IP address"),
		bad("multicast", at("224.1.2.3"), refused, "is a multicast or broadcast address"),
		bad("denied", at("10.66.0.1"), refused, "is within deniedCIDRs 10.66.0.0/16"),
		bad("not-allowed", at("192.0.2.1"), refused, "is outside of allowedCIDRs"),
		bad("user", at("me:secret@10.0.0.1"), invalid, "leave out user and password"),
		bad("no-port", `"Endpoint":"10.0.0.1"`, invalid, "has no port"),
		bad("nowhere", `"Name":"x"`, invalid, "there is no address"),
		bad("port-string", `"Addresses":["10.0.0.1"],"Ports":[{"Port":"8080"}]`, invalid, "Ports.Port can't be a JSON string"),
		bad("65-addresses", `"Addresses":["`+strings.Join(many(65), `","`)+`"],"Ports":[{"Port":80}]`, invalid, "at most 64"),
		{id: "ä", value: record("ä", at("10.0.0.1")), reason: key, says: "letters, digits"},
		{id: "star*", value: record("star*", at("10.0.0.1")), reason: key, says: "letters, digits"},

		odd("other-port", at("10.0.0.9:81"), "", ""),
		odd("taken", at("10.0.0.9:80"), "", ""), // the Service shows one of the two
		odd("path", at("10.0.1.1/api?a=b"), "10.0.1.1", "only the scheme, address and port of Endpoint are used"),
		odd("slash", at("10.0.1.2/"), "10.0.1.2", ""),
		odd("six", at("[2001:db8::1]"), "2001:db8::1", ""),
		odd("UPPER", at("10.0.1.3"), "10.0.1.3", ""),
		odd("a/b_c=d", at("10.0.1.4"), "10.0.1.4", ""),
		odd("a/b_c-d", at("10.0.1.5"), "10.0.1.5", ""), // sanitised like the one before
		odd(strings.Repeat("l", 500), at("10.0.1.6"), "10.0.1.6", ""),
		odd("no-label", at("10.0.1.7")+`,"Metadata":{"role":"not a label"}`, "10.0.1.7", "no label role"),
		odd("future", at("10.0.1.8")+`,"LastSeen":"2099-01-01T00:00:00Z"`, "10.0.1.8", "LastSeen is more than a day away"),
		odd("past", at("10.0.1.9")+`,"LastSeen":"1999-01-01T00:00:00Z"`, "10.0.1.9", "LastSeen is more than a day away"),
		odd("load", at("10.0.1.10")+`,"Load":1e300`, "10.0.1.10", ""),
		odd("load-nan", at("10.0.2.1")+`,"Load":NaN`, "10.0.2.1", "Load is NaN, which isn't JSON"),
		odd("load-nan-string", at("10.0.2.2")+`,"Load":"NaN"`, "10.0.2.2", `Load is the string "NaN"`),
		odd("load-1e400", at("10.0.2.3")+`,"Load":1e400`, "10.0.2.3", "Load is a number"),
		odd("load-string", at("10.0.2.4")+`,"Load":"0.5"`, "10.0.2.4", "Load is a string, a number is expected: read all the same"),
		odd("seen-unix", at("10.0.2.5")+`,"LastSeen":`+strconv.FormatInt(time.Now().Unix(), 10), "10.0.2.5", "LastSeen is a number"),
		odd("seen-blank", at("10.0.2.6")+`,"LastSeen":"`+time.Now().UTC().Format(time.DateTime)+`"`, "10.0.2.6", "LastSeen is a string"),
		odd("metadata-number", at("10.0.2.7")+`,"Metadata":{"cores":8,"role":"web"}`, "10.0.2.7", "Metadata.cores is a number"),
		odd("metadata-text", at("10.0.2.8")+`,"Metadata":"role=web"`, "10.0.2.8", "Metadata is"),
		odd("name-number", at("10.0.2.9")+`,"Name":12`, "10.0.2.9", "Name is the number 12"),
		odd("draining-text", at("10.0.2.10")+`,"Draining":"no"`, "10.0.2.10", `Draining is the string "no"`),
		odd("owner-text", at("10.0.2.11")+`,"Owner":"me"`, "10.0.2.11", "the entry counts as somebody else's"),
		{id: "bom", value: "\ufeff" + record("bom", at("10.0.2.12")), reason: rollcallv1alpha1.ReasonHeartbeating, says: "byte order mark", address: "10.0.2.12"},
		{id: "string", value: strconv.Quote(record("string", at("10.0.2.13"))), reason: rollcallv1alpha1.ReasonHeartbeating, says: "JSON string", address: "10.0.2.13"},
		odd("port-float", `"Addresses":["10.0.2.14"],"Ports":[{"Port":80.0}]`, "10.0.2.14", ""),
		odd("at-in-path", at("10.0.2.15/users/me@example.com"), "10.0.2.15", "only the scheme, address and port of Endpoint are used"),
		odd("second-link-local", `"Addresses":["10.0.3.1","fe80::1"],"Ports":[{"Port":80}]`, "10.0.3.1", "the address fe80::1 is a link-local address, so it is left out"),
		odd("first-loopback", `"Addresses":["127.0.0.1","10.0.3.2"],"Ports":[{"Port":80}]`, "10.0.3.2", "the address 127.0.0.1 is a loopback address, so it is left out"),
		odd("first-not-allowed", `"Addresses":["192.168.7.7","10.0.3.3"],"Ports":[{"Port":80}]`, "10.0.3.3", "the address 192.168.7.7 is outside of allowedCIDRs, so it is left out"),
		odd("64-addresses", `"Addresses":["10.0.3.4","`+strings.Join(many(63), `","`)+`"],"Ports":[{"Port":80}]`, "10.0.3.4", ""),
		odd("strings", at("10.0.1.11")+`,"Name":"a\u0000\ud800","Zone":"not a label \u0007","Metadata":{"\u0000":"\u0000"}`, "10.0.1.11", ""),
	}
	return entries
}

// many returns addresses that no endpoint shows beside another one of their family.
func many(n int) (addresses []string) {
	for i := range n {
		addresses = append(addresses, fmt.Sprintf("10.0.200.%d", i+1))
	}
	return addresses
}

func policy(s *rollcallv1alpha1.NodeRegistrySpec) {
	s.Labels = map[string]string{"role": "role"}
	s.AddressPolicy = &rollcallv1alpha1.AddressPolicy{
		AllowedCIDRs: []string{"10.0.0.0/8", "2001:db8::/32", "127.0.0.0/8", "::/0", "169.254.0.0/16", "224.0.0.0/4"},
		DeniedCIDRs:  []string{"10.66.0.0/16"},
	}
}

func TestEveryBadRecordHasItsReasonAndDisturbsNothing(t *testing.T) {
	r := newRig(t, ordinary(), policy)
	r.start()
	good := func() { r.put("node.good", record("good", `"Endpoint":"10.0.0.9:80","Metadata":{"role":"web"}`)) }
	good()
	r.Within(patience, "the good node", func() bool { reason, _ := r.says("node.good"); return reason != "" })
	r.Within(patience, "its endpoint", r.serves("10.0.0.9"))
	before := r.nodes()["node.good"].ResourceVersion

	entries := everything()
	served := []string{"10.0.0.9"}
	for _, e := range entries {
		r.put(e.key(), e.value)
		good()
		if e.address != "" {
			served = append(served, e.address)
		}
	}
	r.Within(patience, "all nodes", func() bool { return len(r.nodes()) == len(entries)+1 })
	nodes := r.nodes()
	for _, e := range entries {
		dn := nodes[e.key()]
		if wrong := e.wrong(&dn); wrong != "" {
			t.Errorf("%.40s says %s, want %s with %q", e.id, wrong, e.accepted(), e.says)
		}
	}
	r.Within(patience, "the endpoints of those that are only odd", r.serves(served...))
	if after := r.nodes()["node.good"].ResourceVersion; after != before {
		t.Error("the good node was written to")
	}
	r.Within(patience, "the registry to be Ready", r.is("Ready", "True/Ready"))
}

func TestARecordThatChangesShapeWithEveryHeartbeat(t *testing.T) {
	r := newRig(t, ordinary(), policy)
	r.start()
	r.put("node.good", record("good", `"Endpoint":"10.0.0.9:80"`))
	r.Within(patience, "the good node", func() bool { return len(r.nodes()) == 1 })
	before := r.nodes()["node.good"].ResourceVersion
	for range 3 {
		for _, e := range everything() {
			r.put("node.fickle", e.value)
		}
	}
	r.put("node.fickle", record("fickle", `"Endpoint":"10.0.0.10:80"`))
	r.Within(patience, "its last shape", r.serves("10.0.0.10", "10.0.0.9"))
	r.Within(patience, "it to say so", func() bool {
		reason, _ := r.says("node.fickle")
		return reason == rollcallv1alpha1.ReasonHeartbeating
	})
	if nodes := r.nodes(); len(nodes) != 2 || nodes["node.good"].ResourceVersion != before {
		t.Errorf("there are %d nodes, and the good one may have been written to", len(nodes))
	}
}

// TestWhatIsRefusedLeavesTheLastGoodRecord: a node that was known by a good record lives on it, over a restart as well, and what can be
// read of a refused one counts.
func TestWhatIsRefusedLeavesTheLastGoodRecord(t *testing.T) {
	const good = `"Endpoint":"10.0.0.9:80","Zone":"z1"`
	r := newRig(t, ordinary(), policy)
	stop := r.start()
	r.put("node.n", record("n", good))
	r.Within(patience, "its endpoint", r.serves("10.0.0.9"))
	is := func(value, reason, says string) {
		t.Helper()
		e := entry{id: "n", value: value, reason: reason, says: says}
		r.put("node.n", e.value)
		r.Within(patience, "it to say "+reason, func() bool {
			dn := r.nodes()["node.n"]
			accepted := meta.FindStatusCondition(dn.Status.Conditions, rollcallv1alpha1.ConditionRecordAccepted)
			return accepted != nil && accepted.Reason == reason && strings.Contains(accepted.Message, says)
		})
	}
	for _, refused := range everything() {
		if !strings.HasPrefix(refused.accepted(), "False/") || refused.reason == rollcallv1alpha1.ReasonInvalidKey {
			continue
		}
		is(strings.Replace(refused.value, strconv.Quote(refused.id), `"n"`, 1), refused.reason, refused.says)
		if !r.serves("10.0.0.9")() {
			t.Errorf("after the record %s there are the endpoints %v", refused.id, r.endpoints())
		}
		is(record("n", good), rollcallv1alpha1.ReasonAccepted, "")
	}

	is(record("n", `"Endpoint":7,"Zone":"z2"`), rollcallv1alpha1.ReasonInvalidRecord, "the last good record stays in force")
	stop()
	r.start()
	r.put("node.n", record("n", `"Endpoint":7,"Zone":"z3"`))
	r.Within(patience, "another zone", func() bool { return r.nodes()["node.n"].Spec.Zone == "z3" })
	if dn := r.nodes()["node.n"]; !r.serves("10.0.0.9")() || dn.Status.Phase != rollcallv1alpha1.NodeReady || dn.Spec.Addresses[0] != "10.0.0.9" {
		t.Errorf("it is served at %v, and is %+v", r.endpoints(), dn)
	}
	r.put("node.n", record("n", `"Endpoint":7,"Draining":true`))
	r.Within(patience, "it to drain", r.serves())
	// An address that never takes traffic is a decision about safety, last good or not.
	r.put("node.n", record("n", good))
	r.Within(patience, "its endpoint again", r.serves("10.0.0.9"))
	r.put("node.n", record("n", `"Endpoint":"127.0.0.1:80"`))
	r.Within(patience, "it to go", r.serves())
}

func TestLocalEntries(t *testing.T) {
	const owned = `"Endpoint":"10.0.0.%d:80","Owner":{"Cluster":"%s","UID":"u"}`
	r := newRig(t, ordinary(), func(*rollcallv1alpha1.NodeRegistrySpec) {})
	r.start()
	r.put("node.mine", record("mine", fmt.Sprintf(owned, 1, cluster)))
	r.put("node.theirs", record("theirs", fmt.Sprintf(owned, 2, "there")))
	r.Within(patience, "the entry of another cluster", r.serves("10.0.0.2"))
	r.edit(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.IncludeLocalPods = true })
	r.Within(patience, "those of this cluster as well", r.serves("10.0.0.1", "10.0.0.2"))
	r.Within(patience, "the origin of the other's", func() bool {
		return r.nodes()["node.theirs"].Labels[rollcallv1alpha1.LabelOrigin] == "there"
	})
	r.edit(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.IncludeLocalPods = false })
	r.Within(patience, "those of this cluster to go", r.serves("10.0.0.2"))
	r.Within(patience, "their nodes to go", func() bool { return len(r.nodes()) == 1 })
}

func TestAnotherAddressPolicyIsInForceAtOnce(t *testing.T) {
	r := newRig(t, ordinary(), policy)
	r.start()
	r.put("node.a", record("a", `"Endpoint":"10.0.0.1:80"`))
	r.put("node.b", record("b", `"Endpoint":"10.66.0.1:80"`))
	r.Within(patience, "the one that is not denied", r.serves("10.0.0.1"))
	r.edit(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.AddressPolicy.DeniedCIDRs = []string{"10.0.0.0/24"} })
	r.Within(patience, "the other one", r.serves("10.66.0.1"))
	r.Within(patience, "the denied one to say so", func() bool {
		reason, _ := r.says("node.a")
		return reason == rollcallv1alpha1.ReasonAddressRefused
	})
}
