package plan

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// Finding is something that is true of a node that the Service selects, and that there is to say of it.
type Finding uint8

// The findings. Up to Flapping they may be why a node has no ready endpoint.
const (
	// Expired: the node is dead.
	Expired Finding = iota
	// Superseded: it is silent, and others have registered where it was.
	Superseded
	// Refused: it never wrote a record that was accepted.
	Refused
	// AddressRefused: all its addresses are refused.
	AddressRefused
	// NoPort: it has none of the Service's target ports.
	NoPort
	// Displaced: another node is shown in its place.
	Displaced
	// Stale: it is silent.
	Stale
	// Cordoned: a person has taken it out of rotation.
	Cordoned
	// Draining: it asked for no new traffic.
	Draining
	// Flapping: it changes too often.
	Flapping
	// NoIPv4 and NoIPv6: it has no address in that family of the Service.
	NoIPv4
	NoIPv6
	// LacksPort: it has not all of the Service's target ports.
	LacksPort
	// WrongProtocol: it has a target port with another protocol only.
	WrongProtocol
	// NoZone: it has no zone that a hint can name, so that nobody follows the hints of the others.
	NoZone
	// Held: it is silent and takes traffic nevertheless.
	Held
	// LastGood: it lives on its last good record.
	LastGood
	// Unconfirmed: nothing is known of the node, whose endpoint stays until its registry is listed.
	Unconfirmed
	findings
)

// named are the findings that only the Service has, so that a report names nodes.
const named = 1<<LacksPort | 1<<Displaced | 1<<NoIPv4 | 1<<NoIPv6 | 1<<NoZone

// onlyReady are the findings of nodes with a ready endpoint.
const onlyReady = 1<<Held | 1<<NoZone

// MaxNamed is how many nodes a Report names for one finding at most; of more it names none.
const MaxNamed = 3

// Report is what there is to say of a Placement.
type Report struct {
	// Selected counts the nodes that the Service selects, Ready those with an endpoint that takes traffic, and NotReady those with
	// one that takes none.
	Selected, Ready, NotReady int
	// Conflicts are the claims that nodes make in vain which heartbeat and take traffic, if they are few; Lost counts them all.
	Conflicts []Conflict
	Lost      int

	counts   [findings]int
	names    [findings][]string
	lacking  []Lacking
	families []discoveryv1.AddressType
	// judged counts the nodes of which it is known in which families they have an address.
	judged int
}

// Lacking counts the nodes that lack a target port that other nodes may have.
type Lacking struct {
	Port  string
	Nodes int
}

// Conflict is a claim that a node makes in vain.
type Conflict struct {
	// Claim is the address and port, for example "10.0.0.5:9100/TCP".
	Claim         string
	Winner, Loser string
}

// Count returns how many nodes have the finding.
func (r *Report) Count(f Finding) int { return r.counts[f] }

// Names returns those nodes, sorted, if there are few.
func (r *Report) Names(f Finding) []string { return r.names[f] }

// Lacking returns the target ports that nodes lack, in the order of the Service's ports.
func (r *Report) Lacking() []Lacking { return r.lacking }

// Families returns the Service's families.
func (r *Report) Families() []discoveryv1.AddressType { return r.families }

// Nobody returns true if no node has an address in the family.
func (r *Report) Nobody(family discoveryv1.AddressType) bool {
	return r.judged > 0 && r.counts[lacks(family)] == r.judged
}

func lacks(family discoveryv1.AddressType) Finding {
	if family == discoveryv1.AddressTypeIPv6 {
		return NoIPv6
	}
	return NoIPv4
}

// maxPorts is how many of a Service's target ports are counted apart.
const maxPorts = 32

// verdict is what a census knows of a node.
type verdict struct {
	findings, lacking uint32
	// ready is true if the node has an endpoint that takes traffic, shown if it has any, and first if the first family has a
	// candidate of it.
	ready, shown, first bool
	// judged is true if it is known in which families the node has an address.
	judged bool
}

func (v *verdict) find(f Finding) { v.findings |= 1 << f }

// ordinary returns true if there is nothing to say of the node: it takes traffic in every family.
func (v *verdict) ordinary() bool {
	return *v == verdict{ready: true, shown: true, first: true, judged: true}
}

// census counts the nodes that a Service selects. It holds those only of which there is something to say, so that it costs
// little where all is well, and a node that changes costs the same whatever the others are.
type census struct {
	others map[string]verdict
	counts [findings]int
	names  [findings]sets.Set[string]
	// lacking counts the nodes that lack each target port.
	lacking                     [maxPorts]int
	ready, shown, first, judged int
}

// put makes the verdict that of the node. It is nil for one that the Service does not select.
func (c *census) put(name string, next *verdict) {
	if before, found := c.others[name]; found {
		c.add(name, before, -1)
		delete(c.others, name)
	}
	if next == nil || next.ordinary() {
		return
	}
	if c.others == nil {
		c.others = map[string]verdict{}
	}
	c.others[name] = *next
	c.add(name, *next, 1)
}

func (c *census) add(name string, v verdict, n int) {
	for f := range findings {
		if v.findings>>f&1 == 0 {
			continue
		}
		c.counts[f] += n
		switch {
		case named>>f&1 == 0:
		case n < 0:
			delete(c.names[f], name)
		default:
			if c.names[f] == nil {
				c.names[f] = sets.New[string]()
			}
			c.names[f].Insert(name)
		}
	}
	for i := range maxPorts {
		c.lacking[i] += n * int(v.lacking>>i&1)
	}
	c.ready += n * one(v.ready)
	c.shown += n * one(v.shown)
	c.first += n * one(v.first)
	c.judged += n * one(v.judged)
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// portless returns true for a node that has none of the Service's ports.
func (c *census) portless(name string) bool { return c.others[name].findings>>NoPort&1 == 1 }

// selected takes in a node that the Service selects, nil if it selects none of that name. Of one that has candidates the step finds
// out what there is to say, since that depends on the others.
func (p *Placement) selected(name string, node *mirror.Node, deferred bool) {
	switch {
	case p.placed(name):
	case node == nil:
		p.census.put(name, nil)
	case deferred:
		p.census.put(name, &verdict{findings: 1 << Flapping})
	default:
		v := p.judge(node)
		v.ready = false
		v.findings &^= onlyReady
		p.census.put(name, &v)
	}
}

// placed returns true if the node has a candidate.
func (p *Placement) placed(name string) bool {
	return slices.ContainsFunc(p.families, func(f *family) bool { return f.live(name) != nil })
}

// live returns the candidate of the node; nil if it has none, or one that is about to go.
func (f *family) live(name string) *candidate {
	if c := f.candidates[name]; c != nil && (c.node != nil || c.kept != nil) {
		return c
	}
	return nil
}

// count takes in what the step has decided of a node.
func (p *Placement) count(name string) {
	v, node := p.where(name)
	if node != nil {
		known := p.judge(node)
		known.findings |= v.findings
		known.first, known.shown, known.ready = v.first, v.shown, v.ready
		if !v.shown && node.Traffic() == mirror.TrafficReady {
			known.find(Displaced)
		}
		v = known
	}
	if !v.ready {
		v.findings &^= onlyReady
	}
	if node != nil || v.findings != 0 {
		p.census.put(name, &v)
	}
}

// where returns the node of a name that has candidates, if it is known, and what there is to say of these.
func (p *Placement) where(name string) (v verdict, node *mirror.Node) {
	for i, f := range p.families {
		c := f.live(name)
		if c == nil {
			continue
		}
		v.first = v.first || i == 0
		v.shown = v.shown || c.shown != nil
		v.ready = v.ready || c.shown != nil && c.ready()
		if c.node == nil {
			v.find(Unconfirmed)
			continue
		}
		node = c.node
	}
	return v, node
}

// judge returns what there is to say of a node by itself. It is ready if it takes traffic.
func (p *Placement) judge(node *mirror.Node) verdict {
	v := verdict{ready: node.Traffic() == mirror.TrafficReady}
	if f, found := standingOf(node); found {
		v.find(f)
	}
	if node.Phase == rollcallv1alpha1.NodeExpired || node.Phase == rollcallv1alpha1.NodeInvalid {
		return v
	}
	v.judged = true
	p.judgeAddresses(node, &v)
	p.judgePorts(node, &v)
	if node.Refusal.Reason != "" {
		v.find(LastGood)
	}
	if p.view.zoneHints && v.ready && hints(&node.Zone) == nil {
		v.find(NoZone)
	}
	return v
}

// standingOf returns the finding that tells why the node takes no traffic, or does so only for now.
func standingOf(node *mirror.Node) (Finding, bool) {
	switch {
	case node.Phase == rollcallv1alpha1.NodeExpired:
		return either(node.Reason == rollcallv1alpha1.ReasonSuperseded, Superseded, Expired), true
	case node.Phase == rollcallv1alpha1.NodeInvalid:
		return either(node.Reason == rollcallv1alpha1.ReasonAddressRefused, AddressRefused, Refused), true
	case node.Cordoned:
		return Cordoned, true
	case node.Flapping:
		return Flapping, true
	case node.Phase == rollcallv1alpha1.NodeStale:
		return either(node.Reason == rollcallv1alpha1.ReasonHeld, Held, Stale), true
	case node.Phase == rollcallv1alpha1.NodeDraining:
		return Draining, true
	}
	return 0, false
}

func either(first bool, a, b Finding) Finding {
	if first {
		return a
	}
	return b
}

// judgeAddresses finds the families in which the node has no address. Without a virtual address clients take what there is, and
// Kubernetes asks for both families unless told otherwise: then it matters only if there is none at all.
func (p *Placement) judgeAddresses(node *mirror.Node, v *verdict) {
	var missing uint32
	for _, family := range p.view.families {
		if _, found := addressOf(node, family); !found {
			missing |= 1 << lacks(family)
		} else if p.view.headless() {
			return
		}
	}
	v.findings |= missing
}

// judgePorts finds the target ports that the node lacks.
func (p *Placement) judgePorts(node *mirror.Node, v *verdict) {
	lacking := 0
	for i := range p.view.ports {
		port := &p.view.ports[i]
		if _, found := targetPort(port, node); found {
			continue
		}
		lacking++
		v.lacking |= 1 << min(i, maxPorts-1)
		for _, other := range node.Ports {
			if other.Name == port.TargetPort.StrVal {
				v.find(WrongProtocol)
			}
		}
	}
	if lacking > 0 {
		v.find(LacksPort)
	}
	if lacking > 0 && lacking == len(p.view.ports) {
		v.find(NoPort)
	}
}

// headless returns true if the Service has no virtual address.
func (v *View) headless() bool {
	_, headless := v.labels[corev1.IsHeadlessService]
	return headless
}

// losses are the claims that nodes make in vain, by address.
type losses struct {
	lost  map[netip.Addr][]Conflict
	count int
}

// set makes these the claims that are made in vain at an address.
func (l *losses) set(addr netip.Addr, lost []Conflict) {
	l.count += len(lost) - len(l.lost[addr])
	switch {
	case len(lost) == 0:
		delete(l.lost, addr)
	default:
		if l.lost == nil {
			l.lost = map[netip.Addr][]Conflict{}
		}
		l.lost[addr] = lost
	}
}

// MaxConflicts is how many conflicts a Report has at most; of more it has none.
const MaxConflicts = 5

// Report returns what there is to say. That costs the same however many nodes there are.
func (p *Placement) Report() Report {
	c := &p.census
	ordinary := len(p.families[0].candidates) - c.first
	r := Report{
		Selected: ordinary + len(c.others), Ready: ordinary + c.ready, NotReady: c.shown - c.ready,
		counts: c.counts, families: p.view.families, judged: ordinary + c.judged,
	}
	for f := range findings {
		if 0 < len(c.names[f]) && len(c.names[f]) <= MaxNamed {
			r.names[f] = slices.Sorted(maps.Keys(c.names[f]))
		}
	}
	for i, nodes := range c.lacking {
		if nodes > 0 {
			r.lacking = append(r.lacking, Lacking{p.view.target(i), nodes})
		}
	}
	for _, f := range p.families {
		r.Lost += f.lost.count
	}
	if r.Lost <= MaxConflicts {
		for _, f := range p.families {
			for _, lost := range f.lost.lost {
				r.Conflicts = append(r.Conflicts, lost...)
			}
		}
		slices.SortFunc(r.Conflicts, func(a, b Conflict) int {
			return strings.Compare(a.Claim+" "+a.Loser, b.Claim+" "+b.Loser)
		})
	}
	return r
}

// target names a target port of the Service, with its protocol where that is not TCP. From maxPorts on they are counted as one.
func (v *View) target(i int) string {
	port := &v.ports[i]
	name := port.TargetPort.StrVal
	if port.TargetPort.Type == intstr.Int {
		name = port.TargetPort.String()
	}
	if port.Protocol != corev1.ProtocolTCP {
		name += "/" + string(port.Protocol)
	}
	if i == maxPorts-1 && len(v.ports) > maxPorts {
		name += " or a later one"
	}
	return name
}
