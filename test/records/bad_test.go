package records

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// record returns a record that is good but for these members.
func record(id, members string) string {
	return fmt.Sprintf(`{"NodeId":%q,%s}`, id, members)
}

// entry is an entry and what its DiscoveredNode is to say. An entry with an address is served at it.
type entry struct {
	id, value, reason, says, address string
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
		{id: "large", value: record("large", `"Name":"`+strings.Repeat("x", 1<<20-1000)+`"`), reason: invalid, says: "the most is 262144"},
		{id: "nested", value: record("nested", `"X":`+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)), reason: invalid, says: "exceeded max depth"},
		{id: "nested-metadata", value: record("nested-metadata", `"Metadata":{"a":`+strings.Repeat(`{"a":`, 20_000)+"1"+strings.Repeat("}", 20_001)), reason: invalid, says: "exceeded max depth"},
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
		bad("label", at("10.0.0.10:1")+`,"Metadata":{"role":"`+strings.Repeat("m", 200_000)+`"}`, invalid, "the most is 131072"),
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
		odd("strings", at("10.0.1.11")+`,"Name":"a\u0000\ud800","Zone":"not a label \u0007","Metadata":{"\u0000":"\u0000"}`, "10.0.1.11", ""),
	}
	return entries
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
		ready := meta.FindStatusCondition(dn.Status.Conditions, rollcallv1alpha1.ConditionReady)
		if ready == nil || ready.Reason != e.reason || !strings.Contains(ready.Message, e.says) {
			t.Errorf("%.40s says %+v, want %s with %q", e.id, ready, e.reason, e.says)
			continue
		}
		if len(ready.Message) > 1000 || strings.Contains(ready.Message, "secret") {
			t.Errorf("%.40s says %s", e.id, ready.Message)
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
