package endpointslice

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/internal/fixture"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/plan"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

// placed returns what there is to say of a Service that is new and selects those nodes.
func placed(service *corev1.Service, nodes ...*mirror.Node) plan.Report {
	p, _ := plan.Build(plan.NewView(service), nil, nil, slices.Values(nodes), plan.Nodes{}, newTracker())
	return p.Report()
}

// TestConflicts: what a node loses that heartbeats and takes traffic is told, in few messages.
func TestConflicts(t *testing.T) {
	same := func(id string, change ...func(*mirror.Node)) *mirror.Node {
		return fixture.But(fixture.Node("reg", id, "10.0.0.5", "fd00::5"), fixture.All(change...))
	}
	const prefix = "Several nodes give the same address and port; give each its own, unless they are one server: "
	tests := map[string]struct {
		service *corev1.Service
		nodes   []*mirror.Node
		want    string
	}{
		"a shared port": {
			fixture.Service(fixture.WithMetrics), []*mirror.Node{same("b", fixture.Port(81), fixture.Metrics), same("a", fixture.Metrics)},
			"10.0.0.5:9100/TCP is shown for reg.a and not for reg.b.",
		},
		"two families": {
			fixture.Service(fixture.Families("IPv4", "IPv6")), []*mirror.Node{same("b"), same("a")},
			"10.0.0.5:8080/TCP is shown for reg.a and not for reg.b, [fd00::5]:8080/TCP is shown for reg.a and not for reg.b.",
		},
		"no ports": {
			fixture.Service(fixture.Headless, fixture.Ports()), []*mirror.Node{same("b"), same("a")},
			"10.0.0.5 is shown for reg.a and not for reg.b.",
		},
		"two losers": {
			fixture.Service(), []*mirror.Node{same("a"), same("b"), same("c", fixture.Older)},
			"10.0.0.5:8080/TCP is shown for reg.c and not for reg.a, 10.0.0.5:8080/TCP is shown for reg.c and not for reg.b.",
		},
		"more than there is room for": {
			fixture.Service(), []*mirror.Node{same("a"), same("b"), same("c"), same("d"), same("e"), same("f")},
			"10.0.0.5:8080/TCP is shown for reg.a and not for reg.b, 10.0.0.5:8080/TCP is shown for reg.a and not for reg.c, " +
				"10.0.0.5:8080/TCP is shown for reg.a and not for reg.d, and 2 more.",
		},
		"the loser lives on its last good record": {
			fixture.Service(), []*mirror.Node{same("a", fixture.Older, fixture.LastGood), same("b")},
			"10.0.0.5:8080/TCP is shown for reg.b and not for reg.a.",
		},
		"the loser is silent":   {service: fixture.Service(), nodes: []*mirror.Node{same("a", fixture.Older, fixture.Silent), same("b")}},
		"the loser is held":     {service: fixture.Service(), nodes: []*mirror.Node{same("a", fixture.Older, fixture.Held), same("b")}},
		"the loser is stale":    {service: fixture.Service(), nodes: []*mirror.Node{same("a", fixture.Older, fixture.Stale), same("b")}},
		"the loser drains":      {service: fixture.Service(), nodes: []*mirror.Node{same("a", fixture.Older, fixture.Draining), same("b")}},
		"the loser is cordoned": {service: fixture.Service(), nodes: []*mirror.Node{same("a", fixture.Older, fixture.Cordoned), same("b")}},
		"a port of its own":     {service: fixture.Service(), nodes: []*mirror.Node{same("a"), same("b", fixture.Port(81))}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			want := &outcome{"True", rollcallv1alpha1.ReasonAddressShared, prefix + test.want}
			if test.want == "" {
				want = synced(plan.Report{})
			}
			if got := synced(placed(test.service, test.nodes...)); *got != *want {
				t.Errorf("the outcome is %+v, want %+v", got, want)
			}
		})
	}
}

// TestLongConflicts: long names make no long message, and what is cut off is the same whatever order the nodes come in.
func TestLongConflicts(t *testing.T) {
	var nodes []*mirror.Node
	for i := range namedNodes + 1 {
		nodes = append(nodes, fixture.Node("reg", strings.Repeat(string(rune('a'+i)), 240), "10.0.0.5"))
	}
	messages := map[string]struct{}{}
	for range 20 {
		messages[synced(placed(fixture.Service(), nodes...)).message] = struct{}{}
		nodes = append(nodes[1:], nodes[0])
	}
	for message := range messages {
		if n := utf8.RuneCountInString(message); n != record.MaxMessage || !strings.Contains(message, "10.0.0.5:8080/TCP is shown for reg.") {
			t.Errorf("the message has %d characters: %s", n, message)
		}
	}
	if len(messages) != 1 {
		t.Errorf("%d messages for the same nodes: %v", len(messages), messages)
	}
}

// TestManyNodes: a storm of nodes without a port, or behind one address, is no storm of conditions.
func TestManyNodes(t *testing.T) {
	for name, test := range map[string]struct {
		node         func(i int) *mirror.Node
		reason, want string
	}{
		"behind one address": {
			func(i int) *mirror.Node { return fixture.Node("reg", strconv.Itoa(i), "10.0.0.5") }, rollcallv1alpha1.ReasonAddressShared,
			"More than 1000 ports of nodes are shown for another node that gives the same address. Give each node its own, unless they are one server.",
		},
		"without a port": {
			func(i int) *mirror.Node {
				return fixture.But(fixture.Node("reg", strconv.Itoa(i), "10.0.0.5"), portless)
			},
			rollcallv1alpha1.ReasonPortNotFound, "More than 1000 nodes have none of the Service's target ports, and so no endpoint.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			nodes := map[string]*mirror.Node{}
			lookup := func(name string) (*mirror.Node, bool) { return nodes[name], false }
			all := newTracker()
			p, _ := plan.Build(plan.NewView(fixture.Service()), nil, nil, slices.Values([]*mirror.Node{}), plan.Nodes{}, all)
			messages := map[string]struct{}{}
			for i := range 2000 {
				node := test.node(i)
				nodes[node.Name] = node
				for _, op := range p.Revise(plan.Nodes{Lookup: lookup, Changed: map[string]time.Time{node.Name: fixture.Epoch}}, all) {
					all.wrote(op.Slice)
				}
				if o := synced(p.Report()); o.reason == test.reason {
					messages[o.message] = struct{}{}
				} else if i > 0 {
					t.Fatalf("%d nodes: %+v", i+1, o)
				}
			}
			if len(messages) != namedNodes+4 {
				t.Errorf("%d messages on the way to 2000 nodes, want one each for up to %d, and for more than 5, 10, 100 and 1000",
					len(messages), namedNodes)
			}
			if got := synced(p.Report()).message; got != test.want {
				t.Errorf("the message is %q, want %q", got, test.want)
			}
		})
	}
}

func portless(n *mirror.Node) { n.Ports = []record.Port{{Name: "other", Port: 1}} }

func TestPortless(t *testing.T) {
	var nodes []*mirror.Node
	for _, node := range fixture.Fleet(2) {
		nodes = append(nodes, fixture.But(node, portless))
	}
	o := synced(placed(fixture.Service(), nodes...))
	want := "Nodes that have none of the Service's target ports, and so no endpoint: catga.web-00000, catga.web-00001."
	if o.status != "False" || o.message != want {
		t.Errorf("%s: the message is %q, want %q", o.status, o.message, want)
	}
}
