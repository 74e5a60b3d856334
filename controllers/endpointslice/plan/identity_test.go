package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/internal/fixture"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

// endpoints returns what the slices hold: address, ports and conditions, and the target if there is one.
func (c *cluster) endpoints() []string {
	var all []string
	for _, slice := range c.list() {
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			text := describe(e, slice.Ports)
			if e.TargetRef != nil {
				text += " -> " + e.TargetRef.Name
			}
			all = append(all, text)
		}
	}
	slices.Sort(all)
	return all
}

// left returns a cluster with the slices that another process has left there, before its registry is listed.
func left(t *testing.T, service *corev1.Service, nodes ...*mirror.Node) *cluster {
	t.Helper()
	c := newCluster(t, service, nodes...)
	c.full()
	c.placement, c.nodes = nil, map[string]*mirror.Node{}
	c.unsettled.Insert("catga")
	return c
}

func at8080(conditions ...string) []string {
	var all []string
	for i, words := range conditions {
		if words != "" {
			words = " " + words
		}
		all = append(all, fmt.Sprintf("10.0.0.%d http/TCP/8080%s", i+1, words))
	}
	return all
}

// TestMemoryOnlyConfirms: what was written down of a node may be older than its endpoint, so until the node is heard of it brings
// nothing back that the endpoint is without.
func TestMemoryOnlyConfirms(t *testing.T) {
	const ready, draining, stale, cordoned = "ready serving", "serving terminating", "", "serving"
	node := fixture.Node("catga", "a", "10.0.0.1")
	at := func(address string) func(*mirror.Node) {
		return func(n *mirror.Node) { n.Addresses = fixture.Node("", "", address).Addresses }
	}
	tests := map[string]struct {
		written, remembered func(*mirror.Node)
		want                []string
	}{
		"it has moved since":              {isReady, at("10.0.0.9"), at8080(ready)},
		"its port has changed since":      {isReady, fixture.Port(81), at8080(ready)},
		"it has got a port since":         {isReady, func(n *mirror.Node) { n.Ports = nil }, at8080(ready)},
		"it has moved, and drains since":  {fixture.Draining, at("10.0.0.9"), at8080(draining)},
		"it is stale since":               {fixture.Stale, isReady, at8080(stale)},
		"it drains since":                 {fixture.Draining, isReady, at8080(draining)},
		"it is back since":                {isReady, fixture.Stale, at8080(ready)},
		"it is back from its end since":   {isReady, fixture.Phase(rollcallv1alpha1.NodeExpired), at8080(ready)},
		"a person has cordoned it":        {isReady, fixture.Cordoned, at8080(cordoned)},
		"a person has let it back in":     {fixture.Cordoned, isReady, at8080(ready)},
		"it was stale under a cordon":     {fixture.All(fixture.Stale, fixture.Cordoned), isReady, at8080(stale)},
		"it has another zone since":       {isReady, func(n *mirror.Node) { n.Zone = "old" }, at8080(ready)},
		"another one is there, cordoned":  {isReady, fixture.All(at("10.0.0.9"), fixture.Cordoned), at8080(ready)},
		"its record is refused meanwhile": {isReady, fixture.LastGood, at8080(ready)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			remembered := fixture.But(node, fixture.All(test.remembered, fixture.Remembered))
			for way, learn := range map[string]func(*cluster){
				"found so":      func(c *cluster) { c.know(remembered); c.full() },
				"learned later": func(c *cluster) { c.full(); c.change([]*mirror.Node{remembered}) },
				"and once more": func(c *cluster) { c.full(); c.change([]*mirror.Node{remembered}); c.full() },
			} {
				c := left(t, fixture.Service(), fixture.But(node, test.written))
				learn(c)
				if diff := cmp.Diff(test.want, c.endpoints()); diff != "" {
					t.Errorf("%s (-want +got):\n%s", way, diff)
				}
				c.change([]*mirror.Node{node})
				c.unsettled.Delete("catga")
				c.full()
				c.verify()
			}
		})
	}
}

// TestMemoryIsAllThereIs: a Service without a slice gets endpoints of remembered nodes, also when not all of that was written.
func TestMemoryIsAllThereIs(t *testing.T) {
	nodes := each(fixture.Fleet(250), fixture.Remembered)
	c := newCluster(t, fixture.Service(), nodes...)
	c.unsettled.Insert("catga")
	c.full()
	delete(c.slices, c.list()[1].Name)
	if got := c.full(); verbs(got)[Create] != 1 || len(got) != 1 || len(c.shown()) != 250 {
		t.Errorf("what was not written costs %v, and %d nodes have endpoints", verbs(got), len(c.shown()))
	}
	delete(c.slices, c.list()[1].Name)
	before := len(c.endpoints())
	if c.restart(); len(c.endpoints()) != before {
		t.Errorf("another process shows %d endpoints, want the %d that it found", len(c.endpoints()), before)
	}
	c.unsettled.Delete("catga")
	if c.full(); len(c.endpoints()) != before {
		t.Errorf("%d endpoints are shown of nodes that no listing had, want the %d that were", len(c.endpoints()), before)
	}
	c.change(fixture.Fleet(250))
	c.verify()
}

// TestTwoRemember: of two nodes that are remembered at one address, the one that a person has cordoned does not take the other out.
func TestTwoRemember(t *testing.T) {
	a, b := fixture.Node("catga", "a", "10.0.0.1"), fixture.Node("other", "b", "10.0.0.1")
	for range 20 {
		c := left(t, fixture.Service(), a, fixture.But(b, fixture.Cordoned))
		c.know(fixture.But(a, fixture.Remembered), fixture.But(b, fixture.All(fixture.Cordoned, fixture.Remembered)))
		if got := c.full(); len(got) > 0 {
			t.Fatalf("it costs %v and leads to %v", verbs(got), c.endpoints())
		}
	}
}

// TestHeardBeforeRemembered: who was heard of at an address comes before who is remembered there, however old, and is not forgotten for
// him again.
func TestHeardBeforeRemembered(t *testing.T) {
	old := fixture.But(fixture.Node("catga", "old", "10.0.0.1"), fixture.Older)
	c := left(t, fixture.Service(), fixture.But(old, fixture.Stale))
	c.know(fixture.But(old, fixture.Remembered))
	c.full()
	next := fixture.Node("catga", "new", "10.0.0.1")
	c.change([]*mirror.Node{next})
	if diff := cmp.Diff(at8080("ready serving"), c.endpoints()); diff != "" || c.shown()[next.Name] == nil {
		t.Errorf("shown are %v (-want +got):\n%s", c.shown(), diff)
	}
	c.unsettled.Clear()
	if c.change(nil, next.Name); len(c.endpoints()) > 0 {
		t.Errorf("the endpoints are %v, though who had it is gone", c.endpoints())
	}
}

// TestWhoLeavesIsNotKept: once somebody heard of has an endpoint, it goes with him, whatever is not known of others.
func TestWhoLeavesIsNotKept(t *testing.T) {
	nodes := fixture.Fleet(3)
	c := left(t, fixture.Service(), nodes...)
	c.full()
	c.change(nodes[:1])
	c.unsettled.Delete("catga")
	c.unsettled.Insert("other")
	c.change(nil, nodes[0].Name)
	if got := c.endpoints(); len(got) != 2 {
		t.Errorf("the endpoints are %v, want those of nobody", got)
	}
	slice := c.list()[0]
	slice.Endpoints = append(slice.Endpoints, *slice.Endpoints[0].DeepCopy())
	slice.Endpoints[2].Addresses = []string{"10.9.9.9"}
	if c.full(); len(c.endpoints()) != 2 {
		t.Errorf("the endpoints are %v: what somebody adds by hand is taken for what was there", c.endpoints())
	}
}

// TestAdoption: whatever the endpoints of a slice are called, they are found again by address and ports.
func TestAdoption(t *testing.T) {
	six := each(fixture.Fleet(3), func(n *mirror.Node) { n.Addresses = fixture.Node("", "", "fd00::1"+n.ID[len(n.ID)-1:]).Addresses })
	for name, test := range map[string]struct {
		nodes  []*mirror.Node
		family corev1.IPFamily
		edit   func(list []*discoveryv1.EndpointSlice)
		want   map[Verb]int
	}{
		"as they were": {fixture.Fleet(150), "IPv4", func([]*discoveryv1.EndpointSlice) {}, map[Verb]int{}},
		"targets of an earlier version": {fixture.Fleet(150), "IPv4", func(list []*discoveryv1.EndpointSlice) {
			for _, slice := range list {
				for i := range slice.Endpoints {
					slice.Endpoints[i].TargetRef = &corev1.ObjectReference{Kind: "DiscoveredNode", Name: "catga." + *slice.Endpoints[i].Hostname}
				}
			}
		}, map[Verb]int{Update: 2}},
		"addresses spelled otherwise": {six, "IPv6", func(list []*discoveryv1.EndpointSlice) {
			list[0].Endpoints[0].Addresses = []string{"FD00:0::00" + list[0].Endpoints[0].Addresses[0][6:]}
		}, map[Verb]int{Update: 1}},
		"one is in two slices": {fixture.Fleet(150), "IPv4", func(list []*discoveryv1.EndpointSlice) {
			list[1].Endpoints = append(list[1].Endpoints, list[0].Endpoints[0])
		}, map[Verb]int{Update: 1}},
		"one is in a slice of other ports too": {fixture.Fleet(150), "IPv4", func(list []*discoveryv1.EndpointSlice) {
			list[1].Ports = []discoveryv1.EndpointPort{*list[1].Ports[0].DeepCopy()}
			list[1].Ports[0].Port = new(int32(81))
			list[1].Endpoints = append(list[1].Endpoints, list[0].Endpoints[0])
		}, map[Verb]int{Update: 1}},
		"two have exchanged their places": {fixture.Fleet(150), "IPv4", func(list []*discoveryv1.EndpointSlice) {
			list[0].Endpoints[0], list[1].Endpoints[0] = list[1].Endpoints[0], list[0].Endpoints[0]
		}, map[Verb]int{}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, unsettled := range []bool{false, true} {
				c := newCluster(t, fixture.Service(fixture.Families(test.family)), test.nodes...)
				c.full()
				test.edit(c.list())
				if unsettled {
					c.unsettled.Insert("catga")
				}
				got := c.restart()
				if c.unsettled.Clear(); unsettled {
					got = append(got, c.full()...)
				}
				// What has other ports may be somebody else's while not everybody is known.
				if diff := cmp.Diff(test.want, verbs(got)); diff != "" && (!unsettled || !strings.Contains(name, "other ports")) {
					t.Errorf("unsettled %t: writes differ (-want +got):\n%s", unsettled, diff)
				}
				c.verify()
			}
		})
	}
}

// TestManyPorts: nodes and Services have up to 1,000 ports.
func TestManyPorts(t *testing.T) {
	service := fixture.Service(func(s *corev1.Service) { s.Spec.Ports = nil })
	node := fixture.But(fixture.Node("catga", "a", "10.0.0.1"), func(n *mirror.Node) { n.Ports = nil })
	for i := range rollcallv1alpha1.MaxPorts {
		name := fmt.Sprintf("p%d", i)
		node.Ports = append(node.Ports, record.Port{Name: name, Port: int32(10_000 + i), Protocol: corev1.ProtocolTCP})
		service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{Name: name, Port: int32(i + 1), TargetPort: intstr.FromString(name)})
	}
	other := fixture.But(node, func(n *mirror.Node) { n.Name, n.ID, n.Ports = "catga.b", "b", n.Ports[:500] })
	other.Addresses = fixture.Node("", "", "10.0.0.2").Addresses
	c := newCluster(t, service, node, other)
	c.full()
	var got []int
	for _, slice := range c.list() {
		got = append(got, len(slice.Ports))
	}
	slices.Sort(got)
	if !slices.Equal(got, []int{500, 1000}) {
		t.Errorf("the slices have %v ports", got)
	}
	c.verify()
}
