package plan

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
)

// group is the slices that have the same ports, so that an endpoint may be in any of them. It also stands for those ports:
// candidates with the same ports share it, and it goes with the last that has it.
type group struct {
	key   string
	ports []discoveryv1.EndpointPort
	// claims are what an endpoint with these ports claims at its address; without ports it is the address as a whole.
	claims []claim
	// offered is true if the Service, as it is now, can have these ports.
	offered bool
	// users counts what points to the group but for slices.
	users  int
	slices []*slice
}

// claim is what only one endpoint of a Service can have at an address.
type claim struct {
	protocol corev1.Protocol
	port     int32
}

func newGroup(key string, ports []discoveryv1.EndpointPort, v *View) *group {
	g := &group{key: key, ports: ports, offered: v.offers(ports)}
	for i := range ports {
		if c := claimOf(&ports[i]); !slices.Contains(g.claims, c) {
			g.claims = append(g.claims, c)
		}
	}
	if len(ports) == 0 {
		g.claims = []claim{{}}
	}
	return g
}

func claimOf(port *discoveryv1.EndpointPort) claim {
	return claim{protocol: ptr.Deref(port.Protocol, ""), port: ptr.Deref(port.Port, 0)}
}

// fullest returns the slice with the most endpoints of those that the step does not touch and that have at least one and at most
// so many; nil if there is none.
func (g *group) fullest(most int) (best *slice) {
	for _, s := range g.slices {
		if s.draft == nil && s.size > 0 && s.size <= most && (best == nil || s.size > best.size) {
			best = s
		}
	}
	return best
}

// compare orders groups, so that operations do not depend on the order of maps.
func (g *group) compare(o *group) int { return cmp.Compare(g.key, o.key) }

// portsKey returns what sets of the same ports have in common, in whatever order they are.
func portsKey(ports []discoveryv1.EndpointPort) string {
	keys := make([]string, 0, len(ports))
	for i := range ports {
		keys = append(keys, portKey(&ports[i]))
	}
	slices.Sort(keys)
	return strings.Join(keys, ",")
}

func portKey(port *discoveryv1.EndpointPort) string {
	key := make([]byte, 0, 32)
	key = append(key, ptr.Deref(port.Name, "")...)
	key = append(key, '/')
	key = append(key, ptr.Deref(port.Protocol, "")...)
	key = append(key, '/')
	if port.Port != nil {
		key = strconv.AppendInt(key, int64(*port.Port), 10)
	}
	if port.AppProtocol != nil {
		key = append(key, '=')
		key = append(key, *port.AppProtocol...)
	}
	return string(key)
}
