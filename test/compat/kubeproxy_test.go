package compat

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/proxy"
)

// categorized are the endpoints that a kube-proxy uses for a Service.
type categorized struct {
	cluster, local []string
	any            bool
}

// categorize returns what the kube-proxy of a cluster node in the zone makes of the Service and its slices.
func (r *rig) categorize(service *corev1.Service, zone string) categorized {
	r.Helper()
	ports, services := proxy.ServicePortMap{}, proxy.NewServiceChangeTracker(corev1.IPv4Protocol, nil, nil)
	services.Update(nil, service)
	ports.Update(services)
	endpoints, tracker := proxy.EndpointsMap{}, proxy.NewEndpointsChangeTracker(corev1.IPv4Protocol, "cluster-node", nil, nil)
	for _, slice := range r.slices(service.Name) {
		tracker.EndpointSliceUpdate(&slice, false)
	}
	endpoints.Update(tracker)
	if len(ports) != 1 {
		r.Fatalf("kube-proxy knows the ports %v", ports)
	}
	var c categorized
	for name, port := range ports {
		cluster, local, _, hasAny := proxy.CategorizeEndpoints(endpoints[name], port, "cluster-node", map[string]string{corev1.LabelTopologyZone: zone})
		c = categorized{addresses(cluster), addresses(local), hasAny}
	}
	return c
}

func addresses(endpoints []proxy.Endpoint) []string {
	var all []string
	for _, endpoint := range endpoints {
		all = append(all, endpoint.String())
	}
	slices.Sort(all)
	return all
}

func preferSameZone(s *corev1.Service) {
	s.Spec.TrafficDistribution = new(corev1.ServiceTrafficDistributionPreferSameZone)
}

func TestKubeProxy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	internallyLocal := func(s *corev1.Service) { s.Spec.InternalTrafficPolicy = new(corev1.ServiceInternalTrafficPolicyLocal) }
	externallyLocal := func(s *corev1.Service) {
		s.Spec.Type, s.Spec.ExternalTrafficPolicy = corev1.ServiceTypeLoadBalancer, corev1.ServiceExternalTrafficPolicyLocal
	}
	both := []string{"10.1.0.1:8080", "10.1.0.2:8080"}
	for name, test := range map[string]struct {
		change func(*corev1.Service)
		zone   string
		want   categorized
	}{
		"plain":               {change: func(*corev1.Service) {}, want: categorized{cluster: both, any: true}},
		"target-ref":          {change: targetRef, want: categorized{cluster: both, any: true}},
		"zone":                {change: preferSameZone, zone: "b", want: categorized{cluster: both[1:], any: true}},
		"zone-without-a-node": {change: preferSameZone, zone: "c", want: categorized{cluster: both, any: true}},
		// Machines are on no cluster node, so a Local policy has nothing to send traffic to.
		"internally-local": {change: internallyLocal, want: categorized{any: true}},
		"externally-local": {change: externallyLocal, want: categorized{cluster: both, any: true}},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, r.categorize(r.service(name, test.change), test.zone), test.want)
		})
	}
}

func check(t *testing.T, got, want categorized) {
	t.Helper()
	if !slices.Equal(got.cluster, want.cluster) || !slices.Equal(got.local, want.local) || got.any != want.any {
		t.Errorf("kube-proxy has %+v, want %+v", got, want)
	}
}

// TestKubeProxyWithoutAReadyNode: a node that drains serves where nothing else does, one that is cordoned does not.
func TestKubeProxyWithoutAReadyNode(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	draining := r.createService("draining", only(leaving))
	r.shows("draining", "10.1.0.3 draining")
	check(t, r.categorize(draining, ""), categorized{cluster: []string{"10.1.0.3:8080"}, any: true})

	out := r.createService("out", only(cordoned))
	r.shows("out", "10.1.0.4 not ready")
	check(t, r.categorize(out, ""), categorized{})

	published := r.createService("published", only(cordoned), publishNotReady)
	r.shows("published", "10.1.0.4 ready")
	check(t, r.categorize(published, ""), categorized{cluster: []string{"10.1.0.4:8080"}, any: true})
}
