package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/rollcall-dev/rollcall/controllers/endpointslice/internal/fixture"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

func isReady(*mirror.Node) {}

// TestRank: of two nodes at one address and port one is shown, however they became what they are.
func TestRank(t *testing.T) {
	tests := map[string]struct {
		winner, loser func(*mirror.Node)
		service       func(*corev1.Service)
	}{
		"the older":                                        {winner: fixture.Older, loser: isReady},
		"the first by name":                                {winner: isReady, loser: isReady},
		"a successor of a stale node":                      {winner: isReady, loser: fixture.All(fixture.Older, fixture.Stale)},
		"a successor of a held node":                       {winner: isReady, loser: fixture.All(fixture.Older, fixture.Held)},
		"a successor of a silent node":                     {winner: isReady, loser: fixture.All(fixture.Older, fixture.Silent)},
		"blue drains, green is younger":                    {winner: isReady, loser: fixture.All(fixture.Older, fixture.Draining)},
		"one whose record is accepted":                     {winner: isReady, loser: fixture.All(fixture.Older, fixture.LastGood)},
		"one that no person has taken out":                 {winner: isReady, loser: fixture.All(fixture.Older, fixture.Cordoned)},
		"one that drains before one that is silent":        {winner: fixture.Draining, loser: fixture.All(fixture.Older, fixture.Silent)},
		"one that drains before one that is held":          {winner: fixture.Draining, loser: fixture.All(fixture.Older, fixture.Held)},
		"one that drains before one on its last good":      {winner: fixture.Draining, loser: fixture.All(fixture.Older, fixture.LastGood)},
		"a stale one before a cordoned one":                {winner: fixture.Stale, loser: fixture.All(fixture.Older, fixture.Cordoned)},
		"a cordoned one that drains is cordoned":           {winner: fixture.Stale, loser: fixture.All(fixture.Older, fixture.Cordoned, fixture.Draining)},
		"both are silent":                                  {winner: fixture.All(fixture.Older, fixture.Silent), loser: fixture.Silent},
		"both are held":                                    {winner: fixture.All(fixture.Older, fixture.Held), loser: fixture.Held},
		"both are stale":                                   {winner: fixture.All(fixture.Older, fixture.Stale), loser: fixture.Stale},
		"both drain":                                       {winner: fixture.All(fixture.Older, fixture.Draining), loser: fixture.Draining},
		"a silent one and one on its last good":            {winner: fixture.All(fixture.Older, fixture.Silent), loser: fixture.LastGood},
		"one on its last good before a superseded one":     {winner: fixture.LastGood, loser: fixture.All(fixture.Older, fixture.Stale)},
		"one that is silent and drains takes less traffic": {winner: fixture.LastGood, loser: fixture.All(fixture.Older, fixture.Silent, fixture.Draining)},
		"publishNotReadyAddresses": {
			winner: isReady, loser: fixture.All(fixture.Older, fixture.Stale),
			service: func(s *corev1.Service) { s.Spec.PublishNotReadyAddresses = true },
		},
		"two ports of the Service are one of the node": {
			winner: isReady, loser: fixture.All(fixture.Older, fixture.Stale),
			service: func(s *corev1.Service) {
				s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "web", Port: 81, TargetPort: intstr.FromString("http")})
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a, b := fixture.Node("catga", "a", "10.0.0.1", "fd00::1"), fixture.Node("catga", "b", "10.0.0.1", "fd00::1")
			winner, loser := fixture.But(a, test.winner), fixture.But(b, test.loser)
			service := fixture.Service(fixture.Families("IPv4", "IPv6"))
			if test.service != nil {
				test.service(service)
			}
			for way, reach := range map[string]func(c *cluster){
				"found so":         func(c *cluster) { c.know(winner, loser); c.full() },
				"the winner joins": func(c *cluster) { c.know(loser); c.full(); c.change([]*mirror.Node{winner}) },
				"the loser joins":  func(c *cluster) { c.know(winner); c.full(); c.change([]*mirror.Node{loser}) },
				"the winner turned": func(c *cluster) {
					c.know(fixture.But(a, fixture.Cordoned), loser)
					c.full()
					c.change([]*mirror.Node{winner})
				},
				"the loser turned": func(c *cluster) {
					c.know(winner, fixture.But(b, fixture.All(fixture.Older, fixture.Older)))
					c.full()
					c.change([]*mirror.Node{loser})
				},
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
	blue := fixture.But(fixture.Node("catga", "blue", "10.0.0.1", "10.0.0.2"), fixture.All(fixture.Older, fixture.Metrics))
	green := fixture.But(fixture.Node("catga", "green", "10.0.0.1"), fixture.All(fixture.Port(8081), fixture.Metrics))
	for name, test := range map[string]struct {
		blue, green func(*mirror.Node)
		want        map[string][]string
	}{
		"both serve": {isReady, isReady, map[string][]string{
			"catga.blue":  {"10.0.0.1 http/TCP/8080,metrics/TCP/9100 ready serving"},
			"catga.green": {"10.0.0.1 http/TCP/8081 ready serving"},
		}},
		"blue drains": {fixture.Draining, isReady, map[string][]string{
			"catga.blue":  {"10.0.0.1 http/TCP/8080 serving terminating"},
			"catga.green": {"10.0.0.1 http/TCP/8081,metrics/TCP/9100 ready serving"},
		}},
		"blue is silent": {fixture.Silent, isReady, map[string][]string{
			"catga.blue":  {"10.0.0.1 http/TCP/8080 ready serving"},
			"catga.green": {"10.0.0.1 http/TCP/8081,metrics/TCP/9100 ready serving"},
		}},
		"blue moves to its second address": {func(n *mirror.Node) { n.Addresses = n.Addresses[1:] }, isReady, map[string][]string{
			"catga.blue":  {"10.0.0.2 http/TCP/8080,metrics/TCP/9100 ready serving"},
			"catga.green": {"10.0.0.1 http/TCP/8081,metrics/TCP/9100 ready serving"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, fixture.Service(fixture.WithMetrics), blue, green)
			c.full()
			c.change([]*mirror.Node{fixture.But(blue, test.blue), fixture.But(green, test.green)})
			if diff := cmp.Diff(test.want, c.shown()); diff != "" {
				t.Errorf("endpoints differ (-want +got):\n%s", diff)
			}
			c.verify()
			c.change([]*mirror.Node{blue, green})
			c.verify()
		})
	}
}
