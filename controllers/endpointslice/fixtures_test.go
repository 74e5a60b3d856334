package endpointslice

import (
	"cmp"
	"fmt"
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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

const (
	namespace = "fleet"
	ipv4      = discoveryv1.AddressTypeIPv4
	ipv6      = discoveryv1.AddressTypeIPv6
)

var epoch = time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)

// newNode returns a Ready node "<registry>.<id>" that listens on port 8080, "http".
func newNode(registry, id string, addresses ...string) *mirror.Node {
	node := &mirror.Node{
		Namespace: namespace, Registry: registry, Name: registry + "." + id, Key: "node." + id, ID: id,
		Ports:  []record.Port{{Name: "http", Port: 8080, Protocol: corev1.ProtocolTCP}},
		Labels: map[string]string{rollcallv1alpha1.LabelRegistry: registry, "role": "web"},
		Phase:  rollcallv1alpha1.NodeReady, Changed: epoch, FirstSeen: epoch,
	}
	for _, address := range addresses {
		node.Addresses = append(node.Addresses, netip.MustParseAddr(address))
	}
	return node
}

// fleet returns so many nodes with addresses of their own.
func fleet(n int) []*mirror.Node {
	nodes := make([]*mirror.Node, 0, n)
	for i := range n {
		nodes = append(nodes, newNode("catga", fmt.Sprintf("web-%05d", i), fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)))
	}
	return nodes
}

// but returns a copy of the node with a change.
func but(node *mirror.Node, change func(*mirror.Node)) *mirror.Node {
	changed := *node
	change(&changed)
	return &changed
}

func phase(p rollcallv1alpha1.NodePhase) func(*mirror.Node) {
	return func(n *mirror.Node) { n.Phase = p }
}

func port(number int32) func(*mirror.Node) {
	return func(n *mirror.Node) {
		n.Ports = []record.Port{{Name: "http", Port: number, Protocol: corev1.ProtocolTCP}}
	}
}

// newService returns a Service over all nodes with role=web, as the API server would store it.
func newService(change ...func(*corev1.Service)) *corev1.Service {
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: "web", UID: "1",
			Annotations: map[string]string{rollcallv1alpha1.AnnotationNodeSelector: "role=web"},
		},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: "10.96.0.1", IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Ports: []corev1.ServicePort{{
				Name: "http", Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromString("http"),
			}},
		},
	}
	for _, c := range change {
		c(service)
	}
	return service
}

// cluster plays the API server and the Mirror for the pure part.
type cluster struct {
	t         testing.TB
	shape     *shape
	placement *placement
	slices    map[string]*known
	nodes     map[string]*mirror.Node
	unsettled map[string]bool
	revision  int
}

func newCluster(t testing.TB, service *corev1.Service, nodes ...*mirror.Node) *cluster {
	t.Helper()
	c := &cluster{
		t: t, shape: newShape(service),
		slices: map[string]*known{}, nodes: map[string]*mirror.Node{}, unsettled: map[string]bool{},
	}
	c.know(nodes...)
	return c
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
		return nil, c.unsettled[record.RegistryOf(name)]
	case node.Traffic() == mirror.TrafficNone || node.Labels["role"] != "web":
		return nil, false
	}
	return node, false
}

func (c *cluster) picture() picture {
	return picture{
		slices: slices.Collect(maps.Values(c.slices)),
		nodes: func(yield func(*mirror.Node) bool) {
			for _, node := range c.nodes {
				if node.Labels["role"] == "web" && !yield(node) {
					return
				}
			}
		},
		lookup: c.lookup,
	}
}

// full makes a full pass and carries out its operations.
func (c *cluster) full() []operation {
	c.t.Helper()
	p, operations := build(c.shape, c.picture())
	c.placement = p
	c.execute(operations)
	return operations
}

// change makes the nodes known, or unknown if they are named only, and carries out what that leads to.
func (c *cluster) change(nodes []*mirror.Node, gone ...string) []operation {
	c.t.Helper()
	operations := c.plan(nodes, gone...)
	c.execute(operations)
	return operations
}

func (c *cluster) plan(nodes []*mirror.Node, gone ...string) []operation {
	c.know(nodes...)
	names := slices.Clone(gone)
	for _, name := range gone {
		delete(c.nodes, name)
	}
	for _, node := range nodes {
		names = append(names, node.Name)
	}
	for _, name := range names {
		cause := epoch
		if node := c.nodes[name]; node != nil {
			cause = node.Changed
		}
		if node, keep := c.lookup(name); keep {
			c.placement.keepPlaced(name)
		} else {
			c.placement.learn(name, node, cause)
		}
	}
	return c.placement.advance()
}

func (c *cluster) execute(operations []operation) {
	c.t.Helper()
	slices.SortStableFunc(operations, func(a, b operation) int { return cmp.Compare(lateness(a), lateness(b)) })
	for _, op := range operations {
		c.revision++
		switch op.verb {
		case create:
			op.slice.Name = fmt.Sprintf("web-%05d", c.revision)
			op.slice.UID = types.UID(op.slice.Name)
		case update:
			if sameSlice(op.known.current.Load(), op.slice) {
				c.t.Errorf("a write of %s changes nothing", op.slice.Name)
			}
		case remove:
			delete(c.slices, op.slice.Name)
			continue
		}
		op.slice.ResourceVersion = strconv.Itoa(c.revision)
		op.known.current.Store(op.slice)
		c.slices[op.slice.Name] = op.known
	}
}

// lateness is 1 for an operation that is carried out after all others.
func lateness(op operation) int {
	if op.yields {
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
		k := &known{}
		k.current.Store(slice)
		c.slices[slice.Name] = k
	}
}

// list returns the slices by name.
func (c *cluster) list() []*discoveryv1.EndpointSlice {
	var list []*discoveryv1.EndpointSlice
	for _, name := range slices.Sorted(maps.Keys(c.slices)) {
		list = append(list, c.slices[name].current.Load())
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

// shown returns for each node what its endpoints look like: address, ports and conditions.
func (c *cluster) shown() map[string][]string {
	shown := map[string][]string{}
	for _, slice := range c.list() {
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			shown[e.TargetRef.Name] = append(shown[e.TargetRef.Name], describe(e, slice.Ports))
		}
	}
	for _, endpoints := range shown {
		slices.Sort(endpoints)
	}
	return shown
}

// describe returns for example "10.0.0.1 http/TCP/8080 ready serving".
func describe(e *discoveryv1.Endpoint, ports []discoveryv1.EndpointPort) string {
	words := []string{e.Addresses[0], newPortSet(ports).key}
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
	return maps.Equal(a.Labels, b.Labels) && newPortSet(a.Ports).key == newPortSet(b.Ports).key &&
		reflect.DeepEqual(a.OwnerReferences, b.OwnerReferences) &&
		slices.EqualFunc(a.Endpoints, b.Endpoints, func(x, y discoveryv1.Endpoint) bool { return sameEndpoint(&x, &y) })
}

// served returns which nodes are shown as ready at an address and port.
func (c *cluster) served() map[claim][]string {
	served := map[claim][]string{}
	for _, slice := range c.list() {
		for i := range slice.Endpoints {
			if e := &slice.Endpoints[i]; *e.Conditions.Ready {
				for _, port := range slice.Ports {
					at := claim{addr: netip.MustParseAddr(e.Addresses[0]), protocol: *port.Protocol, port: *port.Port}
					served[at] = append(served[at], e.TargetRef.Name)
				}
			}
		}
	}
	return served
}

// verbs counts operations.
func verbs(operations []operation) map[verb]int {
	count := map[verb]int{}
	for _, op := range operations {
		count[op.verb]++
	}
	return count
}
