package endpointslice

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/endpointslice/trafficdist"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

func headless(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone }

func families(list ...corev1.IPFamily) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.IPFamilies = list }
}

func ports(list ...corev1.ServicePort) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.Ports = list }
}

func TestEndpoints(t *testing.T) {
	dual := newNode("catga", "dual", "10.0.0.1", "fd00::1", "10.0.0.2", "fd00::2")
	v4 := newNode("catga", "v4", "10.0.0.4")
	metrics := but(v4, func(n *mirror.Node) {
		n.Ports = append(n.Ports, record.Port{Name: "metrics", Port: 9090})
	})
	tests := map[string]struct {
		service *corev1.Service
		nodes   []*mirror.Node
		want    map[string][]string
	}{
		"the first address of the Service's family": {
			newService(), []*mirror.Node{dual, v4},
			map[string][]string{
				"catga.dual": {"10.0.0.1 http/TCP/8080 ready serving"},
				"catga.v4":   {"10.0.0.4 http/TCP/8080 ready serving"},
			},
		},
		"IPv6": {
			newService(families(corev1.IPv6Protocol)), []*mirror.Node{dual, v4},
			map[string][]string{"catga.dual": {"fd00::1 http/TCP/8080 ready serving"}},
		},
		"both families": {
			newService(families(corev1.IPv6Protocol, corev1.IPv4Protocol)), []*mirror.Node{dual, v4},
			map[string][]string{
				"catga.dual": {"10.0.0.1 http/TCP/8080 ready serving", "fd00::1 http/TCP/8080 ready serving"},
				"catga.v4":   {"10.0.0.4 http/TCP/8080 ready serving"},
			},
		},
		"a numbered port needs none of the node's": {
			newService(ports(corev1.ServicePort{Name: "https", Port: 443, TargetPort: intstr.FromInt32(8443), AppProtocol: new("kubernetes.io/h2c")})),
			[]*mirror.Node{v4},
			map[string][]string{"catga.v4": {"10.0.0.4 https/TCP/8443=kubernetes.io/h2c ready serving"}},
		},
		"named ports differ between nodes": {
			newService(), []*mirror.Node{v4, but(newNode("catga", "b", "10.0.0.5"), port(81))},
			map[string][]string{
				"catga.b":  {"10.0.0.5 http/TCP/81 ready serving"},
				"catga.v4": {"10.0.0.4 http/TCP/8080 ready serving"},
			},
		},
		"a named port of another protocol is another port": {
			newService(ports(corev1.ServicePort{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP, TargetPort: intstr.FromString("http")})),
			[]*mirror.Node{v4}, map[string][]string{},
		},
		"a port that the node lacks is left out": {
			newService(ports(
				corev1.ServicePort{Name: "http", Port: 80, TargetPort: intstr.FromString("http")},
				corev1.ServicePort{Name: "metrics", Port: 90, TargetPort: intstr.FromString("metrics")},
			)),
			[]*mirror.Node{but(metrics, func(n *mirror.Node) { n.Name = "catga.m"; n.Addresses = newNode("", "", "10.0.0.9").Addresses }), v4},
			map[string][]string{
				"catga.m":  {"10.0.0.9 http/TCP/8080,metrics/TCP/9090 ready serving"},
				"catga.v4": {"10.0.0.4 http/TCP/8080 ready serving"},
			},
		},
		"headless without ports": {
			newService(headless, ports()), []*mirror.Node{v4},
			map[string][]string{"catga.v4": {"10.0.0.4  ready serving"}},
		},
		"phases": {
			newService(), []*mirror.Node{
				but(newNode("catga", "stale", "10.0.0.1"), phase(rollcallv1alpha1.NodeStale)),
				but(newNode("catga", "draining", "10.0.0.2"), phase(rollcallv1alpha1.NodeDraining)),
				but(newNode("catga", "cordoned", "10.0.0.3"), func(n *mirror.Node) { n.Cordoned = true }),
				but(newNode("catga", "expired", "10.0.0.4"), phase(rollcallv1alpha1.NodeExpired)),
				but(newNode("catga", "invalid", "10.0.0.5"), phase(rollcallv1alpha1.NodeInvalid)),
			},
			map[string][]string{
				"catga.stale":    {"10.0.0.1 http/TCP/8080"},
				"catga.draining": {"10.0.0.2 http/TCP/8080 serving terminating"},
				"catga.cordoned": {"10.0.0.3 http/TCP/8080"},
			},
		},
		"publishNotReadyAddresses": {
			newService(func(s *corev1.Service) { s.Spec.PublishNotReadyAddresses = true }), []*mirror.Node{
				but(newNode("catga", "stale", "10.0.0.1"), phase(rollcallv1alpha1.NodeStale)),
				but(newNode("catga", "draining", "10.0.0.2"), phase(rollcallv1alpha1.NodeDraining)),
				but(newNode("catga", "expired", "10.0.0.4"), phase(rollcallv1alpha1.NodeExpired)),
			},
			map[string][]string{
				"catga.stale":    {"10.0.0.1 http/TCP/8080 ready"},
				"catga.draining": {"10.0.0.2 http/TCP/8080 ready serving terminating"},
			},
		},
		"addresses that the API server refuses": {
			newService(families(corev1.IPv4Protocol, corev1.IPv6Protocol)), []*mirror.Node{
				newNode("catga", "a", "127.0.0.1", "169.254.1.1", "224.0.0.1", "0.0.0.0", "::1", "fe80::1", "ff02::1", "::"),
				newNode("catga", "b", "127.0.0.1", "10.0.0.1"),
			},
			map[string][]string{"catga.b": {"10.0.0.1 http/TCP/8080 ready serving"}},
		},
		"the older of two nodes with the same address and port": {
			newService(), []*mirror.Node{
				newNode("young", "x", "10.0.0.1"),
				but(newNode("old", "x", "10.0.0.1"), func(n *mirror.Node) { n.FirstSeen = epoch.Add(-1) }),
				but(newNode("young", "y", "10.0.0.1"), port(81)),
			},
			map[string][]string{
				"old.x":   {"10.0.0.1 http/TCP/8080 ready serving"},
				"young.y": {"10.0.0.1 http/TCP/81 ready serving"},
			},
		},
		"the younger keeps the ports that are its own": {
			newService(ports(
				corev1.ServicePort{Name: "http", Port: 80, TargetPort: intstr.FromString("http")},
				corev1.ServicePort{Name: "metrics", Port: 90, TargetPort: intstr.FromString("metrics")},
			)),
			[]*mirror.Node{v4, but(metrics, func(n *mirror.Node) { n.Name = "catga.w" })},
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
	service := newService(headless, func(s *corev1.Service) {
		s.Labels = map[string]string{"team": "edge", discoveryv1.LabelManagedBy: "somebody", discoveryv1.LabelServiceName: "x"}
	})
	node := but(newNode("catga", "web-1", "10.0.0.1"), func(n *mirror.Node) { n.Zone = "eu-1a" })
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
			TargetRef: &corev1.ObjectReference{
				APIVersion: "rollcall.dev/v1alpha1", Kind: "DiscoveredNode", Namespace: namespace, Name: "catga.web-1",
			},
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
	for id, want := range map[string]bool{"web-1": true, "1": true, "Web-1": false, "a.b": false, "a_b": false, "-a": false} {
		endpoint := newShape(newService()).endpoint(newNode("catga", id, "10.0.0.1"), newNode("", "", "10.0.0.1").Addresses[0])
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
		service := newService(func(s *corev1.Service) { s.Spec.TrafficDistribution = distribution })
		zone := func(zone string) func(*mirror.Node) { return func(n *mirror.Node) { n.Zone = zone } }
		c := newCluster(t, service,
			but(newNode("catga", "a", "10.0.0.1"), zone("eu-1a")),
			but(but(newNode("catga", "b", "10.0.0.2"), zone("eu-1b")), phase(rollcallv1alpha1.NodeStale)),
			newNode("catga", "c", "10.0.0.3"))
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
	s := newShape(newService(func(s *corev1.Service) { s.Spec.TrafficDistribution = new("PreferClose") }))
	node := but(newNode("catga", "a", "10.0.0.1"), func(n *mirror.Node) { n.Zone = "rack 4/Ä" })
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
	nodes := fleet(2000)
	for i := range nodes {
		nodes[i] = but(nodes[i], func(n *mirror.Node) { n.Ports[0] = record.Port{Name: "other", Port: 1} })
	}
	names := func(n int) *placement {
		set := map[string]struct{}{}
		for _, node := range nodes[:n] {
			set[node.Name] = struct{}{}
		}
		return &placement{portless: set}
	}
	messages := map[string]struct{}{}
	for n := 1; n <= len(nodes); n++ {
		o := synced(names(n))
		if o.status != "False" || o.reason != rollcallv1alpha1.ReasonPortNotFound {
			t.Fatalf("%d nodes without a port: %+v", n, o)
		}
		messages[o.message] = struct{}{}
	}
	if len(messages) > 10 {
		t.Errorf("%d messages on the way to %d nodes", len(messages), len(nodes))
	}
	want := "Nodes that have none of the Service's target ports, and so no endpoint: catga.web-00000, catga.web-00001."
	if got := synced(names(2)).message; got != want {
		t.Errorf("message is %q, want %q", got, want)
	}
	want = "More than 100 nodes have none of the Service's target ports, and so no endpoint."
	if got := synced(names(999)).message; got != want {
		t.Errorf("message is %q, want %q", got, want)
	}

	c := newCluster(t, newService(), nodes...)
	c.full()
	if got := len(c.placement.portless); got != len(nodes) || len(c.slices) > 0 {
		t.Errorf("%d nodes without a port and %d slices, want %d and none", got, len(c.slices), len(nodes))
	}
	c.change([]*mirror.Node{newNode("catga", "web-00000", "10.0.0.0")})
	c.change(nil, "catga.web-00001")
	c.change([]*mirror.Node{but(nodes[2], phase(rollcallv1alpha1.NodeExpired))})
	if got := slices.Sorted(maps.Keys(c.placement.portless)); len(got) != len(nodes)-3 || got[0] != "catga.web-00003" {
		t.Errorf("%d nodes without a port, the first is %s", len(got), got[0])
	}
}
