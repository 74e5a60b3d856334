package plan

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// View is all of a Service that decides what its EndpointSlices look like: two equal views of the same nodes make the same
// slices.
type View struct {
	namespace, selector string
	owner               metav1.OwnerReference
	labels              map[string]string
	// copied names the labels that are the Service's own.
	copied          string
	families        []discoveryv1.AddressType
	ports           []corev1.ServicePort
	publishNotReady bool
	zoneHints       bool
	// sparing is true if a new slice is made only where those that exist have no room, apart, if no slice that exists gets other
	// ports.
	sparing, apart bool
	// targetRef is true if endpoints say which DiscoveredNode they stand for.
	targetRef bool
}

// NewView returns the view of a Service.
func NewView(service *corev1.Service) *View {
	v := &View{
		namespace:       service.Namespace,
		selector:        service.Annotations[rollcallv1alpha1.AnnotationNodeSelector],
		owner:           *metav1.NewControllerRef(service, corev1.SchemeGroupVersion.WithKind("Service")),
		labels:          sliceLabels(service),
		copied:          copiedLabels(service),
		families:        addressFamilies(service),
		publishNotReady: service.Spec.PublishNotReadyAddresses,
		zoneHints:       wantsZoneHints(service.Spec.TrafficDistribution),
		targetRef:       service.Annotations[rollcallv1alpha1.AnnotationTargetRef] == rollcallv1alpha1.TargetRefDiscoveredNode,
	}
	for _, port := range service.Spec.Ports {
		port.Protocol = protocolOf(port.Protocol)
		v.ports = append(v.ports, port)
	}
	return v
}

// Equal returns true if the views make the same slices.
func (v *View) Equal(o *View) bool { return reflect.DeepEqual(v, o) }

// Without returns the view where the API server refuses to create slices, for which sparing stands, or to give other ports to those
// that exist, for which apart stands.
func (v *View) Without(sparing, apart bool) *View {
	without := *v
	without.sparing, without.apart = sparing, apart
	return &without
}

// sliceLabels returns the labels of the Service's slices: the Service's own, but for those with a meaning of their own on
// slices.
func sliceLabels(service *corev1.Service) map[string]string {
	all := maps.Clone(service.Labels)
	if all == nil {
		all = map[string]string{}
	}
	delete(all, corev1.IsHeadlessService)
	if service.Spec.ClusterIP == corev1.ClusterIPNone || service.Spec.ClusterIP == "" {
		all[corev1.IsHeadlessService] = ""
	}
	all[discoveryv1.LabelServiceName] = service.Name
	all[discoveryv1.LabelManagedBy] = rollcallv1alpha1.ManagedBy
	return all
}

// reserved are the labels with a meaning of their own on slices.
var reserved = []string{corev1.IsHeadlessService, discoveryv1.LabelServiceName, discoveryv1.LabelManagedBy}

// copiedLabels returns the keys of the labels that slices have from the Service.
func copiedLabels(service *corev1.Service) string {
	keys := slices.Sorted(maps.Keys(service.Labels))
	return strings.Join(slices.DeleteFunc(keys, func(key string) bool { return slices.Contains(reserved, key) }), ",")
}

// addressFamilies returns the families that the Service has addresses of. A Service that does not say, which the API
// server would have filled in, gets whatever the nodes have.
func addressFamilies(service *corev1.Service) []discoveryv1.AddressType {
	if len(service.Spec.IPFamilies) == 0 {
		return []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6}
	}
	var families []discoveryv1.AddressType
	for _, family := range service.Spec.IPFamilies {
		families = append(families, discoveryv1.AddressType(family))
	}
	return families
}

// wantsZoneHints returns true if traffic is to stay in its zone. A machine outside of the cluster is on none of the cluster's
// nodes, so the wish for the same node comes down to the same zone.
func wantsZoneHints(distribution *string) bool {
	if distribution == nil {
		return false
	}
	switch *distribution {
	case corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone,
		corev1.ServiceTrafficDistributionPreferSameNode:
		return true
	}
	return false
}

func protocolOf(protocol corev1.Protocol) corev1.Protocol {
	if protocol == "" {
		return corev1.ProtocolTCP
	}
	return protocol
}

// resolve returns the ports of the Service as the node has them. A named port that the node does not have is left out.
func (v *View) resolve(node *mirror.Node) []discoveryv1.EndpointPort {
	ports := make([]discoveryv1.EndpointPort, 0, len(v.ports))
	for i := range v.ports {
		port := &v.ports[i]
		if number, found := targetPort(port, node); found {
			ports = append(ports, discoveryv1.EndpointPort{
				Name: &port.Name, Protocol: &port.Protocol, Port: &number, AppProtocol: port.AppProtocol,
			})
		}
	}
	return ports
}

// offers returns true if nodes can have these ports of the Service, as it is now. There may be fewer than the Service has.
func (v *View) offers(ports []discoveryv1.EndpointPort) bool {
	return !slices.ContainsFunc(ports, func(found discoveryv1.EndpointPort) bool {
		return !slices.ContainsFunc(v.ports, func(port corev1.ServicePort) bool {
			like := discoveryv1.EndpointPort{Name: &port.Name, Protocol: &port.Protocol, Port: found.Port, AppProtocol: port.AppProtocol}
			return portKey(&found) == portKey(&like) &&
				(port.TargetPort.Type == intstr.String || ptr.Deref(found.Port, 0) == port.TargetPort.IntVal)
		})
	})
}

// restate returns the ports of an endpoint that nobody knows the node of as the Service has them now, as far as they follow from
// those that were found; none if nothing does.
func (v *View) restate(found []discoveryv1.EndpointPort) []discoveryv1.EndpointPort {
	var ports []discoveryv1.EndpointPort
	for i := range v.ports {
		port := &v.ports[i]
		number := &port.TargetPort.IntVal
		if port.TargetPort.Type == intstr.String {
			at := slices.IndexFunc(found, func(f discoveryv1.EndpointPort) bool {
				return ptr.Deref(f.Name, "") == port.Name && ptr.Deref(f.Protocol, corev1.ProtocolTCP) == port.Protocol
			})
			if at < 0 || found[at].Port == nil {
				continue
			}
			number = found[at].Port
		}
		ports = append(ports, discoveryv1.EndpointPort{Name: &port.Name, Protocol: &port.Protocol, Port: number, AppProtocol: port.AppProtocol})
	}
	return ports
}

func targetPort(port *corev1.ServicePort, node *mirror.Node) (int32, bool) {
	if port.TargetPort.Type == intstr.Int {
		return port.TargetPort.IntVal, true
	}
	for _, candidate := range node.Ports {
		if candidate.Name == port.TargetPort.StrVal && protocolOf(candidate.Protocol) == port.Protocol {
			return candidate.Port, true
		}
	}
	return 0, false
}

// addressOf returns the node's address in a family: the first that it gives, since consumers of a slice look at no other.
func addressOf(node *mirror.Node, family discoveryv1.AddressType) (netip.Addr, bool) {
	for _, addr := range node.Addresses {
		if addr.Is4() == (family == discoveryv1.AddressTypeIPv4) && publishable(addr) {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

// publishable returns true if the API server takes the address. One that it does not would have the whole slice refused, with
// all the other nodes in it.
func publishable(addr netip.Addr) bool {
	return addr.IsValid() && addr.Zone() == "" && !addr.IsUnspecified() && !addr.IsLoopback() &&
		!addr.IsLinkLocalUnicast() && !addr.IsLinkLocalMulticast()
}

// yes and no are what the conditions of endpoints point to. Nothing writes to them.
var yes, no = true, false

func condition(b bool) *bool {
	if b {
		return &yes
	}
	return &no
}

// dnsLabel returns true for a DNS label: what validation.IsDNS1123Label says, without a regular expression for each endpoint.
func dnsLabel(name string) bool {
	inside := strings.Trim(name, lettersAndDigits+"-") == ""
	return inside && name != "" && len(name) <= validation.DNS1123LabelMaxLength && name[0] != '-' && name[len(name)-1] != '-'
}

const lettersAndDigits = "abcdefghijklmnopqrstuvwxyz0123456789"

// endpoint returns the desired endpoint of the node at the address.
func (v *View) endpoint(node *mirror.Node, addr netip.Addr) discoveryv1.Endpoint {
	l := look{
		ready: node.Traffic() == mirror.TrafficReady, serving: node.Serving(), terminating: node.Traffic() == mirror.TrafficTerminating,
	}
	if dnsLabel(node.ID) {
		l.hostname = &node.ID
	}
	if node.Zone != "" {
		l.zone = &node.Zone
	}
	if v.targetRef {
		l.ref = refTo(node)
	}
	return v.show(l, addr)
}

func refTo(node *mirror.Node) *corev1.ObjectReference {
	return &corev1.ObjectReference{
		APIVersion: rollcallv1alpha1.GroupVersion.String(), Kind: rollcallv1alpha1.TargetRefDiscoveredNode,
		Namespace: node.Namespace, Name: node.Name,
	}
}

// keep returns an endpoint as it was found, but for what people have said since: of the Service, and by a cordon of the node, which
// is nil if nobody knows whose the endpoint is.
func (v *View) keep(found *discoveryv1.Endpoint, node *mirror.Node) discoveryv1.Endpoint {
	l := lookOf(found).by(node)
	switch {
	case !v.targetRef:
		l.ref = nil
	case node != nil:
		l.ref = refTo(node)
	}
	addr, _ := addressIn(found)
	return v.show(l, addr)
}

// look is what there is to say of an endpoint, whatever the Service.
type look struct {
	ready, serving, terminating bool
	hostname, zone              *string
	ref                         *corev1.ObjectReference
}

// lookOf returns the look of an endpoint that was found.
func lookOf(e *discoveryv1.Endpoint) look {
	ready := ptr.Deref(e.Conditions.Ready, true)
	l := look{
		serving: ptr.Deref(e.Conditions.Serving, ready), terminating: ptr.Deref(e.Conditions.Terminating, false),
		hostname: e.Hostname, zone: e.Zone, ref: e.TargetRef,
	}
	// The Service may have published it as ready although it was not.
	l.ready = ready && l.serving && !l.terminating
	return l
}

// by returns the look with what a person says of its node, who may have cordoned it since or let it back in.
func (l look) by(node *mirror.Node) look {
	switch cordoned := l.serving && !l.terminating && !l.ready; {
	case node == nil:
	case node.Cordoned:
		l.ready, l.terminating = false, false
	case cordoned:
		l.ready, l.serving = node.Traffic() == mirror.TrafficReady, node.Serving()
		l.terminating = node.Traffic() == mirror.TrafficTerminating
	}
	return l
}

// show returns the endpoint of that look as the Service shows it at the address.
func (v *View) show(l look, addr netip.Addr) discoveryv1.Endpoint {
	ready := v.publishNotReady || l.ready
	endpoint := discoveryv1.Endpoint{
		Addresses: []string{addr.String()},
		Conditions: discoveryv1.EndpointConditions{
			Ready: condition(ready), Serving: condition(l.serving), Terminating: condition(l.terminating),
		},
		Hostname: l.hostname, Zone: l.zone, TargetRef: l.ref,
	}
	if v.zoneHints && ready {
		endpoint.Hints = hints(l.zone)
	}
	return endpoint
}

// hints returns which zones an endpoint in the zone is for; nil if there is none that a hint can name.
func hints(zone *string) *discoveryv1.EndpointHints {
	if ptr.Deref(zone, "") == "" || len(validation.IsValidLabelValue(*zone)) > 0 {
		return nil
	}
	return &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: *zone}}}
}

// owns returns true if the slice belongs to the Service, not to an earlier one of the same name. One that lost its owner does:
// it is given back.
func (v *View) owns(slice *discoveryv1.EndpointSlice) bool {
	owner := metav1.GetControllerOfNoCopy(slice)
	return (owner == nil || owner.UID == v.owner.UID) && slices.Contains(v.families, slice.AddressType)
}

// labelled returns true if the slice's labels and owner are as they should be. Those of others are theirs.
func (v *View) labelled(slice *discoveryv1.EndpointSlice) bool {
	return includes(slice.Labels, v.labels) && len(v.outdated(slice)) == 0 &&
		slice.Annotations[rollcallv1alpha1.AnnotationServiceLabels] == v.copied && hasOwner(slice, &v.owner)
}

// includes returns true if all has the labels of some.
func includes(all, some map[string]string) bool {
	for key, value := range some {
		if found, has := all[key]; !has || found != value {
			return false
		}
	}
	return true
}

// outdated returns the labels of the slice that an earlier View gave it and this one does not.
func (v *View) outdated(slice *discoveryv1.EndpointSlice) (keys []string) {
	given := strings.Split(slice.Annotations[rollcallv1alpha1.AnnotationServiceLabels], ",")
	for _, key := range append(given, reserved...) {
		_, wanted := v.labels[key]
		if _, has := slice.Labels[key]; has && !wanted {
			keys = append(keys, key)
		}
	}
	return keys
}

func hasOwner(slice *discoveryv1.EndpointSlice, wanted *metav1.OwnerReference) bool {
	return slices.ContainsFunc(slice.OwnerReferences, func(owner metav1.OwnerReference) bool {
		return owner.UID == wanted.UID && apiequality.Semantic.DeepEqual(owner, *wanted)
	})
}

// label gives the slice the labels and the owner that it should have, besides those that others gave it.
func (v *View) label(slice *discoveryv1.EndpointSlice) {
	slice.Namespace = v.namespace
	for _, key := range v.outdated(slice) {
		delete(slice.Labels, key)
	}
	if slice.Labels == nil {
		slice.Labels = map[string]string{}
	}
	maps.Copy(slice.Labels, v.labels)
	annotate(slice, rollcallv1alpha1.AnnotationServiceLabels, v.copied)
	if !hasOwner(slice, &v.owner) {
		isOurs := func(owner metav1.OwnerReference) bool { return owner.UID == v.owner.UID }
		slice.OwnerReferences = append(slices.DeleteFunc(slice.OwnerReferences, isOurs), v.owner)
	}
}

// annotate gives the slice an annotation; an empty value takes it away.
func annotate(slice *discoveryv1.EndpointSlice, key, value string) {
	switch {
	case value == "":
		delete(slice.Annotations, key)
	case slice.Annotations == nil:
		slice.Annotations = map[string]string{key: value}
	default:
		slice.Annotations[key] = value
	}
}

// Same returns true if a write that replaces one endpoint by the other would change nothing.
func Same(a, b *discoveryv1.Endpoint) bool { return sameEndpoint(a, b) }

// PortsKey returns what sets of the same ports have in common.
func PortsKey(ports []discoveryv1.EndpointPort) string { return portsKey(ports) }

// Stored returns true if a slice that was sent is stored as it was sent, whatever others add to it.
func Stored(sent, stored *discoveryv1.EndpointSlice) bool {
	return slices.EqualFunc(sent.Endpoints, stored.Endpoints, func(a, b discoveryv1.Endpoint) bool { return sameEndpoint(&a, &b) }) &&
		portsKey(sent.Ports) == portsKey(stored.Ports) && includes(stored.Labels, sent.Labels) &&
		sent.Annotations[rollcallv1alpha1.AnnotationServiceLabels] == stored.Annotations[rollcallv1alpha1.AnnotationServiceLabels] &&
		!slices.ContainsFunc(sent.OwnerReferences, func(owner metav1.OwnerReference) bool { return !hasOwner(stored, &owner) })
}

// sameEndpoint returns true if a write that replaces one by the other would change nothing.
func sameEndpoint(a, b *discoveryv1.Endpoint) bool {
	return slices.Equal(a.Addresses, b.Addresses) &&
		same(a.Conditions.Ready, b.Conditions.Ready) &&
		same(a.Conditions.Serving, b.Conditions.Serving) &&
		same(a.Conditions.Terminating, b.Conditions.Terminating) &&
		same(a.Hostname, b.Hostname) &&
		same(a.TargetRef, b.TargetRef) &&
		same(a.NodeName, b.NodeName) &&
		same(a.Zone, b.Zone) &&
		maps.Equal(a.DeprecatedTopology, b.DeprecatedTopology) &&
		sameHints(a.Hints, b.Hints)
}

func sameHints(a, b *discoveryv1.EndpointHints) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.Equal(a.ForZones, b.ForZones) && slices.Equal(a.ForNodes, b.ForNodes)
}

func same[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
