package endpointslice

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/plan"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

// remark is one thing that there is to say of a Service: its status is False only if the slices are not what the annotation asks
// for. The same trouble is always the same remark.
type remark struct {
	status          metav1.ConditionStatus
	reason, message string
}

// compose returns the outcome of a pass: the counts, and after them what each remark says. The gravest remark comes first, and has
// the reason; without any, all is well.
func compose(counts string, remarks []remark) *outcome {
	o := &outcome{status: metav1.ConditionTrue, reason: rollcallv1alpha1.ReasonSynced}
	if len(remarks) > 0 {
		o.status, o.reason = remarks[0].status, remarks[0].reason
	}
	var told []string
	if counts != "" {
		told = append(told, counts)
	}
	for _, r := range remarks {
		told = append(told, r.message)
	}
	o.message = record.Note(strings.Join(told, " "))
	return o
}

// surroundings are what there is to know of a Service but for its nodes.
type surroundings struct {
	// missing is a NodeRegistry that the annotation names and that does not exist, empty if there is none; unlisted are those that
	// it may select and of which nobody knows yet which nodes there are.
	missing  string
	unlisted []string
	// candidates says which nodes there are where the annotation selects none.
	candidates candidates
	// foreign is what other controllers' slices are told to be.
	foreign []remark
}

// candidates says which nodes the registries have that an annotation may select.
type candidates uint8

const (
	noCandidate candidates = iota
	// refusedCandidates: there are nodes, but the record of each is refused.
	refusedCandidates
	otherCandidates
)

// words are how a finding is told of one node and of several.
type words struct {
	finding   plan.Finding
	one, many string
}

// told are the findings in the order in which they are counted; ports are told after the first ones.
var told = []words{
	{plan.Expired, "is Expired", "are Expired"},
	{plan.Superseded, "was superseded", "were superseded"},
	{plan.Refused, "has a record that is refused", "have records that are refused"},
	{plan.AddressRefused, "has an address that is refused", "have addresses that are refused"},
	{plan.Stale, "is Stale", "are Stale"},
	{plan.Cordoned, "is cordoned", "are cordoned"},
	{plan.Draining, "is draining", "are draining"},
	{plan.Flapping, "is flapping", "are flapping"},
	{plan.Displaced, "gives way to another node at its address", "give way to other nodes at their addresses"},
	{plan.NoIPv4, "has no IPv4 address", "have no IPv4 address"},
	{plan.NoIPv6, "has no IPv6 address", "have no IPv6 address"},
	{plan.LacksPort, "lacks ", "lack "},
	{plan.WrongProtocol, "has such a port with another protocol", "have such a port with another protocol"},
	{plan.NoZone, "has no zone", "have no zone"},
	{plan.Held, "is silent and held", "are silent and held"},
	{plan.LastGood, "lives on its last good record", "live on their last good records"},
	{plan.Unconfirmed, "is not known yet and keeps its endpoint", "are not known yet and keep their endpoints"},
}

// counts returns for example "3 ready, 2 not, of 7 selected: 1 has no IPv6 address, 1 lacks port http.". So many endpoints are refused.
func counts(service *corev1.Service, r *plan.Report, refused int) string {
	text := fmt.Sprintf("%d ready", max(0, r.Ready-refused))
	if r.NotReady > 0 {
		text += fmt.Sprintf(", %d not", r.NotReady)
		if service.Spec.PublishNotReadyAddresses {
			text += " but published as ready for publishNotReadyAddresses"
		}
	}
	text += fmt.Sprintf(", of %d selected", r.Selected)
	var details []string
	for _, w := range told {
		switch n := r.Count(w.finding); {
		case n == 0:
		case w.finding == plan.LacksPort:
			details = append(details, lacking(r)...)
		default:
			details = append(details, w.of(n)+named(r.Names(w.finding)))
		}
	}
	if len(details) > 0 {
		text += ": " + strings.Join(details, ", ")
	}
	return text + "."
}

func (w *words) of(n int) string {
	if n == 1 {
		return "1 " + w.one
	}
	return fmt.Sprintf("%d %s", n, w.many)
}

// named returns the names in parentheses.
func named(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " (" + strings.Join(names, ", ") + ")"
}

// lacking tells how many nodes lack which port. It names them where that is one port.
func lacking(r *plan.Report) (details []string) {
	verb := words{one: "lacks port ", many: "lack port "}
	for i, l := range r.Lacking() {
		if i == maxPortsTold {
			return append(details, fmt.Sprintf("and so for %d more ports", len(r.Lacking())-i))
		}
		detail := verb.of(l.Nodes) + l.Port
		if len(r.Lacking()) == 1 {
			detail += named(r.Names(plan.LacksPort))
		}
		details = append(details, detail)
	}
	return details
}

// maxPortsTold is for how many ports a message counts the nodes.
const maxPortsTold = 4

// remarks returns what there is to say of the Service, the gravest first.
func remarks(service *corev1.Service, r *plan.Report, s *surroundings) []remark {
	var all []remark
	add := func(r *remark) {
		if r != nil {
			all = append(all, *r)
		}
	}
	switch {
	case r.Selected == 0:
		add(nobody(service, s))
	case r.Ready == 0 && (!service.Spec.PublishNotReadyAddresses || r.NotReady == 0):
		add(notReady(service, r, s))
	}
	all = append(all, policies(service)...)
	add(targetRef(service))
	all = append(all, s.foreign...)
	add(zones(r))
	if r.Ready > 0 {
		add(familyGap(r))
		add(held(r))
	}
	add(shared(r))
	if r.Ready > 0 {
		add(unlisted(s, metav1.ConditionTrue))
	}
	return all
}

// written returns a remark on slices that are what the annotation asks for.
func written(reason, format string, args ...any) *remark {
	return &remark{metav1.ConditionTrue, reason, fmt.Sprintf(format, args...)}
}

// nobody says why the annotation selects no node.
func nobody(service *corev1.Service, s *surroundings) *remark {
	switch {
	case s.missing != "":
		return &remark{metav1.ConditionFalse, rollcallv1alpha1.ReasonRegistryNotFound, fmt.Sprintf(
			"NodeRegistry %q, which the annotation %s selects, does not exist in this namespace: create it, or correct the annotation.",
			s.missing, rollcallv1alpha1.AnnotationNodeSelector)}
	case len(s.unlisted) > 0:
		return unlisted(s, metav1.ConditionFalse)
	case s.candidates == refusedCandidates:
		return written(rollcallv1alpha1.ReasonAllRefused, "Every record is refused, so no node has a label that the annotation could select: "+
			"kubectl -n %s get discoverednodes -o wide has the reasons.", service.Namespace)
	case s.candidates == noCandidate:
		return written(rollcallv1alpha1.ReasonNoNodes, "There is no node that the annotation could select: "+
			"kubectl -n %s get noderegistries shows how many each registry has.", service.Namespace)
	}
	return written(rollcallv1alpha1.ReasonNoNodes, "There are nodes, but none has the labels that the annotation selects (%s): correct it, or spec.labels of the "+
		"NodeRegistry; kubectl -n %s get discoverednodes --show-labels has what there is.",
		record.Bounded(service.Annotations[rollcallv1alpha1.AnnotationNodeSelector]), service.Namespace)
}

// unlisted says which registry has not been listed.
func unlisted(s *surroundings, status metav1.ConditionStatus) *remark {
	if len(s.unlisted) == 0 {
		return nil
	}
	return &remark{status, rollcallv1alpha1.ReasonRegistryNotListed, fmt.Sprintf("NodeRegistry %s has not been listed since the manager "+
		"started, so endpoints are added and none is removed: its conditions say why.", s.unlisted[0])}
}

// alike are the reasons for a Service of which all nodes have the same finding, and what to do.
var alike = []struct {
	finding          plan.Finding
	reason, why, how string
}{
	{plan.NoPort, rollcallv1alpha1.ReasonPortNotFound, "no node has a port that a targetPort of the Service names",
		"correct the targetPort and its protocol, or the ports that the nodes register"},
	{plan.Expired, rollcallv1alpha1.ReasonAllExpired, "every node is Expired", "start the service on the machines again"},
	{plan.Superseded, rollcallv1alpha1.ReasonAllDisplaced, "every node was superseded by another one at its address",
		"correct the annotation so that it selects their successors"},
	{plan.Refused, rollcallv1alpha1.ReasonAllRefused, "every record is refused", "correct the service that writes them, or spec.record of the NodeRegistry"},
	{plan.AddressRefused, rollcallv1alpha1.ReasonAllRefused, "every address is refused",
		"correct the addresses that the nodes register, or spec.addressPolicy of the NodeRegistry"},
	{plan.Cordoned, rollcallv1alpha1.ReasonAllCordoned, "every node is cordoned", "unset spec.cordoned of the DiscoveredNodes"},
	{plan.Stale, rollcallv1alpha1.ReasonAllStale, "every node is Stale",
		"look at why the heartbeats are older than spec.liveness.staleAfter of the NodeRegistry"},
	{plan.Draining, rollcallv1alpha1.ReasonAllDraining, "every node is draining", "have some of them take traffic again"},
	{plan.Flapping, rollcallv1alpha1.ReasonAllFlapping, "every node is flapping", "look at what registers them"},
	{plan.Displaced, rollcallv1alpha1.ReasonAllDisplaced, "another node is shown at the address of every one", "give each node an address of its own"},
}

// notReady says why no endpoint is ready.
func notReady(service *corev1.Service, r *plan.Report, s *surroundings) *remark {
	for _, a := range alike {
		if r.Count(a.finding) == r.Selected {
			return written(a.reason, "No endpoint is ready, since %s: %s.", a.why, a.how)
		}
	}
	if families := r.Families(); !slices.ContainsFunc(families, func(f discoveryv1.AddressType) bool { return !r.Nobody(f) }) {
		return written(rollcallv1alpha1.ReasonAddressFamilyNotFound, "No endpoint is ready, since the Service is %s only and no node has such an address: "+
			"have the nodes register one, or replace the Service by one with the ipFamilies that they have.", families[0])
	}
	if len(s.unlisted) > 0 {
		return unlisted(s, metav1.ConditionFalse)
	}
	return written(rollcallv1alpha1.ReasonNoReadyEndpoint, "No endpoint is ready: kubectl -n %s get discoverednodes -o wide has the reason of each node.",
		service.Namespace)
}

// policies says what a traffic policy does to endpoints that are on no node of the cluster.
func policies(service *corev1.Service) (all []remark) {
	internal := service.Spec.InternalTrafficPolicy
	if internal != nil && *internal == corev1.ServiceInternalTrafficPolicyLocal && service.Spec.ClusterIP != corev1.ClusterIPNone {
		all = append(all, *written(rollcallv1alpha1.ReasonTrafficPolicyLocal, "internalTrafficPolicy is Local, and no endpoint is on a node of the cluster, "+
			"so nothing that is sent to the Service's cluster IP arrives: set it to Cluster."))
	}
	if service.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
		all = append(all, *written(rollcallv1alpha1.ReasonTrafficPolicyLocal, "externalTrafficPolicy is Local, and no endpoint is on a node of the cluster, "+
			"so nothing that comes from outside arrives: set it to Cluster."))
	}
	return all
}

// zones says that a node without a zone turns off the hints of all others.
func zones(r *plan.Report) *remark {
	if r.Count(plan.NoZone) == 0 {
		return nil
	}
	return written(rollcallv1alpha1.ReasonZoneHintsOff, "trafficDistribution has no effect: kube-proxy follows zone hints only if every ready endpoint has one. "+
		"Have each node register a zone.")
}

// familyGap says that one of the Service's addresses leads nowhere.
func familyGap(r *plan.Report) *remark {
	for _, family := range r.Families() {
		if r.Nobody(family) {
			return written(rollcallv1alpha1.ReasonAddressFamilyNotFound, "No node has an %s address, so that family of the Service has no endpoint: "+
				"have the nodes register one, or take %s out of ipFamilies.", family, family)
		}
	}
	return nil
}

// held says that all endpoints may be those of dead nodes.
func held(r *plan.Report) *remark {
	if r.Ready == 0 || r.Count(plan.Held) < r.Ready {
		return nil
	}
	return written(rollcallv1alpha1.ReasonAllHeld, "Every ready endpoint is that of a node that is silent: Degraded of the NodeRegistry says why they are held.")
}

// shared says who lost which address and port to whom. What there is to do comes first, for the names may be longer than the message.
func shared(r *plan.Report) *remark {
	switch {
	case r.Lost == 0:
		return nil
	case len(r.Conflicts) == 0:
		return written(rollcallv1alpha1.ReasonAddressShared, "%d ports of nodes are shown for another node that gives the same address. "+
			"Give each node its own, unless they are one server.", r.Lost)
	}
	var told []string
	for _, c := range r.Conflicts {
		told = append(told, fmt.Sprintf("%s is shown for %s and not for %s", c.Claim, c.Winner, c.Loser))
	}
	return written(rollcallv1alpha1.ReasonAddressShared, "%s", record.Bounded(
		fitting("Several nodes give the same address and port; give each its own, unless they are one server: ", told)))
}

// fitting returns the text followed by as many of the items as there is room for in a message, but at least one, and how many more
// there are.
func fitting(text string, items []string) string {
	const room = record.MaxMessage - len(", and 5 more.")
	for i, item := range items {
		switch {
		case i == 0:
		case len(text)+len(", ")+len(item) > room:
			return fmt.Sprintf("%s, and %d more.", text, len(items)-i)
		default:
			text += ", "
		}
		text += item
	}
	return text + "."
}
