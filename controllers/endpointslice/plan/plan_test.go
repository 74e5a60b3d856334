package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/internal/fixture"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

func names(nodes []*mirror.Node) []string {
	list := make([]string, 0, len(nodes))
	for _, node := range nodes {
		list = append(list, node.Name)
	}
	return list
}

func each(nodes []*mirror.Node, change func(*mirror.Node)) []*mirror.Node {
	changed := make([]*mirror.Node, 0, len(nodes))
	for _, node := range nodes {
		changed = append(changed, fixture.But(node, change))
	}
	return changed
}

// TestWrites counts what a change costs.
func TestWrites(t *testing.T) {
	stale := fixture.Phase(rollcallv1alpha1.NodeStale)
	tests := map[string]struct {
		nodes int
		// before is carried out first, uncounted.
		before, change func(*cluster, []*mirror.Node) []Operation
		want           map[Verb]int
		sizes          []int
	}{
		"one joins": {
			nodes: 150,
			change: func(c *cluster, _ []*mirror.Node) []Operation {
				return c.change([]*mirror.Node{fixture.Node("catga", "new", "10.9.9.9")})
			},
			want: map[Verb]int{Update: 1}, sizes: []int{51, 100},
		},
		"one joins where all is full": {
			nodes: 200,
			change: func(c *cluster, _ []*mirror.Node) []Operation {
				return c.change([]*mirror.Node{fixture.Node("catga", "new", "10.9.9.9")})
			},
			want: map[Verb]int{Create: 1}, sizes: []int{1, 100, 100},
		},
		"one leaves": {
			nodes:  250,
			change: func(c *cluster, n []*mirror.Node) []Operation { return c.change(nil, n[3].Name) },
			want:   map[Verb]int{Update: 1}, sizes: []int{50, 99, 100},
		},
		"the last one leaves": {
			nodes:  1,
			change: func(c *cluster, n []*mirror.Node) []Operation { return c.change(nil, n[0].Name) },
			want:   map[Verb]int{Delete: 1},
		},
		"one changes its condition": {
			nodes:  250,
			change: func(c *cluster, n []*mirror.Node) []Operation { return c.change(each(n[240:241], stale)) },
			want:   map[Verb]int{Update: 1}, sizes: []int{50, 100, 100},
		},
		"one changes its address": {
			nodes: 250,
			change: func(c *cluster, n []*mirror.Node) []Operation {
				return c.change(each(n[3:4], func(n *mirror.Node) { n.Addresses = fixture.Node("", "", "10.9.9.9").Addresses }))
			},
			want: map[Verb]int{Update: 1}, sizes: []int{50, 100, 100},
		},
		"one changes what no slice shows": {
			nodes: 250,
			change: func(c *cluster, n []*mirror.Node) []Operation {
				return c.change(each(n[3:4], func(n *mirror.Node) { n.DisplayName = "x"; n.Labels = map[string]string{"role": "web", "x": "y"} }))
			},
			want: map[Verb]int{}, sizes: []int{50, 100, 100},
		},
		"one is no longer selected": {
			nodes: 250,
			change: func(c *cluster, n []*mirror.Node) []Operation {
				return c.change(each(n[3:4], func(n *mirror.Node) { n.Labels = map[string]string{"role": "db"} }))
			},
			want: map[Verb]int{Update: 1}, sizes: []int{50, 99, 100},
		},
		"one changes its port": {
			nodes:  250,
			change: func(c *cluster, n []*mirror.Node) []Operation { return c.change(each(n[3:4], fixture.Port(81))) },
			want:   map[Verb]int{Update: 1, Create: 1}, sizes: []int{1, 50, 99, 100},
		},
		"the only one of its slice changes its port": {
			nodes:  1,
			change: func(c *cluster, n []*mirror.Node) []Operation { return c.change(each(n, fixture.Port(81))) },
			want:   map[Verb]int{Update: 1}, sizes: []int{1},
		},
		"all change their port": {
			nodes:  250,
			change: func(c *cluster, n []*mirror.Node) []Operation { return c.change(each(n, fixture.Port(81))) },
			want:   map[Verb]int{Update: 3}, sizes: []int{50, 100, 100},
		},
		"one is replaced by one with another port": {
			nodes: 1,
			change: func(c *cluster, n []*mirror.Node) []Operation {
				return c.change([]*mirror.Node{fixture.But(fixture.Node("catga", "new", "10.9.9.9"), fixture.Port(81))}, n[0].Name)
			},
			want: map[Verb]int{Update: 1}, sizes: []int{1},
		},
		"a storm in every slice": {
			nodes:  1000,
			change: func(c *cluster, n []*mirror.Node) []Operation { return c.change(each(n, stale)) },
			want:   map[Verb]int{Update: 10}, sizes: []int{100, 100, 100, 100, 100, 100, 100, 100, 100, 100},
		},
		"many join: the rest goes where there is room": {
			nodes: 130,
			change: func(c *cluster, _ []*mirror.Node) []Operation {
				return c.change(each(fixture.Fleet(160), func(n *mirror.Node) {
					n.Name = "other." + n.ID
					ip := n.Addresses[0].As4()
					ip[1] = 99
					n.Addresses = []netip.Addr{netip.AddrFrom4(ip)}
				}))
			},
			want: map[Verb]int{Update: 1, Create: 1}, sizes: []int{90, 100, 100},
		},
		"freed places are used again": {
			nodes:  200,
			before: func(c *cluster, n []*mirror.Node) []Operation { return c.change(nil, names(n[:20])...) },
			change: func(c *cluster, n []*mirror.Node) []Operation { return c.change(n[:20]) },
			want:   map[Verb]int{Update: 1}, sizes: []int{100, 100},
		},
		"those that come take the places of those that go": {
			nodes: 300,
			change: func(c *cluster, n []*mirror.Node) []Operation {
				return c.change([]*mirror.Node{fixture.Node("catga", "new", "10.9.9.9")}, n[150].Name)
			},
			want: map[Verb]int{Update: 1}, sizes: []int{100, 100, 100},
		},
		"two slices that are written anyway become one": {
			nodes: 200,
			before: func(c *cluster, n []*mirror.Node) []Operation {
				return c.change(nil, append(names(n[:49]), names(n[100:149])...)...)
			},
			change: func(c *cluster, n []*mirror.Node) []Operation { return c.change(nil, n[49].Name, n[149].Name) },
			want:   map[Verb]int{Update: 2, Delete: 1}, sizes: []int{100},
		},
		"two slices that are more than half full together stay": {
			nodes:  200,
			before: func(c *cluster, n []*mirror.Node) []Operation { return c.change(nil, names(n[:60])...) },
			change: func(c *cluster, n []*mirror.Node) []Operation { return c.change(nil, n[60].Name) },
			want:   map[Verb]int{Update: 1}, sizes: []int{39, 100},
		},
		"a slice that loses endpoints joins another with as little": {
			nodes: 200,
			before: func(c *cluster, n []*mirror.Node) []Operation {
				c.change(nil, names(n[:75])...)
				return c.change(nil, names(n[100:174])...)
			},
			change: func(c *cluster, n []*mirror.Node) []Operation { return c.change(nil, n[174].Name) },
			want:   map[Verb]int{Update: 2, Delete: 1}, sizes: []int{50},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			nodes := fixture.Fleet(test.nodes)
			c := newCluster(t, fixture.Service(), nodes...)
			c.full()
			if test.before != nil {
				test.before(c, nodes)
			}
			got := test.change(c, nodes)
			if diff := cmp.Diff(test.want, verbs(got)); diff != "" {
				t.Errorf("writes differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.sizes, c.sizes()); diff != "" {
				t.Errorf("sizes of the slices differ (-want +got):\n%s", diff)
			}
			c.verify()
		})
	}
}

func TestCold(t *testing.T) {
	c := newCluster(t, fixture.Service(), fixture.Fleet(10_000)...)
	if got := verbs(c.full()); got[Create] != 100 || len(got) != 1 {
		t.Errorf("10,000 nodes cost %v, want 100 creates", got)
	}
	if got := c.full(); len(got) > 0 {
		t.Errorf("a restart costs %v, want nothing", verbs(got))
	}
}

func TestServiceChanges(t *testing.T) {
	numbered := func(number int32) func(*corev1.Service) {
		return fixture.Ports(corev1.ServicePort{Name: "http", Port: 80, TargetPort: intstr.FromInt32(number)})
	}
	tests := map[string]struct {
		before, after *corev1.Service
		want          map[Verb]int
	}{
		"labels":     {fixture.Service(), fixture.Service(func(s *corev1.Service) { s.Labels = map[string]string{"a": "b"} }), map[Verb]int{Update: 3}},
		"headless":   {fixture.Service(), fixture.Service(fixture.Headless), map[Verb]int{Update: 3}},
		"targetPort": {fixture.Service(numbered(80)), fixture.Service(numbered(81)), map[Verb]int{Update: 3}},
		"appProtocol": {fixture.Service(), fixture.Service(func(s *corev1.Service) {
			s.Spec.Ports[0].AppProtocol = new("http")
		}), map[Verb]int{Update: 3}},
		"the port of the Service itself": {fixture.Service(), fixture.Service(func(s *corev1.Service) { s.Spec.Ports[0].Port = 8000 }), map[Verb]int{}},
		"a family more":                  {fixture.Service(), fixture.Service(fixture.Families("IPv4", "IPv6")), map[Verb]int{}},
		"another family":                 {fixture.Service(), fixture.Service(fixture.Families("IPv6")), map[Verb]int{Delete: 3}},
		"a new Service of the name":      {fixture.Service(), fixture.Service(func(s *corev1.Service) { s.UID = "2" }), map[Verb]int{Create: 3, Delete: 3}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, test.before, fixture.Fleet(250)...)
			c.full()
			c.view = NewView(test.after)
			if diff := cmp.Diff(test.want, verbs(c.full())); diff != "" {
				t.Errorf("writes differ (-want +got):\n%s", diff)
			}
			c.verify()
		})
	}
}

func TestEditsArePutBack(t *testing.T) {
	edits := map[string]func(*discoveryv1.EndpointSlice){
		"an address":            func(s *discoveryv1.EndpointSlice) { s.Endpoints[3].Addresses = []string{"10.9.9.9"} },
		"a condition":           func(s *discoveryv1.EndpointSlice) { s.Endpoints[3].Conditions.Ready = new(false) },
		"an endpoint removed":   func(s *discoveryv1.EndpointSlice) { s.Endpoints = s.Endpoints[1:] },
		"all removed":           func(s *discoveryv1.EndpointSlice) { s.Endpoints = nil },
		"an endpoint twice":     func(s *discoveryv1.EndpointSlice) { s.Endpoints = append(s.Endpoints, s.Endpoints[0]) },
		"an address of no node": func(s *discoveryv1.EndpointSlice) { s.Endpoints[3].Addresses = []string{"010.0.0.3"} },
		"a second address": func(s *discoveryv1.EndpointSlice) {
			s.Endpoints[3].Addresses = []string{s.Endpoints[3].Addresses[0], "10.9.9.9"}
		},
		"a target":               func(s *discoveryv1.EndpointSlice) { s.Endpoints[3].TargetRef = &corev1.ObjectReference{Name: "x"} },
		"a host name":            func(s *discoveryv1.EndpointSlice) { s.Endpoints[3].Hostname = new("x") },
		"the ports":              func(s *discoveryv1.EndpointSlice) { s.Ports[0].Port = new(int32(1)) },
		"no ports":               func(s *discoveryv1.EndpointSlice) { s.Ports = nil },
		"a label of the Service": func(s *discoveryv1.EndpointSlice) { s.Labels["team"] = "b" },
		"the Service's name":     func(s *discoveryv1.EndpointSlice) { s.Labels[discoveryv1.LabelServiceName] = "b" },
		"the owner":              func(s *discoveryv1.EndpointSlice) { s.OwnerReferences = nil },
		"what blocks":            func(s *discoveryv1.EndpointSlice) { s.OwnerReferences[0].BlockOwnerDeletion = nil },
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			service := fixture.Service()
			service.Labels = map[string]string{"team": "a"}
			c := newCluster(t, service, fixture.Fleet(150)...)
			c.full()
			edited := c.list()[1].DeepCopy()
			edit(edited)
			c.slices[edited.Name] = edited
			if got := verbs(c.full()); got[Update] != 1 || len(got) != 1 {
				t.Errorf("putting it back costs %v, want one update", got)
			}
			if got := c.sizes(); !slices.Equal(got, []int{50, 100}) {
				t.Errorf("the slices hold %v", got)
			}
			c.verify()
		})
	}
}

// TestWhatOthersAddStays: labels, annotations and owner references of others cost no write, and survive ours.
func TestWhatOthersAddStays(t *testing.T) {
	other := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "other", UID: "other"}
	service := fixture.Service()
	service.Labels = map[string]string{"team": "a", "tier": "front"}
	c := newCluster(t, service, fixture.Fleet(10)...)
	c.full()
	edited := c.list()[0].DeepCopy()
	edited.Labels["policy"], edited.Annotations["note"] = "theirs", "theirs"
	edited.OwnerReferences = append([]metav1.OwnerReference{other}, edited.OwnerReferences...)
	c.slices[edited.Name] = edited
	if got := verbs(c.full()); len(got) > 0 {
		t.Errorf("what others add costs %v", got)
	}

	delete(service.Labels, "tier")
	service.Labels["team"] = "b"
	c.view = NewView(service)
	edited = edited.DeepCopy()
	edited.OwnerReferences[1].Controller = nil
	c.slices[edited.Name] = edited
	if got := verbs(c.full()); got[Update] != 1 || len(got) != 1 {
		t.Errorf("other labels of the Service cost %v, want one update", got)
	}
	got := c.list()[0]
	want := map[string]string{"policy": "theirs", "team": "b", discoveryv1.LabelServiceName: "web", discoveryv1.LabelManagedBy: rollcallv1alpha1.ManagedBy}
	if diff := cmp.Diff(want, got.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if got.Annotations["note"] != "theirs" || got.Annotations[rollcallv1alpha1.AnnotationServiceLabels] != "team" {
		t.Errorf("annotations are %v", got.Annotations)
	}
	if diff := cmp.Diff([]metav1.OwnerReference{other, c.view.owner}, got.OwnerReferences); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
}

func TestSliceDeletedByHand(t *testing.T) {
	c := newCluster(t, fixture.Service(), fixture.Fleet(150)...)
	c.full()
	delete(c.slices, c.list()[0].Name)
	if got := verbs(c.full()); got[Create] != 1 || len(got) != 1 {
		t.Errorf("it costs %v, want one create", got)
	}
	c.verify()
}

func TestTooLargeASliceIsSplit(t *testing.T) {
	nodes := fixture.Fleet(150)
	c := newCluster(t, fixture.Service(), nodes...)
	c.full()
	list := c.list()
	large, small := list[0].DeepCopy(), list[1]
	large.Endpoints = append(large.Endpoints, small.Endpoints...)
	c.slices[large.Name] = large
	delete(c.slices, small.Name)
	if got := verbs(c.full()); got[Update] != 1 || got[Create] != 1 {
		t.Errorf("it costs %v, want one update and one create", got)
	}
	c.verify()
}

// TestUnsettled: an endpoint whose node is unknown stays until its registry has been listed completely.
func TestUnsettled(t *testing.T) {
	nodes := fixture.Fleet(150)
	start := func(t *testing.T) *cluster {
		t.Helper()
		before := newCluster(t, fixture.Service(), nodes...)
		before.full()
		c := newCluster(t, fixture.Service())
		c.unsettled.Insert("catga")
		for _, slice := range before.list() {
			c.adopt(slice.DeepCopy())
		}
		return c
	}
	t.Run("nothing is known", func(t *testing.T) {
		c := start(t)
		if got := c.full(); len(got) > 0 {
			t.Errorf("it costs %v", verbs(got))
		}
	})
	t.Run("nodes come back one by one", func(t *testing.T) {
		c := start(t)
		c.full()
		for _, node := range nodes[:120] {
			if got := c.change([]*mirror.Node{node}); len(got) > 0 {
				t.Fatalf("%s costs %v", node.Name, verbs(got))
			}
		}
		if got := c.change(each(nodes[120:121], fixture.Phase(rollcallv1alpha1.NodeStale))); verbs(got)[Update] != 1 {
			t.Errorf("a node that comes back stale costs %v", verbs(got))
		}
		c.unsettled.Delete("catga")
		c.full()
		if got := len(c.shown()); got != 121 {
			t.Errorf("%d nodes have endpoints after the listing, want 121", got)
		}
		c.verify()
	})
	t.Run("a known node without traffic goes", func(t *testing.T) {
		c := start(t)
		c.full()
		c.change(each(nodes[:1], fixture.Phase(rollcallv1alpha1.NodeExpired)))
		if len(c.shown()) != 150 {
			t.Errorf("%d nodes have endpoints: whose one is nobody knows that was never seen to take traffic", len(c.shown()))
		}
		c.change(nodes[:1])
		c.change(each(nodes[:1], fixture.Phase(rollcallv1alpha1.NodeExpired)))
		if _, found := c.shown()[nodes[0].Name]; found || len(c.shown()) != 149 {
			t.Errorf("%d nodes have endpoints; the expired one: %t", len(c.shown()), found)
		}
	})
	t.Run("a node becomes unknown", func(t *testing.T) {
		c := start(t)
		c.know(nodes...)
		c.full()
		if got := c.change(nil, nodes[0].Name); len(got) > 0 {
			t.Errorf("it costs %v", verbs(got))
		}
		c.unsettled.Delete("catga")
		c.full()
		if got := len(c.shown()); got != 149 {
			t.Errorf("%d nodes have endpoints after the listing, want 149", got)
		}
	})
	t.Run("a known node takes the address over", func(t *testing.T) {
		c := start(t)
		c.full()
		heir := fixture.Node("other", "x", nodes[0].Addresses[0].String())
		if got := c.change([]*mirror.Node{heir}); verbs(got)[Update] != 1 || len(got) != 1 {
			t.Errorf("it costs %v, want one update", verbs(got))
		}
		shown := c.shown()
		if shown[nodes[0].Name] != nil || shown[heir.Name] == nil || len(shown) != 150 {
			t.Errorf("%d nodes have endpoints: %v, %v", len(shown), shown[nodes[0].Name], shown[heir.Name])
		}
	})
	t.Run("the Service changes", func(t *testing.T) {
		c := start(t)
		c.view = NewView(fixture.Service(func(s *corev1.Service) { s.Labels = map[string]string{"a": "b"} }))
		if got := c.full(); verbs(got)[Update] != 2 || len(c.shown()) != 150 {
			t.Errorf("it costs %v and leaves %d nodes", verbs(got), len(c.shown()))
		}
	})
	t.Run("an endpoint of nobody waits for every registry", func(t *testing.T) {
		c := start(t)
		c.know(nodes...)
		c.unsettled.Insert("other")
		slice := c.list()[1]
		slice.Endpoints = append(slice.Endpoints, *slice.Endpoints[0].DeepCopy())
		slice.Endpoints[len(slice.Endpoints)-1].Addresses = []string{"10.9.9.9"}
		for _, registry := range []string{"catga", "other"} {
			if got := c.full(); len(got) > 0 || len(c.shown()) != 151 {
				t.Errorf("before %s is settled it costs %v and leaves %d nodes", registry, verbs(got), len(c.shown()))
			}
			c.unsettled.Delete(registry)
		}
		if got := c.full(); verbs(got)[Update] != 1 || len(c.shown()) != 150 {
			t.Errorf("it costs %v and leaves %d nodes", verbs(got), len(c.shown()))
		}
		c.verify()
	})
}

// TestJoinedMeanwhile: a node that the Mirror learns of between the two looks at it of one full pass keeps its endpoint.
func TestJoinedMeanwhile(t *testing.T) {
	c := newCluster(t, fixture.Service(), fixture.Fleet(10)...)
	c.full()
	if _, got := c.build(c.placement, func(func(*mirror.Node) bool) {}); len(got) > 0 {
		t.Errorf("it costs %v", verbs(got))
	}
}

func TestTriggerTime(t *testing.T) {
	const annotation = corev1.EndpointsLastChangeTriggerTime
	nodes := fixture.Fleet(150)
	c := newCluster(t, fixture.Service(), nodes...)
	c.full()
	if got, found := c.list()[0].Annotations[annotation]; found {
		t.Errorf("a slice that no change of a node led to has the trigger time %q", got)
	}
	at := func(d time.Duration) func(*mirror.Node) {
		return func(n *mirror.Node) { n.Changed, n.Phase = fixture.Epoch.Add(d), rollcallv1alpha1.NodeStale }
	}
	got := c.change(append(each(nodes[:1], at(2*time.Nanosecond)), each(nodes[1:2], at(time.Second))...))
	if want := "2026-11-22T20:00:00.000000002Z"; got[0].Slice.Annotations[annotation] != want || !got[0].Cause.Equal(fixture.Epoch.Add(2)) {
		t.Errorf("the trigger time is %q, caused at %s, want the earliest, %q", got[0].Slice.Annotations[annotation], got[0].Cause, want)
	}
	c.list()[0].Annotations["kept"] = "by others"
	c.view = NewView(fixture.Service(fixture.Headless))
	c.full()
	want := map[string]string{"kept": "by others"}
	if diff := cmp.Diff(want, c.list()[0].Annotations); diff != "" {
		t.Errorf("annotations after a write that no node caused (-want +got):\n%s", diff)
	}
}

// TestMovesArriveFirst: an endpoint is written where it goes before it is taken from where it was.
func TestMovesArriveFirst(t *testing.T) {
	nodes := fixture.Fleet(200)
	c := newCluster(t, fixture.Service(), nodes...)
	c.full()
	for _, op := range c.change(each(nodes[:1], fixture.Port(81))) {
		if op.Yields != (op.Verb == Update) {
			t.Errorf("the slice that gets the endpoint is created before the one that loses it is updated, but %s yields: %t", op.Verb, op.Yields)
		}
	}
	for _, op := range c.change(nil, nodes[1].Name) {
		if op.Yields {
			t.Error("a slice that only loses an endpoint waits")
		}
	}
}

// TestRemovalsWaitForNothing: what a slice loses for good is not held up by what it loses to others.
func TestRemovalsWaitForNothing(t *testing.T) {
	nodes := fixture.Fleet(200)
	for name, test := range map[string]struct {
		plan func(*cluster) []Operation
		want map[Verb]int
	}{
		"one is gone, one moves": {
			func(c *cluster) []Operation { return c.plan(each(nodes[:1], fixture.Port(81)), nodes[1].Name) },
			map[Verb]int{Create: 1, Update: 2},
		},
		"one is stale, one moves": {
			func(c *cluster) []Operation {
				return c.plan(append(each(nodes[:1], fixture.Port(81)), each(nodes[1:2], fixture.Stale)...))
			},
			map[Verb]int{Create: 1, Update: 2},
		},
		"one is stale, and moves": {
			func(c *cluster) []Operation {
				return c.plan(each(nodes[1:2], fixture.All(fixture.Port(81), fixture.Stale)))
			},
			map[Verb]int{Create: 1, Update: 1},
		},
		"one is gone, one loses its address to another slice": {
			func(c *cluster) []Operation {
				successor := fixture.But(fixture.Node("catga", "new", "10.0.0.0"), fixture.Metrics)
				return c.plan(append(each(nodes[:1], fixture.Silent), successor), nodes[1].Name)
			},
			map[Verb]int{Create: 1, Update: 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, fixture.Service(fixture.WithMetrics), nodes...)
			c.full()
			operations := test.plan(c)
			if diff := cmp.Diff(test.want, verbs(operations)); diff != "" {
				t.Errorf("writes differ (-want +got):\n%s", diff)
			}
			last := slices.DeleteFunc(slices.Clone(operations), func(op Operation) bool { return !op.Yields })
			c.execute(slices.DeleteFunc(operations, func(op Operation) bool { return op.Yields }))
			for at := range c.served() {
				if node := c.nodes[nodes[1].Name]; at.addr == nodes[1].Addresses[0] && (node == nil || node.Silent) {
					t.Errorf("%s takes no traffic and is still ready at %v", nodes[1].Name, at)
				}
			}
			c.execute(last)
			c.verify()
		})
	}
}

// TestEmptyBookkeeping: what is remembered of nodes that came and went does not pile up.
func TestEmptyBookkeeping(t *testing.T) {
	c := newCluster(t, fixture.Service(fixture.Families("IPv4", "IPv6")))
	c.full()
	for i := range 300 {
		node := fixture.But(fixture.Node("catga", strconv.Itoa(i), fmt.Sprintf("10.0.%d.%d", i>>8, i&255), fmt.Sprintf("fd00::%x", i+1)), fixture.Port(int32(i+1)))
		rival := fixture.But(node, func(n *mirror.Node) { n.Name = "other." + n.ID })
		c.change([]*mirror.Node{node, rival})
		c.change([]*mirror.Node{fixture.But(node, fixture.Stale)})
		c.change([]*mirror.Node{fixture.But(node, fixture.Older)})
		c.change(nil, node.Name, rival.Name)
	}
	f := c.placement.families[0]
	if n := len(f.candidates) + len(f.first) + len(f.conflicts) + len(f.disputed) + len(f.groups) + len(f.desired) +
		len(f.lost.lost) + len(c.placement.census.others) + len(c.slices); n > 0 {
		t.Errorf("candidates %d, addresses %d, conflicts %d, groups %d, slices %d",
			len(f.candidates), len(f.first), len(f.conflicts), len(f.groups), len(c.slices))
	}
}

func TestForeignOwnerIsNotAdopted(t *testing.T) {
	c := newCluster(t, fixture.Service(), fixture.Fleet(10)...)
	c.full()
	slice := c.list()[0].DeepCopy()
	slice.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: "web", UID: "0", Controller: new(true)}}
	c.slices[slice.Name] = slice
	if got := verbs(c.full()); got[Delete] != 1 || got[Create] != 1 {
		t.Errorf("a slice of an earlier Service of the name costs %v, want a delete and a create", got)
	}
}
