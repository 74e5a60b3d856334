package endpointslice

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
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

// shape is all of a Service that decides what its EndpointSlices look like. Two equal shapes over the same nodes make the
// same slices.
type shape struct {
	namespace, selector string
	owner               metav1.OwnerReference
	labels              map[string]string
	families            []discoveryv1.AddressType
	ports               []corev1.ServicePort
	publishNotReady     bool
	zoneHints           bool
}

func newShape(service *corev1.Service) *shape {
	s := &shape{
		namespace:       service.Namespace,
		selector:        service.Annotations[rollcallv1alpha1.AnnotationNodeSelector],
		owner:           *metav1.NewControllerRef(service, corev1.SchemeGroupVersion.WithKind("Service")),
		labels:          sliceLabels(service),
		families:        addressFamilies(service),
		publishNotReady: service.Spec.PublishNotReadyAddresses,
		zoneHints:       wantsZoneHints(service.Spec.TrafficDistribution),
	}
	for _, port := range service.Spec.Ports {
		port.Protocol = protocolOf(port.Protocol)
		s.ports = append(s.ports, port)
	}
	return s
}

func (s *shape) equal(o *shape) bool { return reflect.DeepEqual(s, o) }

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

// wantsZoneHints says whether traffic is to stay in its zone. A machine outside of the cluster is on none of the cluster's
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

// portSet is a set of ports that endpoints have in common. Sets of the same ports have the same key.
type portSet struct {
	key   string
	ports []discoveryv1.EndpointPort
}

func newPortSet(ports []discoveryv1.EndpointPort) portSet {
	keys := make([]string, 0, len(ports))
	for i := range ports {
		keys = append(keys, portKey(&ports[i]))
	}
	slices.Sort(keys)
	return portSet{key: strings.Join(keys, ","), ports: ports}
}

func portKey(port *discoveryv1.EndpointPort) string {
	key := make([]byte, 0, 32)
	if port.Name != nil {
		key = append(key, *port.Name...)
	}
	key = append(key, '/')
	if port.Protocol != nil {
		key = append(key, *port.Protocol...)
	}
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

// resolve returns the ports of the Service as the node has them. A named port that the node does not have is left out.
func (s *shape) resolve(node *mirror.Node) portSet {
	ports := make([]discoveryv1.EndpointPort, 0, len(s.ports))
	for i := range s.ports {
		port := &s.ports[i]
		if number, found := targetPort(port, node); found {
			ports = append(ports, discoveryv1.EndpointPort{
				Name: &port.Name, Protocol: &port.Protocol, Port: &number, AppProtocol: port.AppProtocol,
			})
		}
	}
	return newPortSet(ports)
}

// fits says whether nodes can have these ports of the Service, as it is now. There may be fewer than the Service has.
func (s *shape) fits(ports portSet) bool {
	return !slices.ContainsFunc(ports.ports, func(found discoveryv1.EndpointPort) bool {
		return !slices.ContainsFunc(s.ports, func(port corev1.ServicePort) bool {
			like := discoveryv1.EndpointPort{Name: &port.Name, Protocol: &port.Protocol, Port: found.Port, AppProtocol: port.AppProtocol}
			return portKey(&found) == portKey(&like) &&
				(port.TargetPort.Type == intstr.String || ptr.Deref(found.Port, 0) == port.TargetPort.IntVal)
		})
	})
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

// publishable says whether the API server takes the address. One that it does not would have the whole slice refused, with
// all the other nodes in it.
func publishable(addr netip.Addr) bool {
	return addr.IsValid() && addr.Zone() == "" && !addr.IsUnspecified() && !addr.IsLoopback() &&
		!addr.IsLinkLocalUnicast() && !addr.IsLinkLocalMulticast()
}

// endpoint returns the node's endpoint at the address.
func (s *shape) endpoint(node *mirror.Node, addr netip.Addr) discoveryv1.Endpoint {
	serving := node.Traffic() == mirror.TrafficReady || node.Traffic() == mirror.TrafficTerminating
	terminating := node.Traffic() == mirror.TrafficTerminating
	ready := s.publishNotReady || serving && !terminating
	endpoint := discoveryv1.Endpoint{
		Addresses:  []string{addr.String()},
		Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating},
		TargetRef: &corev1.ObjectReference{
			APIVersion: rollcallv1alpha1.GroupVersion.String(), Kind: kindDiscoveredNode,
			Namespace: node.Namespace, Name: node.Name,
		},
	}
	if len(validation.IsDNS1123Label(node.ID)) == 0 {
		endpoint.Hostname = &node.ID
	}
	if node.Zone != "" {
		endpoint.Zone = &node.Zone
		if s.zoneHints && ready && len(validation.IsValidLabelValue(node.Zone)) == 0 {
			endpoint.Hints = &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: node.Zone}}}
		}
	}
	return endpoint
}

const kindDiscoveredNode = "DiscoveredNode"

// nodeOf returns the name of the DiscoveredNode that the endpoint stands for, and whether it stands for one.
func (s *shape) nodeOf(endpoint *discoveryv1.Endpoint) (string, bool) {
	ref := endpoint.TargetRef
	if ref == nil || ref.Kind != kindDiscoveredNode || ref.Namespace != s.namespace {
		return "", false
	}
	return ref.Name, true
}

// owns says whether the slice belongs to the Service, not to an earlier one of the same name. One that lost its owner does:
// it is given back.
func (s *shape) owns(slice *discoveryv1.EndpointSlice) bool {
	owner := metav1.GetControllerOfNoCopy(slice)
	return (owner == nil || owner.UID == s.owner.UID) && slices.Contains(s.families, slice.AddressType)
}

// dressed says whether the slice's labels and owner are as they should be.
func (s *shape) dressed(slice *discoveryv1.EndpointSlice) bool {
	return maps.Equal(slice.Labels, s.labels) && s.hasOwner(slice)
}

func (s *shape) hasOwner(slice *discoveryv1.EndpointSlice) bool {
	return slices.ContainsFunc(slice.OwnerReferences, func(owner metav1.OwnerReference) bool {
		return apiequality.Semantic.DeepEqual(owner, s.owner)
	})
}

// dress gives the slice the labels and the owner that it should have.
func (s *shape) dress(slice *discoveryv1.EndpointSlice) {
	slice.Namespace = s.namespace
	slice.Labels = maps.Clone(s.labels)
	if !s.hasOwner(slice) {
		slice.OwnerReferences = []metav1.OwnerReference{s.owner}
	}
}

// sameEndpoint says whether a write that replaces one by the other would change anything.
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
