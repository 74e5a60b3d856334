package endpointslice

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/internal/fixture"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/plan"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

// said returns the outcome for a Service that is new and selects those nodes.
func said(service *corev1.Service, around *surroundings, nodes ...*mirror.Node) *outcome {
	lookup := func(name string) (*mirror.Node, bool) {
		return nodes[slices.IndexFunc(nodes, func(n *mirror.Node) bool { return n.Name == name })], false
	}
	p, _ := plan.Build(plan.NewView(service), nil, nil, slices.Values(nodes), plan.Nodes{Lookup: lookup}, newTracker())
	r := p.Report()
	return compose(counts(service, &r, 0), remarks(service, &r, around))
}

// several returns nodes that have all the changes.
func several(n int, change ...func(*mirror.Node)) (nodes []*mirror.Node) {
	for _, node := range fixture.Fleet(n) {
		nodes = append(nodes, fixture.But(node, fixture.All(change...)))
	}
	return nodes
}

func portless(n *mirror.Node) { n.Ports = []record.Port{{Name: "other", Port: 1}} }

func zoned(n *mirror.Node) { n.Zone = "eu-1a" }

func because(phase rollcallv1alpha1.NodePhase, reason string) func(*mirror.Node) {
	return func(n *mirror.Node) { n.Phase, n.Reason = phase, reason }
}

func internally(policy corev1.ServiceInternalTrafficPolicy) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.InternalTrafficPolicy = &policy }
}

func distributed(s *corev1.Service) {
	s.Spec.TrafficDistribution = new(corev1.ServiceTrafficDistributionPreferSameZone)
}

// TestOutcome: whatever keeps a Service from having ready endpoints, or spoils those that it has, is told with a reason of its own.
func TestOutcome(t *testing.T) {
	const (
		yes, no     = metav1.ConditionTrue, metav1.ConditionFalse
		stale       = rollcallv1alpha1.NodeStale
		expired     = rollcallv1alpha1.NodeExpired
		invalid     = rollcallv1alpha1.NodeInvalid
		heartbeat   = rollcallv1alpha1.ReasonHeartbeating
		none        = "0 ready, of 0 selected. "
		threeReady  = "3 ready, of 3 selected"
		localInside = "internalTrafficPolicy is Local, and no endpoint is on a node of the cluster, so nothing that is sent to the Service's cluster IP arrives: set it to Cluster."
	)
	type nodes = []*mirror.Node
	tests := map[string]struct {
		service *corev1.Service
		around  surroundings
		nodes   nodes
		status  metav1.ConditionStatus
		reason  string
		message string // What it begins with.
		also    string // What it has as well.
	}{
		"all is well": {nodes: several(3), status: yes, reason: rollcallv1alpha1.ReasonSynced, message: threeReady + "."},
		"some nodes have troubles": {
			service: fixture.Service(fixture.Families("IPv6")),
			nodes: nodes{
				fixture.Node("reg", "a", "fd00::1"), fixture.Node("reg", "b", "fd00::2"), fixture.Node("reg", "c", "fd00::3"),
				fixture.But(fixture.Node("reg", "d", "fd00::4"), fixture.Stale), fixture.But(fixture.Node("reg", "e", "fd00::5"), fixture.Cordoned),
				fixture.Node("reg", "f", "10.0.0.6"), fixture.But(fixture.Node("reg", "g", "fd00::7"), portless),
			},
			status: yes, reason: rollcallv1alpha1.ReasonSynced,
			message: "3 ready, 2 not, of 7 selected: 1 is Stale, 1 is cordoned, 1 has no IPv6 address (reg.f), 1 lacks port http (reg.g).",
		},
		"every finding of a node that takes traffic": {
			nodes: append(several(3), fixture.But(fixture.Node("reg", "a", "10.9.0.1"), fixture.Held), fixture.But(fixture.Node("reg", "b", "10.9.0.2"), fixture.LastGood),
				fixture.But(fixture.Node("reg", "c", "10.9.0.3"), fixture.Flapping)),
			status: yes, reason: rollcallv1alpha1.ReasonSynced,
			message: "6 ready, of 6 selected: 1 is flapping, 1 is silent and held, 1 lives on its last good record.",
		},
		"no node at all": {
			status: yes, reason: rollcallv1alpha1.ReasonNoNodes, message: none + "There is no node that the annotation could select: kubectl -n fleet get noderegistries",
		},
		"the selector matches nothing": {
			around: surroundings{candidates: otherCandidates}, status: yes, reason: rollcallv1alpha1.ReasonNoNodes,
			message: none + "There are nodes, but none has the labels that the annotation selects (role=web): correct it, or spec.labels",
		},
		"the selector matches nothing since all records are refused": {
			around: surroundings{candidates: refusedCandidates}, status: yes, reason: rollcallv1alpha1.ReasonAllRefused, message: none + "Every record is refused",
		},
		"a missing registry": {
			around: surroundings{missing: "catga", unlisted: []string{"other"}}, status: no, reason: rollcallv1alpha1.ReasonRegistryNotFound,
			message: none + `NodeRegistry "catga", which the annotation rollcall.dev/node-selector selects, does not exist`,
		},
		"a registry that is not listed": {
			around: surroundings{unlisted: []string{"catga"}}, status: no, reason: rollcallv1alpha1.ReasonRegistryNotListed,
			message: none + "NodeRegistry catga has not been listed since the manager started",
		},
		"a registry that is not listed, beside nodes": {
			around: surroundings{unlisted: []string{"catga"}}, nodes: several(3), status: yes, reason: rollcallv1alpha1.ReasonRegistryNotListed,
			message: threeReady + ". NodeRegistry catga has not been listed",
		},
		"a registry that is not listed, beside nodes of which none is ready": {
			around: surroundings{unlisted: []string{"catga"}}, nodes: append(several(1, fixture.Stale), fixture.But(fixture.Node("reg", "b", "10.0.1.1"), fixture.Cordoned)),
			status: no, reason: rollcallv1alpha1.ReasonRegistryNotListed, message: "0 ready, 2 not, of 2 selected: 1 is Stale, 1 is cordoned. NodeRegistry catga",
		},
		"IPv6 over IPv4 nodes": {
			service: fixture.Service(fixture.Families("IPv6")), nodes: several(3), status: yes, reason: rollcallv1alpha1.ReasonAddressFamilyNotFound,
			message: "0 ready, of 3 selected: 3 have no IPv6 address (catga.web-00000, catga.web-00001, catga.web-00002). " +
				"No endpoint is ready, since the Service is IPv6 only and no node has such an address: ",
		},
		"a headless IPv6 Service over IPv4 nodes": {
			service: fixture.Service(fixture.Headless, fixture.Families("IPv6")), nodes: several(4), status: yes, reason: rollcallv1alpha1.ReasonAddressFamilyNotFound,
			message: "0 ready, of 4 selected: 4 have no IPv6 address. No endpoint",
		},
		"dual stack over IPv4 nodes": {
			service: fixture.Service(fixture.Families("IPv4", "IPv6")), nodes: several(4), status: yes, reason: rollcallv1alpha1.ReasonAddressFamilyNotFound,
			message: "4 ready, of 4 selected: 4 have no IPv6 address. No node has an IPv6 address, so that family of the Service has no endpoint: ",
		},
		"dual stack over some IPv4 nodes": {
			service: fixture.Service(fixture.Families("IPv4", "IPv6")), nodes: nodes{fixture.Node("reg", "a", "10.0.0.1"), fixture.Node("reg", "b", "10.0.0.2", "fd00::2")},
			status: yes, reason: rollcallv1alpha1.ReasonSynced, message: "2 ready, of 2 selected: 1 has no IPv6 address (reg.a).",
		},
		"headless dual stack over IPv4 nodes": {
			service: fixture.Service(fixture.Headless, fixture.Families("IPv4", "IPv6")), nodes: several(3), status: yes, reason: rollcallv1alpha1.ReasonSynced,
			message: threeReady + ".",
		},
		"no node has the port": {
			nodes: several(2, portless), status: yes, reason: rollcallv1alpha1.ReasonPortNotFound,
			message: "0 ready, of 2 selected: 2 lack port http (catga.web-00000, catga.web-00001). No endpoint is ready, since no node has a port that a targetPort",
		},
		"one node lacks the port": {
			nodes: append(several(2), fixture.But(fixture.Node("reg", "x", "10.9.9.9"), portless)), status: yes, reason: rollcallv1alpha1.ReasonSynced,
			message: "2 ready, of 3 selected: 1 lacks port http (reg.x).",
		},
		"nodes lack one of two ports": {
			service: fixture.Service(fixture.WithMetrics), nodes: append(several(2), fixture.But(fixture.Node("reg", "x", "10.9.9.9"), fixture.Metrics)),
			status: yes, reason: rollcallv1alpha1.ReasonSynced, message: "3 ready, of 3 selected: 2 lack port metrics (catga.web-00000, catga.web-00001).",
		},
		"the port has another protocol": {
			service: fixture.Service(fixture.Ports(udp("http"))), nodes: several(2), status: yes, reason: rollcallv1alpha1.ReasonPortNotFound,
			message: "0 ready, of 2 selected: 2 lack port http/UDP (catga.web-00000, catga.web-00001), 2 have such a port with another protocol. No endpoint",
		},
		"a port by its number": {
			service: fixture.Service(fixture.Ports(corev1.ServicePort{Port: 80, TargetPort: intstr.FromInt32(8080)})), nodes: several(3, portless),
			status: yes, reason: rollcallv1alpha1.ReasonSynced, message: threeReady + ".",
		},
		"no ports": {
			service: fixture.Service(fixture.Headless, fixture.Ports()), nodes: several(3, portless), status: yes, reason: rollcallv1alpha1.ReasonSynced, message: threeReady + ".",
		},
		"all Stale":      {nodes: several(3, fixture.Stale), status: yes, reason: rollcallv1alpha1.ReasonAllStale, message: "0 ready, 3 not, of 3 selected: 3 are Stale. No endpoint is ready, since every node is Stale"},
		"all expired":    {nodes: several(3, because(expired, rollcallv1alpha1.ReasonExpired)), status: yes, reason: rollcallv1alpha1.ReasonAllExpired, message: "0 ready, of 3 selected: 3 are Expired. No"},
		"all superseded": {nodes: several(3, because(expired, rollcallv1alpha1.ReasonSuperseded)), status: yes, reason: rollcallv1alpha1.ReasonAllDisplaced, message: "0 ready, of 3 selected: 3 were superseded. No"},
		"all records refused": {
			nodes: several(3, because(invalid, rollcallv1alpha1.ReasonInvalidRecord)), status: yes, reason: rollcallv1alpha1.ReasonAllRefused,
			message: "0 ready, of 3 selected: 3 have records that are refused. No endpoint is ready, since every record is refused",
		},
		"all addresses refused": {
			nodes: several(3, because(invalid, rollcallv1alpha1.ReasonAddressRefused)), status: yes, reason: rollcallv1alpha1.ReasonAllRefused,
			message: "0 ready, of 3 selected: 3 have addresses that are refused. No endpoint is ready, since every address is refused",
		},
		"all cordoned": {nodes: several(3, fixture.Cordoned), status: yes, reason: rollcallv1alpha1.ReasonAllCordoned, message: "0 ready, 3 not, of 3 selected: 3 are cordoned. No"},
		"all draining": {nodes: several(3, fixture.Draining), status: yes, reason: rollcallv1alpha1.ReasonAllDraining, message: "0 ready, 3 not, of 3 selected: 3 are draining. No"},
		"all flapping": {nodes: several(3, fixture.Stale, fixture.Flapping, because(stale, heartbeat)), status: yes, reason: rollcallv1alpha1.ReasonAllFlapping, message: "0 ready, 3 not, of 3 selected: 3 are flapping. No"},
		"several causes": {
			nodes: append(several(2, fixture.Stale), fixture.But(fixture.Node("reg", "x", "10.9.9.9"), fixture.Cordoned)), status: yes, reason: rollcallv1alpha1.ReasonNoReadyEndpoint,
			message: "0 ready, 3 not, of 3 selected: 2 are Stale, 1 is cordoned. No endpoint is ready: kubectl -n fleet get discoverednodes",
		},
		"all held": {
			nodes: several(3, fixture.Held), status: yes, reason: rollcallv1alpha1.ReasonAllHeld,
			message: "3 ready, of 3 selected: 3 are silent and held. Every ready endpoint is that of a node that is silent",
		},
		"not ready, but published": {
			service: fixture.Service(func(s *corev1.Service) { s.Spec.PublishNotReadyAddresses = true }), nodes: several(3, fixture.Stale), status: yes, reason: rollcallv1alpha1.ReasonSynced,
			message: "0 ready, 3 not but published as ready for publishNotReadyAddresses, of 3 selected: 3 are Stale.",
		},
		"one loses its address": {
			nodes: nodes{fixture.Node("reg", "a", "10.0.0.5"), fixture.Node("reg", "b", "10.0.0.5")}, status: yes, reason: rollcallv1alpha1.ReasonAddressShared,
			message: "1 ready, of 2 selected: 1 gives way to another node at its address (reg.b). Several nodes give the same address and port; " +
				"give each its own, unless they are one server: 10.0.0.5:8080/TCP is shown for reg.a and not for reg.b.",
		},
		"a winner that is not ready": {
			nodes:  nodes{fixture.But(fixture.Node("reg", "a", "10.0.0.5"), fixture.Cordoned), fixture.But(fixture.Node("reg", "b", "10.0.0.5"), fixture.Stale)},
			status: yes, reason: rollcallv1alpha1.ReasonNoReadyEndpoint, message: "0 ready, 1 not, of 2 selected: 1 is Stale, 1 is cordoned. No",
		},
		"internalTrafficPolicy": {
			service: fixture.Service(internally(corev1.ServiceInternalTrafficPolicyLocal)), nodes: several(3), status: yes, reason: rollcallv1alpha1.ReasonTrafficPolicyLocal,
			message: threeReady + ". " + localInside,
		},
		"internalTrafficPolicy of a headless Service": {
			service: fixture.Service(fixture.Headless, internally(corev1.ServiceInternalTrafficPolicyLocal)), nodes: several(3), status: yes,
			reason: rollcallv1alpha1.ReasonSynced, message: threeReady + ".",
		},
		"externalTrafficPolicy": {
			service: fixture.Service(internally(corev1.ServiceInternalTrafficPolicyCluster), func(s *corev1.Service) {
				s.Spec.Type, s.Spec.ExternalTrafficPolicy = corev1.ServiceTypeLoadBalancer, corev1.ServiceExternalTrafficPolicyLocal
			}), nodes: several(3), status: yes, reason: rollcallv1alpha1.ReasonTrafficPolicyLocal,
			message: threeReady + ". externalTrafficPolicy is Local, and no endpoint is on a node of the cluster, so nothing that comes from outside arrives",
		},
		"one node without a zone": {
			service: fixture.Service(distributed), nodes: append(several(3, zoned), fixture.Node("reg", "x", "10.9.9.9")), status: yes, reason: rollcallv1alpha1.ReasonZoneHintsOff,
			message: "4 ready, of 4 selected: 1 has no zone (reg.x). trafficDistribution has no effect",
		},
		"one node without a zone that is not ready": {
			service: fixture.Service(distributed), nodes: append(several(3, zoned), fixture.But(fixture.Node("reg", "x", "10.9.9.9"), fixture.Stale)),
			status: yes, reason: rollcallv1alpha1.ReasonSynced, message: "3 ready, 1 not, of 4 selected: 1 is Stale.",
		},
		"zones where nobody asks for them": {nodes: several(3), status: yes, reason: rollcallv1alpha1.ReasonSynced, message: threeReady + "."},
		"several troubles": {
			service: fixture.Service(distributed, internally(corev1.ServiceInternalTrafficPolicyLocal)), nodes: several(3, fixture.Stale), status: yes,
			reason: rollcallv1alpha1.ReasonAllStale, message: "0 ready, 3 not", also: localInside,
		},
		"a slice of somebody else": {
			around: surroundings{foreign: []remark{*written(rollcallv1alpha1.ReasonForeignSlices, "There.")}}, nodes: several(3), status: yes,
			reason: rollcallv1alpha1.ReasonForeignSlices, message: threeReady + ". There.",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.service == nil {
				test.service = fixture.Service()
			}
			o := said(test.service, &test.around, test.nodes...)
			if o.status != test.status || o.reason != test.reason || !strings.HasPrefix(o.message, test.message) || !strings.Contains(o.message, test.also) ||
				test.reason == rollcallv1alpha1.ReasonSynced && o.message != test.message {
				t.Errorf("it is %s/%s: %s\nwant %s/%s: %s", o.status, o.reason, o.message, test.status, test.reason, test.message)
			}
		})
	}
}

func udp(name string) corev1.ServicePort {
	return corev1.ServicePort{Name: name, Port: 80, Protocol: corev1.ProtocolUDP, TargetPort: intstr.FromString(name)}
}

// TestConflicts: what a node loses that heartbeats and takes traffic is told, in few words.
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
			o := said(test.service, &surroundings{}, test.nodes...)
			if test.want == "" && (o.reason != rollcallv1alpha1.ReasonSynced || strings.Contains(o.message, prefix)) ||
				test.want != "" && (o.reason != rollcallv1alpha1.ReasonAddressShared || !strings.HasSuffix(o.message, prefix+test.want)) {
				t.Errorf("the outcome is %+v, want %q", o, test.want)
			}
		})
	}
}

// TestLongMessages: long names make no long message, and what is cut off is the same whatever order the nodes come in.
func TestLongMessages(t *testing.T) {
	for name, test := range map[string]struct {
		service *corev1.Service
		node    func(id string, i int) *mirror.Node
		want    string
	}{
		"conflicts": {
			fixture.Service(), func(id string, _ int) *mirror.Node { return fixture.Node("reg", id, "10.0.0.5") }, "10.0.0.5:8080/TCP is shown for reg.",
		},
		"names": {
			fixture.Service(distributed, fixture.Families("IPv4", "IPv6")),
			func(id string, i int) *mirror.Node { return fixture.Node("reg", id, fmt.Sprintf("10.0.0.%d", i)) }, "have no IPv6 address (reg.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var nodes []*mirror.Node
			for i := range plan.MaxNamed {
				nodes = append(nodes, test.node(strings.Repeat(string(rune('a'+i)), 240), i))
			}
			messages := map[string]struct{}{}
			for range 20 {
				messages[said(test.service, &surroundings{}, nodes...).message] = struct{}{}
				nodes = append(nodes[1:], nodes[0])
			}
			for message := range messages {
				if len(message) > 1024 || !utf8.ValidString(message) || !strings.Contains(message, test.want) {
					t.Errorf("the message has %d bytes: %s", len(message), message)
				}
			}
			if len(messages) != 1 {
				t.Errorf("%d messages for the same nodes: %v", len(messages), messages)
			}
		})
	}
}

// patches counts the patches of a status, and remembers the last.
type patches struct {
	client.SubResourceWriter
	count int
	last  string
}

// statusOnly is a client of which only the status is used.
type statusOnly struct {
	client.Client
	status *patches
}

func (s statusOnly) Status() client.SubResourceWriter { return s.status }

func (p *patches) Patch(_ context.Context, o client.Object, patch client.Patch, _ ...client.SubResourcePatchOption) error {
	data, err := patch.Data(o)
	p.count, p.last = p.count+1, string(data)
	o.SetResourceVersion(strconv.Itoa(p.count + 1))
	return err
}

// TestStormOfConditions: a storm of nodes is no storm of conditions, the last word is told, and what is told already is not told again.
func TestStormOfConditions(t *testing.T) {
	for name, test := range map[string]struct {
		outcome func(i int) *outcome
		most    int
	}{
		"other counts": {func(i int) *outcome { return compose(fmt.Sprintf("%d ready.", i), nil) }, 7},
		"other reasons": {func(i int) *outcome {
			return compose("", []remark{*written([]string{"AllStale", "Synced"}[i%2], "%d", i)})
		}, 61},
		"a registry that is not listed": {func(i int) *outcome {
			return compose("", []remark{*unlisted(&surroundings{unlisted: []string{strconv.Itoa(i)}}, metav1.ConditionFalse)})
		}, 7},
		"nothing new": {func(int) *outcome { return compose("3 ready.", nil) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			clk := clocktesting.NewFakeClock(fixture.Epoch)
			p := &patches{}
			c := &Controller{client: statusOnly{status: p}, clock: clk}
			st := &state{}
			stale := fixture.Service(func(s *corev1.Service) { s.ResourceVersion = "1" })
			const storm = 600
			var after time.Duration
			for i := range storm {
				var err error
				if after, err = c.report(t.Context(), stale.DeepCopy(), st, test.outcome(i)); err != nil {
					t.Fatal(err)
				}
				clk.Step(time.Minute / storm)
			}
			if p.count > test.most {
				t.Errorf("%d patches in a minute, want at most %d", p.count, test.most)
			}
			clk.Step(after)
			last := test.outcome(storm - 1)
			for range 2 {
				if after, err := c.report(t.Context(), stale.DeepCopy(), st, last); err != nil || after > 0 {
					t.Fatalf("the last word waits for %s more: %v", after, err)
				}
			}
			if !strings.Contains(p.last, last.message) || p.count > test.most+1 {
				t.Errorf("the last word after %d patches is %s", p.count, p.last)
			}
		})
	}
}

// slicesOf is a client that lists these slices, or fails.
type slicesOf struct {
	client.Reader
	items []discoveryv1.EndpointSlice
	err   error
	looks int
}

func (s *slicesOf) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	s.looks++
	into.(*discoveryv1.EndpointSliceList).Items = slices.Clone(s.items)
	return s.err
}

func foreignSlice(name, by string, ready *bool, addresses ...string) discoveryv1.EndpointSlice {
	slice := discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelManagedBy: by}}}
	for _, address := range addresses {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: ready}})
	}
	return slice
}

// TestForeignSlices: the slices of others are told if they have ready endpoints, each kind with its cure, and the same ones always the same way.
func TestForeignSlices(t *testing.T) {
	edited := foreignSlice("mine", "", nil, "10.3.0.1")
	edited.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl-apply", Time: &metav1.Time{Time: fixture.Epoch}}}
	for name, test := range map[string]struct {
		found []discoveryv1.EndpointSlice
		want  []remark
	}{
		"none":      {},
		"not ready": {found: []discoveryv1.EndpointSlice{foreignSlice("a", ofSelector, new(bool), "10.2.0.1"), foreignSlice("b", "argo", nil)}},
		"an earlier selector": {
			found: []discoveryv1.EndpointSlice{foreignSlice("web-x", ofSelector, nil, "10.2.0.2", "10.2.0.1"), foreignSlice("web-y", ofSelector, new(true), "10.2.0.3")},
			want: []remark{*written(rollcallv1alpha1.ReasonSelectorSlicesLeft, "%s", "3 endpoints (10.2.0.1) that an earlier spec.selector left stay ready for ever beside the nodes: "+
				"kubectl -n fleet delete endpointslices -l kubernetes.io/service-name=web,endpointslice.kubernetes.io/managed-by=endpointslice-controller.k8s.io.")},
		},
		"all of them": {
			found: []discoveryv1.EndpointSlice{edited, foreignSlice("web-x", ofSelector, nil, "10.2.0.1"), foreignSlice("web-m", ofMirror, nil, "10.4.0.1")},
			want: []remark{
				*written(rollcallv1alpha1.ReasonSelectorSlicesLeft, "%s", "1 endpoint (10.2.0.1) that an earlier spec.selector left stay ready for ever beside the nodes: "+
					"kubectl -n fleet delete endpointslices -l kubernetes.io/service-name=web,endpointslice.kubernetes.io/managed-by=endpointslice-controller.k8s.io."),
				*written(rollcallv1alpha1.ReasonEndpointsMirrored, "1 endpoint (10.4.0.1) of an Endpoints object that Kubernetes mirrors stay ready for ever beside the nodes: "+
					"kubectl -n fleet delete endpoints web."),
				*written(rollcallv1alpha1.ReasonForeignSlices, "1 endpoint (10.3.0.1) in EndpointSlices that are not Rollcall's take traffic beside the nodes; mine is managed by "+
					"kubectl-apply: have that stop, or kubectl -n fleet delete endpointslice mine."),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				if got := strangers(fixture.Service(), test.found); !slices.Equal(got, test.want) {
					t.Errorf("it says %+v, want %+v", got, test.want)
				}
				slices.Reverse(test.found)
			}
		})
	}
}

// TestLooks: the slices of others are looked for soon after a pass over everything, then every 10 minutes, and every minute while there
// are some or they can't be read; what was known stays while they can't be.
func TestLooks(t *testing.T) {
	clk := clocktesting.NewFakeClock(fixture.Epoch)
	live := &slicesOf{}
	c := &Controller{live: live, clock: clk}
	f := &foreign{}
	look := func(after time.Duration) int {
		clk.Step(after)
		before := live.looks
		c.look(t.Context(), fixture.Service(), f)
		return live.looks - before
	}
	f.soon(clk.Now())
	for i, step := range []struct {
		after time.Duration
		want  int
	}{
		{lookSoon / 2, 0}, {lookSoon, 1}, {lookEvery - time.Second, 0}, {lookEvery/10 + time.Second, 1},
	} {
		if got := look(step.after); got != step.want {
			t.Fatalf("step %d: %d looks, want %d", i, got, step.want)
		}
	}
	for range 300 { // Somebody changes a slice all the time.
		f.soon(clk.Now())
		look(100 * time.Millisecond)
	}
	if most := 2 + int(30*time.Second/lookPause); live.looks > most {
		t.Errorf("%d looks, want at most %d", live.looks, most)
	}
	live.items = []discoveryv1.EndpointSlice{foreignSlice("web-x", ofSelector, nil, "10.2.0.1")}
	if look(lookEvery*11/10) != 1 || len(f.remarks) != 1 {
		t.Fatalf("it says %v", f.remarks)
	}
	live.err = errors.New("away")
	if look(lookAgain-time.Second) != 0 || look(lookAgain/10+time.Second) != 1 || len(f.remarks) != 1 {
		t.Fatalf("while they can't be read it says %v", f.remarks)
	}
	live.items, live.err = nil, nil
	if look(lookAgain*11/10) != 1 || len(f.remarks) != 0 {
		t.Fatalf("once they are gone it says %v", f.remarks)
	}
}
