package discoverednode

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

var began = time.Unix(1_000_000, 0)

// healthy returns a node that heartbeats.
func healthy() *mirror.Node {
	return &mirror.Node{
		Namespace: "fleet", Registry: "catga", Name: "catga.web-1", Key: "node.web-1", ID: "web-1", DisplayName: "web 1",
		Addresses: []netip.Addr{netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("172.17.0.1"), netip.MustParseAddr("fd00::1")},
		Ports:     []record.Port{{Name: "http", Port: 8080, Protocol: "TCP"}}, Zone: "a",
		Metadata: map[string]string{"role": "web", "counter": "1"}, Labels: map[string]string{"role": "web"},
		Phase: rollcallv1alpha1.NodeReady, Reason: rollcallv1alpha1.ReasonHeartbeating, Message: "it heartbeats",
		Load: "0.5", LastHeartbeat: began, Revision: 7, Changed: began,
	}
}

func registryOf(interval time.Duration) *rollcallv1alpha1.NodeRegistry {
	return &rollcallv1alpha1.NodeRegistry{
		ObjectMeta: metav1.ObjectMeta{Namespace: "fleet", Name: "catga", UID: "u"},
		Spec:       rollcallv1alpha1.NodeRegistrySpec{StatusInterval: &metav1.Duration{Duration: interval}},
	}
}

// What an endpoint, a label or the status of a condition depends on is written at once, the rest when its turn comes.
func TestCompare(t *testing.T) {
	registry := registryOf(time.Minute)
	refuse := func(reason, message string) func(*mirror.Node) {
		return func(n *mirror.Node) { n.Refusal = record.Fault{Reason: reason, Message: message} }
	}
	invalid := func(change func(*mirror.Node)) func(*mirror.Node) {
		return func(n *mirror.Node) {
			n.Phase, n.Reason = rollcallv1alpha1.NodeInvalid, rollcallv1alpha1.ReasonAddressRefused
			change(n)
		}
	}
	address := func(n *mirror.Node) { n.Addresses[0] = netip.MustParseAddr("10.1.0.2") }
	ports := func(n *mirror.Node) { n.Ports = []record.Port{{Name: "http", Port: 8081, Protocol: "TCP"}} }
	nothing := func(*mirror.Node) {}
	for name, test := range map[string]struct {
		before, after func(*mirror.Node)
		want          difference
	}{
		"nothing":          {nil, func(*mirror.Node) {}, none},
		"a heartbeat":      {nil, func(n *mirror.Node) { n.LastHeartbeat, n.Revision, n.Load = began.Add(time.Second), 8, "0.6" }, lazy},
		"a remark":         {nil, func(n *mirror.Node) { n.Remarks = []string{"Load is a string"} }, lazy},
		"another remark":   {func(n *mirror.Node) { n.Remarks = []string{"a"} }, func(n *mirror.Node) { n.Remarks = []string{"b"} }, lazy},
		"a message":        {nil, func(n *mirror.Node) { n.Message = "it still heartbeats" }, lazy},
		"another refusal":  {refuse("InvalidRecord", "a"), refuse("ExpressionFailed", "b"), lazy},
		"a counter":        {nil, func(n *mirror.Node) { n.Metadata = map[string]string{"role": "web", "counter": "2"} }, described},
		"a display name":   {nil, func(n *mirror.Node) { n.DisplayName = "other" }, described},
		"a second address": {nil, func(n *mirror.Node) { n.Addresses[1] = netip.MustParseAddr("172.17.0.2") }, described},
		"a refusal":        {nil, refuse("InvalidRecord", "a"), visible},
		"accepted again":   {refuse("InvalidRecord", "a"), refuse("", ""), visible},
		"the address":      {nil, address, visible},
		"the IPv6 address": {nil, func(n *mirror.Node) { n.Addresses[2] = netip.MustParseAddr("fd00::2") }, visible},
		"another order":    {nil, func(n *mirror.Node) { n.Addresses[0], n.Addresses[1] = n.Addresses[1], n.Addresses[0] }, visible},
		"a port":           {nil, ports, visible},
		"the zone":         {nil, func(n *mirror.Node) { n.Zone = "b" }, visible},
		"a label":          {nil, func(n *mirror.Node) { n.Labels = map[string]string{"role": "db"} }, visible},
		"the ID":           {nil, func(n *mirror.Node) { n.ID = "web-2" }, visible},
		"the phase":        {nil, func(n *mirror.Node) { n.Phase = rollcallv1alpha1.NodeStale }, visible},
		"the reason":       {nil, func(n *mirror.Node) { n.Reason = rollcallv1alpha1.ReasonCordoned }, visible},
		"a cordon":         {nil, func(n *mirror.Node) { n.Cordoned = true }, visible},

		"the address while invalid":    {invalid(nothing), invalid(address), described},
		"the ports while invalid":      {invalid(nothing), invalid(ports), described},
		"no address any more":          {invalid(nothing), invalid(func(n *mirror.Node) { n.Addresses, n.Ports = nil, nil }), described},
		"the message while invalid":    {invalid(nothing), invalid(func(n *mirror.Node) { n.Message = "127.0.0.2 is refused" }), lazy},
		"another reason while invalid": {invalid(nothing), invalid(func(n *mirror.Node) { n.Reason = "InvalidRecord" }), visible},
		"invalid with another address": {nil, invalid(address), visible},
		"no longer invalid":            {invalid(nothing), nothing, visible},
	} {
		n := healthy()
		if test.before != nil {
			test.before(n)
		}
		existing := project(n, registry, nil)
		n = healthy()
		test.after(n)
		if got := compare(existing, project(n, registry, existing)); got != test.want {
			t.Errorf("%s: the difference is %d, want %d", name, got, test.want)
		}
	}
	orphan := project(healthy(), registry, nil)
	orphan.OwnerReferences = nil
	if got := compare(orphan, project(healthy(), registry, orphan)); got != visible {
		t.Errorf("without an owner the difference is %d", got)
	}
	// An object of an older version has no word of the record: it gets it when its turn comes.
	old := project(healthy(), registry, nil)
	meta.RemoveStatusCondition(&old.Status.Conditions, rollcallv1alpha1.ConditionRecordAccepted)
	if got := compare(old, project(healthy(), registry, old)); got != lazy {
		t.Errorf("without the condition the difference is %d", got)
	}
}

func TestRecordAccepted(t *testing.T) {
	long := strings.Repeat("x", 400)
	for name, test := range map[string]struct {
		change  func(*mirror.Node)
		want    string
		message string
	}{
		"accepted":     {func(*mirror.Node) {}, "True/Accepted", "the record is accepted"},
		"remarks":      {func(n *mirror.Node) { n.Remarks = []string{"a is odd", "b is odd"} }, "True/AcceptedWithRemarks", "a is odd; b is odd"},
		"many remarks": {func(n *mirror.Node) { n.Remarks = []string{long, long} }, "True/AcceptedWithRemarks", long[:299] + "…"},
		"last good": {func(n *mirror.Node) {
			n.Refusal, n.Remarks = record.Fault{Reason: "InvalidRecord", Message: "no Port"}, []string{"a is odd"}
		}, "False/InvalidRecord", "no Port; the last good record stays in force"},
		"never good": {func(n *mirror.Node) {
			n.Refusal, n.Phase = record.Fault{Reason: "ExpressionFailed", Message: "no such key\n"}, rollcallv1alpha1.NodeInvalid
		}, "False/ExpressionFailed", "no such key "},
		"a refused address": {func(n *mirror.Node) {
			n.Phase, n.Reason = rollcallv1alpha1.NodeInvalid, rollcallv1alpha1.ReasonAddressRefused
		}, "True/Accepted", "the record is accepted"},
	} {
		n := healthy()
		test.change(n)
		c := recordAccepted(n)
		if got := string(c.Status) + "/" + c.Reason; got != test.want || c.Message != test.message {
			t.Errorf("%s: it is %s: %q, want %s: %q", name, got, c.Message, test.want, test.message)
		}
	}
}

// Of a node that nothing was heard of since start, what is written down stands.
func TestARestartLeavesWhatIsWrittenDown(t *testing.T) {
	registry := registryOf(time.Minute)
	n := healthy()
	n.Refusal = record.Fault{Reason: "InvalidRecord", Message: "no Port"}
	for name, existing := range map[string]*rollcallv1alpha1.DiscoveredNode{
		"accepted": project(healthy(), registry, nil), "refused": project(n, registry, nil),
	} {
		remembered := healthy()
		remembered.Remembered = true
		if got := compare(existing, project(remembered, registry, existing)); got != none {
			t.Errorf("%s: the difference is %d", name, got)
		}
	}
}
