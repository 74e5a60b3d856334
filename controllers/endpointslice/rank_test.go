package endpointslice

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

func all(changes ...func(*mirror.Node)) func(*mirror.Node) {
	return func(n *mirror.Node) {
		for _, change := range changes {
			change(n)
		}
	}
}

func older(n *mirror.Node)      { n.FirstSeen = n.FirstSeen.Add(-time.Hour) }
func isSilent(n *mirror.Node)   { n.Silent = true }
func isCordoned(n *mirror.Node) { n.Cordoned = true }
func isDraining(n *mirror.Node) { n.Phase = rollcallv1alpha1.NodeDraining }
func isLastGood(n *mirror.Node) { n.Refusal = record.Fault{Reason: "NotJSON"} }
func isStale(n *mirror.Node)    { n.Phase, n.Silent = rollcallv1alpha1.NodeStale, true }
func isHeld(n *mirror.Node)     { isStale(n); n.Reason = rollcallv1alpha1.ReasonHeld }
func isReady(*mirror.Node)      {}

// withMetrics gives the Service a second port.
func withMetrics(s *corev1.Service) {
	s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{
		Name: "metrics", Port: 90, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromString("metrics"),
	})
}

// metrics gives a node a second port.
func metrics(n *mirror.Node) {
	n.Ports = append(slices.Clone(n.Ports), record.Port{Name: "metrics", Port: 9100, Protocol: corev1.ProtocolTCP})
}

// TestRank: of two nodes at one address and port one is shown, however they became what they are.
func TestRank(t *testing.T) {
	tests := map[string]struct {
		winner, loser func(*mirror.Node)
		service       func(*corev1.Service)
	}{
		"the older":                                        {winner: older, loser: isReady},
		"the first by name":                                {winner: isReady, loser: isReady},
		"a successor of a stale node":                      {winner: isReady, loser: all(older, isStale)},
		"a successor of a held node":                       {winner: isReady, loser: all(older, isHeld)},
		"a successor of a silent node":                     {winner: isReady, loser: all(older, isSilent)},
		"blue drains, green is younger":                    {winner: isReady, loser: all(older, isDraining)},
		"one whose record is accepted":                     {winner: isReady, loser: all(older, isLastGood)},
		"one that no person has taken out":                 {winner: isReady, loser: all(older, isCordoned)},
		"one that drains before one that is silent":        {winner: isDraining, loser: all(older, isSilent)},
		"one that drains before one that is held":          {winner: isDraining, loser: all(older, isHeld)},
		"one that drains before one on its last good":      {winner: isDraining, loser: all(older, isLastGood)},
		"a stale one before a cordoned one":                {winner: isStale, loser: all(older, isCordoned)},
		"a cordoned one that drains is cordoned":           {winner: isStale, loser: all(older, isCordoned, isDraining)},
		"both are silent":                                  {winner: all(older, isSilent), loser: isSilent},
		"both are held":                                    {winner: all(older, isHeld), loser: isHeld},
		"both are stale":                                   {winner: all(older, isStale), loser: isStale},
		"both drain":                                       {winner: all(older, isDraining), loser: isDraining},
		"a silent one and one on its last good":            {winner: all(older, isSilent), loser: isLastGood},
		"one on its last good before a superseded one":     {winner: isLastGood, loser: all(older, isStale)},
		"one that is silent and drains takes less traffic": {winner: isLastGood, loser: all(older, isSilent, isDraining)},
		"publishNotReadyAddresses": {
			winner: isReady, loser: all(older, isStale),
			service: func(s *corev1.Service) { s.Spec.PublishNotReadyAddresses = true },
		},
		"two ports of the Service are one of the node": {
			winner: isReady, loser: all(older, isStale),
			service: func(s *corev1.Service) {
				s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "web", Port: 81, TargetPort: intstr.FromString("http")})
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a, b := newNode("catga", "a", "10.0.0.1", "fd00::1"), newNode("catga", "b", "10.0.0.1", "fd00::1")
			winner, loser := but(a, test.winner), but(b, test.loser)
			service := newService(families("IPv4", "IPv6"))
			if test.service != nil {
				test.service(service)
			}
			for way, reach := range map[string]func(c *cluster){
				"found so":          func(c *cluster) { c.know(winner, loser); c.full() },
				"the winner joins":  func(c *cluster) { c.know(loser); c.full(); c.change([]*mirror.Node{winner}) },
				"the loser joins":   func(c *cluster) { c.know(winner); c.full(); c.change([]*mirror.Node{loser}) },
				"the winner turned": func(c *cluster) { c.know(but(a, isCordoned), loser); c.full(); c.change([]*mirror.Node{winner}) },
				"the loser turned":  func(c *cluster) { c.know(winner, but(b, all(older, older))); c.full(); c.change([]*mirror.Node{loser}) },
			} {
				c := newCluster(t, service)
				reach(c)
				if shown := c.shown(); len(shown) != 1 || len(shown[winner.Name]) < 2 {
					t.Errorf("%s: shown are %v, want %s alone, in two families", way, shown, winner.Name)
				}
				c.verify()
			}
		})
	}
}

// TestSharedPort: two processes of one machine have ports of their own, and one that both give.
func TestSharedPort(t *testing.T) {
	blue := but(newNode("catga", "blue", "10.0.0.1", "10.0.0.2"), all(older, metrics))
	green := but(newNode("catga", "green", "10.0.0.1"), all(port(8081), metrics))
	for name, test := range map[string]struct {
		blue, green func(*mirror.Node)
		want        map[string][]string
	}{
		"both serve": {isReady, isReady, map[string][]string{
			"catga.blue":  {"10.0.0.1 http/TCP/8080,metrics/TCP/9100 ready serving"},
			"catga.green": {"10.0.0.1 http/TCP/8081 ready serving"},
		}},
		"blue drains": {isDraining, isReady, map[string][]string{
			"catga.blue":  {"10.0.0.1 http/TCP/8080 serving terminating"},
			"catga.green": {"10.0.0.1 http/TCP/8081,metrics/TCP/9100 ready serving"},
		}},
		"blue is silent": {isSilent, isReady, map[string][]string{
			"catga.blue":  {"10.0.0.1 http/TCP/8080 ready serving"},
			"catga.green": {"10.0.0.1 http/TCP/8081,metrics/TCP/9100 ready serving"},
		}},
		"blue moves to its second address": {func(n *mirror.Node) { n.Addresses = n.Addresses[1:] }, isReady, map[string][]string{
			"catga.blue":  {"10.0.0.2 http/TCP/8080,metrics/TCP/9100 ready serving"},
			"catga.green": {"10.0.0.1 http/TCP/8081,metrics/TCP/9100 ready serving"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, newService(withMetrics), blue, green)
			c.full()
			c.change([]*mirror.Node{but(blue, test.blue), but(green, test.green)})
			if diff := cmp.Diff(test.want, c.shown()); diff != "" {
				t.Errorf("endpoints differ (-want +got):\n%s", diff)
			}
			c.verify()
			c.change([]*mirror.Node{blue, green})
			c.verify()
		})
	}
}

// TestConflicts: what a node loses that heartbeats and takes traffic is told, in few messages.
func TestConflicts(t *testing.T) {
	same := func(id string, change ...func(*mirror.Node)) *mirror.Node {
		return but(newNode("reg", id, "10.0.0.5", "fd00::5"), all(change...))
	}
	const prefix = "Several nodes give the same address and port; give each its own, unless they are one server: "
	tests := map[string]struct {
		service *corev1.Service
		nodes   []*mirror.Node
		want    string
	}{
		"a shared port": {
			newService(withMetrics), []*mirror.Node{same("b", port(81), metrics), same("a", metrics)},
			"10.0.0.5:9100/TCP is shown for reg.a and not for reg.b.",
		},
		"two families": {
			newService(families("IPv4", "IPv6")), []*mirror.Node{same("b"), same("a")},
			"10.0.0.5:8080/TCP is shown for reg.a and not for reg.b, [fd00::5]:8080/TCP is shown for reg.a and not for reg.b.",
		},
		"no ports": {
			newService(headless, ports()), []*mirror.Node{same("b"), same("a")},
			"10.0.0.5 is shown for reg.a and not for reg.b.",
		},
		"two losers": {
			newService(), []*mirror.Node{same("a"), same("b"), same("c", older)},
			"10.0.0.5:8080/TCP is shown for reg.c and not for reg.a, 10.0.0.5:8080/TCP is shown for reg.c and not for reg.b.",
		},
		"more than there is room for": {
			newService(), []*mirror.Node{same("a"), same("b"), same("c"), same("d"), same("e"), same("f")},
			"10.0.0.5:8080/TCP is shown for reg.a and not for reg.b, 10.0.0.5:8080/TCP is shown for reg.a and not for reg.c, " +
				"10.0.0.5:8080/TCP is shown for reg.a and not for reg.d, and 2 more.",
		},
		"the loser lives on its last good record": {
			newService(), []*mirror.Node{same("a", older, isLastGood), same("b")},
			"10.0.0.5:8080/TCP is shown for reg.b and not for reg.a.",
		},
		"the loser is silent":   {service: newService(), nodes: []*mirror.Node{same("a", older, isSilent), same("b")}},
		"the loser is held":     {service: newService(), nodes: []*mirror.Node{same("a", older, isHeld), same("b")}},
		"the loser is stale":    {service: newService(), nodes: []*mirror.Node{same("a", older, isStale), same("b")}},
		"the loser drains":      {service: newService(), nodes: []*mirror.Node{same("a", older, isDraining), same("b")}},
		"the loser is cordoned": {service: newService(), nodes: []*mirror.Node{same("a", older, isCordoned), same("b")}},
		"a port of its own":     {service: newService(), nodes: []*mirror.Node{same("a"), same("b", port(81))}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, test.service, test.nodes...)
			c.full()
			want := &outcome{"True", rollcallv1alpha1.ReasonAddressShared, prefix + test.want}
			if test.want == "" {
				want = synced(newPlacement(c.shape))
			}
			if got := synced(c.placement); *got != *want {
				t.Errorf("the outcome is %+v, want %+v", got, want)
			}
		})
	}
}

// TestLongConflicts: long names make no long message, and what is cut off is the same whatever order the nodes come in.
func TestLongConflicts(t *testing.T) {
	var nodes []*mirror.Node
	for i := range namedNodes + 1 {
		nodes = append(nodes, newNode("reg", strings.Repeat(string(rune('a'+i)), 240), "10.0.0.5"))
	}
	messages := map[string]struct{}{}
	for range 20 {
		c := newCluster(t, newService(), nodes...)
		c.full()
		messages[synced(c.placement).message] = struct{}{}
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

// TestManyConflicts: a storm of nodes behind one address is no storm of conditions.
func TestManyConflicts(t *testing.T) {
	c := newCluster(t, newService(), newNode("a", "first", "10.0.0.5"))
	c.full()
	messages := map[string]struct{}{}
	for i := range 2000 {
		c.change([]*mirror.Node{newNode("reg", strconv.Itoa(i), "10.0.0.5")})
		o := synced(c.placement)
		if o.reason != rollcallv1alpha1.ReasonAddressShared {
			t.Fatalf("%d nodes behind one address: %+v", i+2, o)
		}
		messages[o.message] = struct{}{}
	}
	if len(messages) != namedNodes+4 {
		t.Errorf("%d messages on the way to 2000 nodes, want one each for up to %d, and for more than 5, 10, 100 and 1000",
			len(messages), namedNodes)
	}
	want := "More than 1000 ports of nodes are shown for another node that gives the same address. " +
		"Give each node its own, unless they are one server."
	if got := synced(c.placement).message; got != want {
		t.Errorf("the message is %q, want %q", got, want)
	}
}
