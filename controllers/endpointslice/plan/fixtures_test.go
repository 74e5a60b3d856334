package plan

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/rollcall-dev/rollcall/controllers/endpointslice/internal/fixture"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

const (
	ipv4 = discoveryv1.AddressTypeIPv4
	ipv6 = discoveryv1.AddressTypeIPv6
)

// cluster plays the API server, the tracker and the Mirror.
type cluster struct {
	t         testing.TB
	view      *View
	placement *Placement
	slices    map[string]*discoveryv1.EndpointSlice
	nodes     map[string]*mirror.Node
	unsettled sets.Set[string]
	revision  int
	reserved  int
}

func newCluster(t testing.TB, service *corev1.Service, nodes ...*mirror.Node) *cluster {
	t.Helper()
	c := &cluster{
		t: t, view: NewView(service),
		slices: map[string]*discoveryv1.EndpointSlice{}, nodes: map[string]*mirror.Node{}, unsettled: sets.New[string](),
	}
	c.know(nodes...)
	return c
}

// Current implements Slices.
func (c *cluster) Current(name string) *discoveryv1.EndpointSlice { return c.slices[name] }

// Reserve implements Slices.
func (c *cluster) Reserve(service string, _ types.UID) string {
	for {
		c.reserved++
		if name := fmt.Sprintf("%s-%05d", service, c.reserved); c.slices[name] == nil {
			return name
		}
	}
}

func (c *cluster) know(nodes ...*mirror.Node) {
	for _, node := range nodes {
		c.nodes[node.Name] = node
	}
}

func (c *cluster) lookup(name string) (*mirror.Node, bool) {
	node := c.nodes[name]
	switch {
	case node == nil:
		return nil, c.unsettled.Has(record.RegistryOf(name))
	case node.Labels["role"] != "web":
		return nil, node.Remembered && c.unsettled.Has(node.Registry)
	case node.Traffic() == mirror.TrafficNone:
		return node, node.Remembered && c.unsettled.Has(node.Registry)
	}
	return node, false
}

func (c *cluster) selected() iter.Seq[*mirror.Node] {
	return func(yield func(*mirror.Node) bool) {
		for _, node := range c.nodes {
			if node.Labels["role"] == "web" && !yield(node) {
				return
			}
		}
	}
}

// build makes a placement as after a start, when there was none before.
func (c *cluster) build(before *Placement, selected iter.Seq[*mirror.Node]) (*Placement, []Operation) {
	return Build(c.view, before, slices.Collect(maps.Values(c.slices)), selected, c.asNodes(nil), c)
}

func (c *cluster) asNodes(changed map[string]time.Time) Nodes {
	return Nodes{Lookup: c.lookup, Changed: changed, Unsettled: c.unsettled}
}

// full makes a full pass and carries out its operations.
func (c *cluster) full() []Operation {
	c.t.Helper()
	p, operations := c.build(c.placement, c.selected())
	c.placement = p
	c.execute(operations)
	return operations
}

// restart makes the first full pass of another process.
func (c *cluster) restart() []Operation {
	c.t.Helper()
	c.placement = nil
	return c.full()
}

// change makes the nodes known, or unknown if they are named only, and carries out what that leads to.
func (c *cluster) change(nodes []*mirror.Node, gone ...string) []Operation {
	c.t.Helper()
	operations := c.plan(nodes, gone...)
	c.execute(operations)
	return operations
}

func (c *cluster) plan(nodes []*mirror.Node, gone ...string) []Operation {
	c.know(nodes...)
	changed := map[string]time.Time{}
	for _, name := range gone {
		delete(c.nodes, name)
		changed[name] = fixture.Epoch
	}
	for _, node := range nodes {
		changed[node.Name] = node.Changed
	}
	return c.placement.Revise(c.asNodes(changed), c)
}

func (c *cluster) execute(operations []Operation) {
	c.t.Helper()
	slices.SortStableFunc(operations, func(a, b Operation) int { return cmp.Compare(lateness(a), lateness(b)) })
	for _, op := range operations {
		c.revision++
		switch op.Verb {
		case Create:
			op.Slice.UID = types.UID(op.Slice.Name)
		case Update:
			if sameSlice(c.slices[op.Slice.Name], op.Slice) {
				c.t.Errorf("a write of %s changes nothing", op.Slice.Name)
			}
		case Delete:
			delete(c.slices, op.Slice.Name)
			continue
		}
		op.Slice.ResourceVersion = strconv.Itoa(c.revision)
		c.slices[op.Slice.Name] = op.Slice
	}
}

// lateness is 1 for an operation that is carried out after all others.
func lateness(op Operation) int {
	if op.Yields {
		return 1
	}
	return 0
}

// adopt puts slices into the cluster, as they exist before the start.
func (c *cluster) adopt(existing ...*discoveryv1.EndpointSlice) {
	for _, slice := range existing {
		c.revision++
		slice.ResourceVersion = strconv.Itoa(c.revision)
		slice.UID = types.UID(slice.Name)
		c.slices[slice.Name] = slice
	}
}

// list returns the slices by name.
func (c *cluster) list() []*discoveryv1.EndpointSlice {
	var list []*discoveryv1.EndpointSlice
	for _, name := range slices.Sorted(maps.Keys(c.slices)) {
		list = append(list, c.slices[name])
	}
	return list
}

// sizes returns how many endpoints the slices hold, in order.
func (c *cluster) sizes() []int {
	var sizes []int
	for _, slice := range c.list() {
		sizes = append(sizes, len(slice.Endpoints))
	}
	slices.Sort(sizes)
	return sizes
}

// nameOf returns the name of the candidate that an endpoint stands for.
func (c *cluster) nameOf(slice *discoveryv1.EndpointSlice, e *discoveryv1.Endpoint) string {
	addr, _ := addressIn(e)
	for _, f := range c.placement.families {
		if f.kind == slice.AddressType {
			if at := f.among(addr, func(c *candidate) bool { return c.slice != nil && c.slice.name == slice.Name }); at != nil {
				return at.name()
			}
		}
	}
	return "nobody at " + e.Addresses[0]
}

// shown returns for each node what its endpoints look like: address, ports and conditions.
func (c *cluster) shown() map[string][]string {
	shown := map[string][]string{}
	for _, slice := range c.list() {
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			name := c.nameOf(slice, e)
			shown[name] = append(shown[name], describe(e, slice.Ports))
		}
	}
	for _, endpoints := range shown {
		slices.Sort(endpoints)
	}
	return shown
}

// describe returns for example "10.0.0.1 http/TCP/8080 ready serving".
func describe(e *discoveryv1.Endpoint, ports []discoveryv1.EndpointPort) string {
	words := []string{e.Addresses[0], portsKey(ports)}
	for _, condition := range []struct {
		name  string
		value *bool
	}{{"ready", e.Conditions.Ready}, {"serving", e.Conditions.Serving}, {"terminating", e.Conditions.Terminating}} {
		if *condition.value {
			words = append(words, condition.name)
		}
	}
	return strings.Join(words, " ")
}

func sameSlice(a, b *discoveryv1.EndpointSlice) bool {
	return maps.Equal(a.Labels, b.Labels) && portsKey(a.Ports) == portsKey(b.Ports) &&
		reflect.DeepEqual(a.OwnerReferences, b.OwnerReferences) &&
		slices.EqualFunc(a.Endpoints, b.Endpoints, func(x, y discoveryv1.Endpoint) bool { return sameEndpoint(&x, &y) })
}

// at is a claim at an address.
type at struct {
	addr netip.Addr
	claim
}

// served returns in how many slices there is somebody ready at an address and port.
func (c *cluster) served() map[at]int {
	served := map[at]int{}
	for _, slice := range c.list() {
		for i := range slice.Endpoints {
			if e := &slice.Endpoints[i]; *e.Conditions.Ready {
				for _, port := range slice.Ports {
					served[at{netip.MustParseAddr(e.Addresses[0]), claimOf(&port)}]++
				}
			}
		}
	}
	return served
}

// verbs counts operations.
func verbs(operations []Operation) map[Verb]int {
	count := map[Verb]int{}
	for _, op := range operations {
		count[op.Verb]++
	}
	return count
}
