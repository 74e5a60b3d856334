package plan

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/internal/fixture"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

// verify compares the slices with what the nodes ask for, worked out in the plainest way, and checks what must hold of
// any slices. It must not be used while there are endpoints of unknown nodes.
func (c *cluster) verify() {
	c.t.Helper()
	if want, got := c.expected(), c.shown(); !reflect.DeepEqual(want, got) {
		c.t.Fatalf("endpoints differ (-want +got):\n%s", gocmp.Diff(want, got))
	}
	taken := map[string]string{}
	for _, slice := range c.list() {
		if n := len(slice.Endpoints); n == 0 || n > MaxEndpoints {
			c.t.Fatalf("%s has %d endpoints", slice.Name, n)
		}
		if !c.view.owns(slice) || !c.view.labelled(slice) {
			c.t.Fatalf("%s is not the Service's: %+v", slice.Name, slice.ObjectMeta)
		}
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			name := c.nameOf(slice, e)
			if want := c.view.endpoint(c.nodes[name], netip.MustParseAddr(e.Addresses[0])); !sameEndpoint(e, &want) {
				c.t.Fatalf("the endpoint of %s is %+v, want %+v", name, *e, want)
			}
			for _, port := range slice.Ports {
				where := fmt.Sprintf("%s %s %d", e.Addresses[0], *port.Protocol, *port.Port)
				if other := taken[where]; other != "" && other != slice.Name+" "+name {
					c.t.Fatalf("%s and %s %s are both at %s", other, slice.Name, name, where)
				}
				taken[where] = slice.Name + " " + name
			}
		}
	}
	if want, got := c.lost(), lostIn(c.placement); !maps.Equal(want, got) {
		c.t.Fatalf("the conflicts are %v, want %v", got, want)
	}
	for _, before := range []*Placement{nil, c.placement} {
		anew, again := c.build(before, c.selected())
		if len(again) > 0 {
			c.t.Fatalf("a full pass still writes %v", verbs(again))
		}
		if want, got := ranks(anew), ranks(c.placement); !reflect.DeepEqual(want, got) {
			c.t.Fatalf("who makes a claim differs from what a full pass finds (-want +got):\n%s", gocmp.Diff(want, got))
		}
		if want, got := anew.Report(), c.placement.Report(); !reflect.DeepEqual(want, got) {
			c.t.Fatalf("the report is %+v, and after a full pass %+v", got, want)
		}
	}
	c.verifyCounts()
}

// verifyCounts compares what a Report counts with the nodes and what is shown of them.
func (c *cluster) verifyCounts() {
	c.t.Helper()
	ready := map[string]bool{}
	for _, slice := range c.list() {
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			name := c.nameOf(slice, e)
			ready[name] = ready[name] || *e.Conditions.Ready
		}
	}
	want := Report{Selected: len(slices.Collect(c.selected()))}
	for _, takes := range ready {
		if takes {
			want.Ready++
		} else {
			want.NotReady++
		}
	}
	if got := c.placement.Report(); got.Selected != want.Selected || !c.view.publishNotReady && (got.Ready != want.Ready || got.NotReady != want.NotReady) {
		c.t.Fatalf("the report is %+v, want %d ready, %d not, of %d selected", got, want.Ready, want.NotReady, want.Selected)
	}
}

// lostClaim is a claim, and who makes it in vain.
type lostClaim struct{ claim, loser string }

func lostIn(p *Placement) map[lostClaim]struct{} {
	lost := map[lostClaim]struct{}{}
	for _, f := range p.families {
		for _, conflicts := range f.lost.lost {
			for _, c := range conflicts {
				lost[lostClaim{c.Claim, c.Loser}] = struct{}{}
			}
		}
	}
	return lost
}

// lost returns what nodes that heartbeat and take traffic claim and is shown for another one.
func (c *cluster) lost() map[lostClaim]struct{} {
	lost := map[lostClaim]struct{}{}
	expected := c.expected()
	for _, node := range c.nodes {
		if found, _ := c.lookup(node.Name); found == nil || node.Silent || node.Traffic() != mirror.TrafficReady {
			continue
		}
		for _, family := range c.view.families {
			addr, found := addressOf(node, family)
			for _, port := range c.view.resolve(node) {
				shown := slices.ContainsFunc(expected[node.Name], func(endpoint string) bool {
					words := strings.Split(endpoint, " ")
					return words[0] == addr.String() && slices.Contains(strings.Split(words[1], ","), portKey(&port))
				})
				if found && !shown {
					lost[lostClaim{claimOf(&port).at(addr), node.Name}] = struct{}{}
				}
			}
		}
	}
	return lost
}

// ranks returns who gives each address, by rank.
func ranks(p *Placement) map[string][]string {
	all := map[string][]string{}
	for _, f := range p.families {
		for addr, c := range f.first {
			all[netip.AddrFrom16(addr).Unmap().String()] = []string{c.name()}
		}
		for addr, among := range f.conflicts {
			all[addr.String()] = nil
			for _, c := range among.candidates {
				all[addr.String()] = append(all[addr.String()], c.name())
			}
		}
	}
	return all
}

func (c *cluster) expected() map[string][]string {
	ranked := slices.SortedFunc(maps.Values(c.nodes), func(a, b *mirror.Node) int {
		return slices.Compare(precedes(a), precedes(b))
	})
	taken := map[at]bool{}
	expected := map[string][]string{}
	for _, node := range ranked {
		if selected, _ := c.lookup(node.Name); selected == nil || selected.Traffic() == mirror.TrafficNone {
			continue
		}
		for _, family := range c.view.families {
			addr, found := addressOf(node, family)
			if !found {
				continue
			}
			var free []discoveryv1.EndpointPort
			mine := map[at]bool{}
			for _, port := range c.view.resolve(node) {
				if where := (at{addr, claimOf(&port)}); !taken[where] {
					free = append(free, port)
					mine[where] = true
				}
			}
			maps.Copy(taken, mine)
			if len(free) > 0 {
				endpoint := c.view.endpoint(node, addr)
				expected[node.Name] = append(expected[node.Name], describe(&endpoint, free))
			}
		}
	}
	for _, endpoints := range expected {
		slices.Sort(endpoints)
	}
	return expected
}

// precedes returns what ranks a node, as words in the order of the alphabet.
func precedes(n *mirror.Node) []string {
	rank := "1 heartbeats and takes traffic"
	switch doubtful := n.Silent || n.Phase == rollcallv1alpha1.NodeStale || n.Refusal.Reason != ""; {
	case n.Cordoned:
		rank = "4 cordoned"
	case doubtful && n.Traffic() == mirror.TrafficReady:
		rank = "3a takes traffic all the same"
	case doubtful && n.Phase == rollcallv1alpha1.NodeDraining:
		rank = "3b drains"
	case doubtful:
		rank = "3c takes none"
	case n.Phase == rollcallv1alpha1.NodeDraining:
		rank = "2 heartbeats and drains"
	}
	return []string{rank, n.FirstSeen.Format(time.DateOnly), n.Name}
}

// dice makes random nodes, few enough kinds of them that they get in each other's way.
type dice struct {
	*rand.Rand
	ids int
}

func (d dice) node() *mirror.Node {
	id := d.IntN(d.ids)
	node := fixture.Node([]string{"a", "b"}[d.IntN(2)], strconv.Itoa(id))
	host := id
	if d.IntN(5) == 0 {
		host = d.IntN(d.ids)
	}
	if d.IntN(10) > 0 {
		node.Addresses = append(node.Addresses, fixture.Node("", "", fmt.Sprintf("10.0.%d.%d", host>>8, host&255)).Addresses...)
	}
	if d.IntN(2) > 0 {
		node.Addresses = append(node.Addresses, fixture.Node("", "", fmt.Sprintf("fd00::%x", host+1)).Addresses...)
	}
	node.Ports[0].Port = []int32{8080, 8080, 8080, 8080, 81, 82}[d.IntN(6)]
	if d.IntN(3) == 0 {
		node.Ports = append(node.Ports, record.Port{Name: "metrics", Port: 9090})
	}
	if d.IntN(20) == 0 {
		node.Ports = nil
	}
	if d.IntN(15) == 0 {
		node.Labels = map[string]string{"role": "db"}
	}
	phases := []rollcallv1alpha1.NodePhase{
		rollcallv1alpha1.NodeReady, rollcallv1alpha1.NodeReady, rollcallv1alpha1.NodeReady, rollcallv1alpha1.NodeReady,
		rollcallv1alpha1.NodeStale, rollcallv1alpha1.NodeDraining, rollcallv1alpha1.NodeExpired, rollcallv1alpha1.NodeInvalid,
	}
	node.Phase = phases[d.IntN(len(phases))]
	if node.Silent = node.Phase == rollcallv1alpha1.NodeStale || d.IntN(6) == 0; node.Silent && d.IntN(2) == 0 {
		node.Reason = rollcallv1alpha1.ReasonHeld
	}
	if d.IntN(6) == 0 {
		node.Refusal.Reason = "Odd"
	}
	node.Cordoned = d.IntN(10) == 0
	node.FirstSeen = fixture.Epoch.AddDate(0, 0, -d.IntN(4))
	return node
}

func (d dice) service() *corev1.Service {
	list := []func(*corev1.Service){fixture.Families("IPv4", "IPv6"), fixture.Families("IPv4")}
	return fixture.Service(list[d.IntN(2)], func(s *corev1.Service) {
		if d.IntN(2) == 0 {
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{
				Name: "metrics", Port: 90, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromString("metrics"),
			})
		}
		s.Spec.PublishNotReadyAddresses = d.IntN(3) == 0
	})
}

// TestProperty makes random changes and compares, after each batch, with what the nodes ask for and with a full pass.
func TestProperty(t *testing.T) {
	for seed := range uint64(45) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			d := dice{Rand: rand.New(rand.NewPCG(seed, 1)), ids: []int{4, 40, 300}[seed%3]}
			c := newCluster(t, d.service())
			c.full()
			for range 25 {
				var nodes []*mirror.Node
				var gone []string
				for range 1 + d.IntN(1+d.IntN(d.ids)) {
					if node := d.node(); d.IntN(4) == 0 {
						gone = append(gone, node.Name)
					} else {
						nodes = append(nodes, node)
					}
				}
				nodes = slices.DeleteFunc(nodes, func(n *mirror.Node) bool { return slices.Contains(gone, n.Name) })
				c.step(nodes, gone)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// step makes a change, and checks its outcome and that every slice it wrote had to be written.
func (c *cluster) step(nodes []*mirror.Node, gone []string) {
	c.t.Helper()
	before := c.expected()
	where := map[string]string{}
	names := map[at][]string{}
	for _, slice := range c.list() {
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			name := c.nameOf(slice, e)
			where[name+string(slice.AddressType)] = slice.Name
			for _, port := range slice.Ports {
				here := at{netip.MustParseAddr(e.Addresses[0]), claimOf(&port)}
				names[here] = append(names[here], name)
			}
		}
	}
	operations := c.plan(nodes, gone...)
	c.carryOut(operations, names)
	c.verify()

	// A slice must be written if an endpoint in it changed; beyond that, one may be filled with what is new, of each group
	// in as many slices as that needs, and one may be emptied by merging.
	after := c.expected()
	necessary := map[string]bool{}
	fresh := 0
	for _, family := range c.view.families {
		for name := range maps.Keys(where) {
			node := name[:len(name)-len(family)]
			if name == node+string(family) && !slices.Equal(before[node], after[node]) {
				necessary[where[name]] = true
			}
		}
	}
	for name := range after {
		if !slices.Equal(before[name], after[name]) {
			fresh++
		}
	}
	merged := 0
	written := map[string]bool{}
	for _, op := range operations {
		written[op.Slice.Name] = true
		if op.Verb == Delete && op.Yields {
			merged++
		}
	}
	groups := 0
	for _, f := range c.placement.families {
		for _, g := range f.groups {
			groups += min(len(g.slices), 1)
		}
	}
	most := len(necessary) + merged
	if fresh > 0 {
		most += groups + 2*fresh/MaxEndpoints
	}
	if len(written) > most {
		c.t.Fatalf("%v for %d slices with changes and %d changed nodes in %d groups", verbs(operations), len(necessary), fresh, groups)
	}
}

// carryOut carries out the operations one by one, where those names had the endpoints before. It checks that the first half shows
// nobody as ready any more where nobody takes traffic, and that what is served by a node that could go on, and is served in the end,
// is served throughout.
func (c *cluster) carryOut(operations []Operation, names map[at][]string) {
	c.t.Helper()
	takes := func(name string) bool {
		node, _ := c.lookup(name)
		return node != nil && node.Traffic() == mirror.TrafficReady
	}
	steps := []map[at]int{c.served()}
	slices.SortStableFunc(operations, func(a, b Operation) int { return cmp.Compare(lateness(a), lateness(b)) })
	for i, op := range operations {
		if op.Yields && (i == 0 || !operations[i-1].Yields) && !c.view.publishNotReady {
			for here := range c.served() {
				if !slices.ContainsFunc(append(c.claimants(here), names[here]...), takes) {
					c.t.Fatalf("nobody takes traffic at %v, and it is still ready", here)
				}
			}
		}
		c.execute([]Operation{op})
		steps = append(steps, c.served())
	}
	for here := range steps[0] {
		still := slices.ContainsFunc(c.claimants(here), func(name string) bool { return slices.Contains(names[here], name) && takes(name) })
		if !still || steps[len(steps)-1][here] == 0 {
			continue
		}
		for i, step := range steps {
			if step[here] == 0 {
				c.t.Fatalf("nobody is ready at %v after %d of %d operations", here, i, len(operations))
			}
		}
	}
}

// claimants returns the nodes that claim a place.
func (c *cluster) claimants(here at) (names []string) {
	for _, f := range c.placement.families {
		for name, candidate := range f.candidates {
			if addr, found := candidate.address(f.kind); found && addr == here.addr && slices.Contains(candidate.ports.claims, here.claim) {
				names = append(names, name)
			}
		}
	}
	return names
}

// TestPropertyUnsettled is TestProperty for a start before the registries are listed, with what was written down of some of the nodes,
// which may be older than the slices: no endpoint goes unless a node was heard of there, none comes by memory alone, and once all is
// listed the outcome is the same.
func TestPropertyUnsettled(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			d := dice{Rand: rand.New(rand.NewPCG(seed, 2)), ids: []int{4, 40, 300}[seed%3]}
			service := d.service()
			written := newCluster(t, service)
			for range d.ids {
				written.know(d.node())
			}
			written.full()

			c := newCluster(t, service)
			c.unsettled.Insert("a", "b")
			for _, slice := range written.list() {
				c.adopt(slice.DeepCopy())
			}
			m := &start{cluster: c, before: c.places(), ready: c.served(), heard: map[at]bool{}}
			for name, node := range written.nodes {
				if d.IntN(3) == 0 {
					node = fixture.But(d.node(), func(n *mirror.Node) { n.Name, n.Registry = name, node.Registry })
				}
				if d.IntN(5) > 0 {
					c.know(fixture.But(node, fixture.Remembered))
				}
			}
			c.full()
			m.check()
			for range 20 {
				m.hear(d.node())
				if d.IntN(4) == 0 {
					c.full()
				}
				m.check()
			}
			c.unsettled = sets.New[string]()
			maps.DeleteFunc(c.nodes, func(_ string, n *mirror.Node) bool { return n.Remembered })
			if d.IntN(2) == 0 {
				c.restart()
			}
			c.full()
			c.verify()
		})
	}
}

// start is a process that has just started, over the slices that another one left.
type start struct {
	*cluster
	// before are the places that the slices had, and ready those that were ready.
	before map[at]bool
	ready  map[at]int
	// heard are the places at which a node was heard of, or was before it was.
	heard map[at]bool
}

// places returns what the slices hold, ready or not.
func (c *cluster) places() map[at]bool {
	all := map[at]bool{}
	for _, slice := range c.list() {
		for i := range slice.Endpoints {
			for _, port := range slice.Ports {
				all[at{netip.MustParseAddr(slice.Endpoints[i].Addresses[0]), claimOf(&port)}] = true
			}
		}
	}
	return all
}

// hear makes a node known, wherever it was thought to be before.
func (m *start) hear(node *mirror.Node) {
	for _, f := range m.placement.families {
		if c := f.candidates[node.Name]; c != nil && c.shown != nil {
			addr, _ := c.address(f.kind)
			m.note(addr, c.shown.ports)
		}
	}
	m.change([]*mirror.Node{node})
	if found, _ := m.lookup(node.Name); found == nil {
		return
	}
	for _, family := range m.view.families {
		if addr, found := addressOf(node, family); found {
			m.note(addr, m.view.resolve(node))
		}
	}
}

func (m *start) note(addr netip.Addr, ports []discoveryv1.EndpointPort) {
	for i := range ports {
		m.heard[at{addr, claimOf(&ports[i])}] = true
	}
}

func (m *start) check() {
	m.t.Helper()
	if len(m.before) == 0 {
		return // Memory is all that there is.
	}
	now := m.places()
	for here := range m.before {
		if !now[here] && !m.heard[here] {
			m.t.Fatalf("%v is gone, and nobody was heard of there", here)
		}
	}
	for here := range now {
		if !m.before[here] && !m.heard[here] {
			m.t.Fatalf("%v has come, and nobody was heard of there", here)
		}
	}
	for here := range m.served() {
		if m.ready[here] == 0 && !m.heard[here] && !m.view.publishNotReady && !slices.ContainsFunc(m.claimants(here), m.lets) {
			m.t.Fatalf("%v is ready, and nobody was heard of there", here)
		}
	}
}

// lets returns true if no person has taken the node out.
func (m *start) lets(name string) bool { return m.nodes[name] != nil && !m.nodes[name].Cordoned }
