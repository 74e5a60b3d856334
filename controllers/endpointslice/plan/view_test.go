package plan

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/endpointslice/trafficdist"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/internal/fixture"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

func TestEndpoints(t *testing.T) {
	dual := fixture.Node("catga", "dual", "10.0.0.1", "fd00::1", "10.0.0.2", "fd00::2")
	v4 := fixture.Node("catga", "v4", "10.0.0.4")
	metrics := fixture.But(v4, func(n *mirror.Node) {
		n.Ports = append(n.Ports, record.Port{Name: "metrics", Port: 9090})
	})
	tests := map[string]struct {
		service *corev1.Service
		nodes   []*mirror.Node
		want    map[string][]string
	}{
		"the first address of the Service's family": {
			fixture.Service(), []*mirror.Node{dual, v4},
			map[string][]string{
				"catga.dual": {"10.0.0.1 http/TCP/8080 ready serving"},
				"catga.v4":   {"10.0.0.4 http/TCP/8080 ready serving"},
			},
		},
		"IPv6": {
			fixture.Service(fixture.Families(corev1.IPv6Protocol)), []*mirror.Node{dual, v4},
			map[string][]string{"catga.dual": {"fd00::1 http/TCP/8080 ready serving"}},
		},
		"both families": {
			fixture.Service(fixture.Families(corev1.IPv6Protocol, corev1.IPv4Protocol)), []*mirror.Node{dual, v4},
			map[string][]string{
				"catga.dual": {"10.0.0.1 http/TCP/8080 ready serving", "fd00::1 http/TCP/8080 ready serving"},
				"catga.v4":   {"10.0.0.4 http/TCP/8080 ready serving"},
			},
		},
		"a numbered port needs none of the node's": {
			fixture.Service(fixture.Ports(corev1.ServicePort{Name: "https", Port: 443, TargetPort: intstr.FromInt32(8443), AppProtocol: new("kubernetes.io/h2c")})),
			[]*mirror.Node{v4},
			map[string][]string{"catga.v4": {"10.0.0.4 https/TCP/8443=kubernetes.io/h2c ready serving"}},
		},
		"named ports differ between nodes": {
			fixture.Service(), []*mirror.Node{v4, fixture.But(fixture.Node("catga", "b", "10.0.0.5"), fixture.Port(81))},
			map[string][]string{
				"catga.b":  {"10.0.0.5 http/TCP/81 ready serving"},
				"catga.v4": {"10.0.0.4 http/TCP/8080 ready serving"},
			},
		},
		"a named port of another protocol is another port": {
			fixture.Service(fixture.Ports(corev1.ServicePort{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP, TargetPort: intstr.FromString("http")})),
			[]*mirror.Node{v4}, map[string][]string{},
		},
		"a port that the node lacks is left out": {
			fixture.Service(fixture.Ports(
				corev1.ServicePort{Name: "http", Port: 80, TargetPort: intstr.FromString("http")},
				corev1.ServicePort{Name: "metrics", Port: 90, TargetPort: intstr.FromString("metrics")},
			)),
			[]*mirror.Node{fixture.But(metrics, func(n *mirror.Node) { n.Name = "catga.m"; n.Addresses = fixture.Node("", "", "10.0.0.9").Addresses }), v4},
			map[string][]string{
				"catga.m":  {"10.0.0.9 http/TCP/8080,metrics/TCP/9090 ready serving"},
				"catga.v4": {"10.0.0.4 http/TCP/8080 ready serving"},
			},
		},
		"headless without ports": {
			fixture.Service(fixture.Headless, fixture.Ports()), []*mirror.Node{v4},
			map[string][]string{"catga.v4": {"10.0.0.4  ready serving"}},
		},
		"phases": {
			fixture.Service(), []*mirror.Node{
				fixture.But(fixture.Node("catga", "stale", "10.0.0.1"), fixture.Phase(rollcallv1alpha1.NodeStale)),
				fixture.But(fixture.Node("catga", "draining", "10.0.0.2"), fixture.Phase(rollcallv1alpha1.NodeDraining)),
				fixture.But(fixture.Node("catga", "cordoned", "10.0.0.3"), func(n *mirror.Node) { n.Cordoned = true }),
				fixture.But(fixture.Node("catga", "expired", "10.0.0.4"), fixture.Phase(rollcallv1alpha1.NodeExpired)),
				fixture.But(fixture.Node("catga", "invalid", "10.0.0.5"), fixture.Phase(rollcallv1alpha1.NodeInvalid)),
			},
			map[string][]string{
				"catga.stale":    {"10.0.0.1 http/TCP/8080"},
				"catga.draining": {"10.0.0.2 http/TCP/8080 serving terminating"},
				"catga.cordoned": {"10.0.0.3 http/TCP/8080 serving"},
			},
		},
		"publishNotReadyAddresses": {
			fixture.Service(func(s *corev1.Service) { s.Spec.PublishNotReadyAddresses = true }), []*mirror.Node{
				fixture.But(fixture.Node("catga", "stale", "10.0.0.1"), fixture.Phase(rollcallv1alpha1.NodeStale)),
				fixture.But(fixture.Node("catga", "draining", "10.0.0.2"), fixture.Phase(rollcallv1alpha1.NodeDraining)),
				fixture.But(fixture.Node("catga", "expired", "10.0.0.4"), fixture.Phase(rollcallv1alpha1.NodeExpired)),
			},
			map[string][]string{
				"catga.stale":    {"10.0.0.1 http/TCP/8080 ready"},
				"catga.draining": {"10.0.0.2 http/TCP/8080 ready serving terminating"},
			},
		},
		"addresses that the API server refuses": {
			fixture.Service(fixture.Families(corev1.IPv4Protocol, corev1.IPv6Protocol)), []*mirror.Node{
				fixture.Node("catga", "a", "127.0.0.1", "169.254.1.1", "224.0.0.1", "0.0.0.0", "::1", "fe80::1", "ff02::1", "::"),
				fixture.Node("catga", "b", "127.0.0.1", "10.0.0.1"),
			},
			map[string][]string{"catga.b": {"10.0.0.1 http/TCP/8080 ready serving"}},
		},
		"the older of two nodes with the same address and port": {
			fixture.Service(), []*mirror.Node{
				fixture.Node("young", "x", "10.0.0.1"),
				fixture.But(fixture.Node("old", "x", "10.0.0.1"), func(n *mirror.Node) { n.FirstSeen = fixture.Epoch.Add(-1) }),
				fixture.But(fixture.Node("young", "y", "10.0.0.1"), fixture.Port(81)),
			},
			map[string][]string{
				"old.x":   {"10.0.0.1 http/TCP/8080 ready serving"},
				"young.y": {"10.0.0.1 http/TCP/81 ready serving"},
			},
		},
		"the younger keeps the ports that are its own": {
			fixture.Service(fixture.Ports(
				corev1.ServicePort{Name: "http", Port: 80, TargetPort: intstr.FromString("http")},
				corev1.ServicePort{Name: "metrics", Port: 90, TargetPort: intstr.FromString("metrics")},
			)),
			[]*mirror.Node{v4, fixture.But(metrics, func(n *mirror.Node) { n.Name = "catga.w" })},
			map[string][]string{
				"catga.v4": {"10.0.0.4 http/TCP/8080 ready serving"},
				"catga.w":  {"10.0.0.4 metrics/TCP/9090 ready serving"},
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, test.service, test.nodes...)
			c.full()
			if diff := cmp.Diff(test.want, c.shown()); diff != "" {
				t.Errorf("endpoints differ (-want +got):\n%s", diff)
			}
			if again := c.full(); len(again) > 0 {
				t.Errorf("a second full pass writes %v", verbs(again))
			}
		})
	}
}

func TestSlice(t *testing.T) {
	service := fixture.Service(fixture.Headless, func(s *corev1.Service) {
		s.Labels = map[string]string{"team": "edge", discoveryv1.LabelManagedBy: "somebody", discoveryv1.LabelServiceName: "x"}
	})
	node := fixture.But(fixture.Node("catga", "web-1", "10.0.0.1"), func(n *mirror.Node) { n.Zone = "eu-1a" })
	c := newCluster(t, service, node)
	c.full()
	got := c.list()[0]
	yes, no := true, false
	want := &discoveryv1.EndpointSlice{
		ObjectMeta:  got.ObjectMeta,
		AddressType: ipv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("http"), Protocol: new(corev1.ProtocolTCP), Port: new(int32(8080))}},
		Endpoints: []discoveryv1.Endpoint{{
			Addresses:  []string{"10.0.0.1"},
			Conditions: discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes, Terminating: &no},
			Hostname:   new("web-1"),
			Zone:       new("eu-1a"),
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the slice differs (-want +got):\n%s", diff)
	}
	wantLabels := map[string]string{
		"team": "edge", discoveryv1.LabelManagedBy: "rollcall.dev", discoveryv1.LabelServiceName: "web", corev1.IsHeadlessService: "",
	}
	if diff := cmp.Diff(wantLabels, got.Labels); diff != "" {
		t.Errorf("labels differ (-want +got):\n%s", diff)
	}
	owner := got.OwnerReferences[0]
	if owner.Kind != "Service" || owner.UID != "1" || !*owner.Controller || !*owner.BlockOwnerDeletion {
		t.Errorf("owner is %+v", owner)
	}
}

func TestHostname(t *testing.T) {
	long := strings.Repeat("a", validation.DNS1123LabelMaxLength)
	for _, id := range []string{"web-1", "1", "a--b", long, long + "a", "", "-", "Web-1", "a.b", "a_b", "-a", "a-", "ä", "a\n"} {
		want := len(validation.IsDNS1123Label(id)) == 0
		endpoint := NewView(fixture.Service()).endpoint(fixture.Node("catga", id, "10.0.0.1"), fixture.Node("", "", "10.0.0.1").Addresses[0])
		if got := endpoint.Hostname != nil; got != want {
			t.Errorf("node ID %q: has a hostname: %t, want %t", id, got, want)
		}
	}
}

// TestZoneHints holds the hints to those that Kubernetes' own controller would set.
func TestZoneHints(t *testing.T) {
	for _, distribution := range []*string{
		nil, new(corev1.ServiceTrafficDistributionPreferClose), new(corev1.ServiceTrafficDistributionPreferSameZone),
		new(corev1.ServiceTrafficDistributionPreferSameNode), new("Unknown"),
	} {
		service := fixture.Service(func(s *corev1.Service) { s.Spec.TrafficDistribution = distribution })
		zone := func(zone string) func(*mirror.Node) { return func(n *mirror.Node) { n.Zone = zone } }
		c := newCluster(t, service,
			fixture.But(fixture.Node("catga", "a", "10.0.0.1"), zone("eu-1a")),
			fixture.But(fixture.But(fixture.Node("catga", "b", "10.0.0.2"), zone("eu-1b")), fixture.Phase(rollcallv1alpha1.NodeStale)),
			fixture.Node("catga", "c", "10.0.0.3"))
		c.full()
		got := c.list()[0]
		want := got.DeepCopy()
		for i := range want.Endpoints {
			want.Endpoints[i].Hints = nil
		}
		created, _, _ := trafficdist.ReconcileHints(distribution, []*discoveryv1.EndpointSlice{want}, nil, nil)
		if diff := cmp.Diff(created[0].Endpoints, got.Endpoints); diff != "" {
			t.Errorf("trafficDistribution %v: hints differ (-want +got):\n%s", distribution, diff)
		}
	}
}

func TestZoneThatIsNoLabelHasNoHint(t *testing.T) {
	s := NewView(fixture.Service(func(s *corev1.Service) { s.Spec.TrafficDistribution = new("PreferClose") }))
	node := fixture.But(fixture.Node("catga", "a", "10.0.0.1"), func(n *mirror.Node) { n.Zone = "rack 4/Ä" })
	endpoint := s.endpoint(node, node.Addresses[0])
	if endpoint.Hints != nil || endpoint.Zone == nil || *endpoint.Zone != node.Zone {
		t.Errorf("zone %v, hints %v", endpoint.Zone, endpoint.Hints)
	}
}

// TestSameEndpoint makes sure that no field of an endpoint is overlooked: not one that exists, and not one to come.
func TestSameEndpoint(t *testing.T) {
	yes, no, text, other := true, false, "a", "b"
	full := func() *discoveryv1.Endpoint {
		return &discoveryv1.Endpoint{
			Addresses:  []string{"10.0.0.1"},
			Conditions: discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes, Terminating: &no},
			Hostname:   &text, NodeName: &text, Zone: &text,
			TargetRef:          &corev1.ObjectReference{Name: "a"},
			DeprecatedTopology: map[string]string{"a": "b"},
			Hints:              &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: "a"}}},
		}
	}
	changes := map[string]func(*discoveryv1.Endpoint){
		"Addresses":          func(e *discoveryv1.Endpoint) { e.Addresses = []string{"10.0.0.2"} },
		"Conditions":         func(e *discoveryv1.Endpoint) { e.Conditions.Ready = &no },
		"Hostname":           func(e *discoveryv1.Endpoint) { e.Hostname = &other },
		"NodeName":           func(e *discoveryv1.Endpoint) { e.NodeName = nil },
		"Zone":               func(e *discoveryv1.Endpoint) { e.Zone = nil },
		"TargetRef":          func(e *discoveryv1.Endpoint) { e.TargetRef.Name = "b" },
		"DeprecatedTopology": func(e *discoveryv1.Endpoint) { e.DeprecatedTopology = nil },
		"Hints":              func(e *discoveryv1.Endpoint) { e.Hints.ForNodes = []discoveryv1.ForNode{{Name: "a"}} },
	}
	for name, change := range changes {
		changed := full()
		change(changed)
		if sameEndpoint(full(), changed) {
			t.Errorf("a change of %s is overlooked", name)
		}
	}
	if !sameEndpoint(full(), full()) {
		t.Error("equal endpoints are taken for different ones")
	}
	for field := range reflect.TypeFor[discoveryv1.Endpoint]().Fields() {
		if changes[field.Name] == nil {
			t.Errorf("nothing is known of the field %s: compare it, and add it here", field.Name)
		}
	}
}

func TestPortless(t *testing.T) {
	var nodes []*mirror.Node
	for _, node := range fixture.Fleet(2000) {
		nodes = append(nodes, fixture.But(node, func(n *mirror.Node) { n.Ports = []record.Port{{Name: "other", Port: 1}} }))
	}
	c := newCluster(t, fixture.Service(), nodes...)
	c.full()
	portless := func() int { r := c.placement.Report(); return r.Count(NoPort) }
	if got := portless(); got != len(nodes) || len(c.slices) > 0 {
		t.Errorf("%d nodes without a port and %d slices, want %d and none", got, len(c.slices), len(nodes))
	}
	c.change([]*mirror.Node{fixture.Node("catga", "web-00000", "10.0.0.0")})
	c.change(nil, "catga.web-00001")
	c.change([]*mirror.Node{fixture.But(nodes[2], fixture.Phase(rollcallv1alpha1.NodeExpired))})
	if got := portless(); got != len(nodes)-3 {
		t.Errorf("%d nodes without a port, want %d", got, len(nodes)-3)
	}
}
