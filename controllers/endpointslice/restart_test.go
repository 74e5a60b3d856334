package endpointslice

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/internal/fixture"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// passes waits for so many full passes.
func (o *operator) passes(n int) {
	o.t.Helper()
	eventually(o.t, func() error {
		if got := o.fullPasses(); got < n {
			return fmt.Errorf("%d full passes, want %d", got, n)
		}
		return nil
	})
}

// TestRestartWithoutNodes: what was written before stays until the registry has been listed.
func TestRestartWithoutNodes(t *testing.T) {
	o := startWith(t, fixture.Fleet(150)...)
	o.service()
	o.hasEndpoints(150)
	o.hasReason(rollcallv1alpha1.ReasonSynced)
	first := o.Node("", "catga.web-00000")
	o.stop()
	o = start(t, o.namespace, &fakeMirror{nodes: map[string]*mirror.Node{}, unsettled: map[string]bool{"catga": true}})
	o.passes(1)
	o.set(fixture.But(first, fixture.Phase(rollcallv1alpha1.NodeStale)))
	o.hasEndpoints(149)
	if got := o.writes.ofSlices(); got["PUT endpointslices"] != 1 || len(got) != 1 {
		t.Errorf("the first node that comes back costs %v, want one update", got)
	}
	o.settle(o.namespace, "catga")
	o.hasEndpoints(0)
	if got := len(o.slices()); got != 1 {
		t.Errorf("%d slices are left, want that of the one node that is known", got)
	}
}

// TestEndpointsOutrankMemory: slices are written before DiscoveredNodes, so after a start they may know better.
func TestEndpointsOutrankMemory(t *testing.T) {
	o := startWith(t, fixture.Fleet(5)...)
	o.service()
	o.hasEndpoints(5)
	o.hasReason(rollcallv1alpha1.ReasonSynced)
	o.stop()

	remembered := func(n *mirror.Node) { n.Remembered = true }
	older := map[string]*mirror.Node{}
	for i, change := range []func(*mirror.Node){
		func(n *mirror.Node) { n.Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.1")} },
		fixture.Phase(rollcallv1alpha1.NodeExpired),
		fixture.Port(9090),
		func(n *mirror.Node) { n.Ports = nil },
		func(n *mirror.Node) { n.Cordoned = true },
	} {
		node := fixture.But(fixture.But(in(o.namespace, fixture.Fleet(5)[i]), change), remembered)
		older[node.Name] = node
	}
	o = start(t, o.namespace, &fakeMirror{nodes: older, unsettled: map[string]bool{"catga": true}})
	o.hasEndpoints(4)
	moved := older["catga.web-00000"]
	o.set(fixture.But(moved, func(n *mirror.Node) { n.Zone = "elsewhere" }))
	o.settle(o.namespace, "another")
	o.passes(2)
	o.hasEndpoints(4)
	if diff := cmp.Diff([]string{"10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3"}, o.addresses()); diff != "" {
		t.Error(diff)
	}
	if got := o.writes.ofSlices(); got["PUT endpointslices"] != 1 || len(got) != 1 {
		t.Errorf("memory costs %v, want one update: for the node that a person has cordoned", got)
	}

	for _, node := range fixture.Fleet(5) {
		o.set(in(o.namespace, node))
	}
	o.settle(o.namespace, "catga")
	o.hasEndpoints(5)
}

// TestAForgottenNodeKeepsItsEndpoint: whether a node had a good record before a start, whose records are refused now, nobody knows for a
// while, nor whose an endpoint is that no node explains. Until then what was written stands.
func TestAForgottenNodeKeepsItsEndpoint(t *testing.T) {
	o := startWith(t, fixture.Fleet(3)...)
	o.service()
	o.hasEndpoints(3)
	o.hasReason(rollcallv1alpha1.ReasonSynced)
	nodes := map[string]*mirror.Node{}
	for i, node := range fixture.Fleet(3) {
		node = in(o.namespace, node)
		if i > 0 {
			node = fixture.But(node, func(n *mirror.Node) {
				n.Phase, n.Labels, n.Addresses, n.Forgotten = rollcallv1alpha1.NodeInvalid, nil, nil, i == 1
			})
		}
		nodes[node.Name] = node
	}
	o.stop()
	o = start(t, o.namespace, &fakeMirror{nodes: nodes, unsettled: map[string]bool{"catga": true}})
	o.hasReason(rollcallv1alpha1.ReasonSynced)
	o.passes(1)
	o.settle(o.namespace, "another")
	o.passes(2)
	o.hasAddresses("10.0.0.0", "10.0.0.1", "10.0.0.2")
	o.settle(o.namespace, "catga")
	o.hasAddresses("10.0.0.0")
}

// TestAnEditedServiceOutranksEndpoints: what a person has changed since does not wait for the registry.
func TestAnEditedServiceOutranksEndpoints(t *testing.T) {
	for name, edit := range map[string]func(*corev1.ServicePort){
		"another name":     func(p *corev1.ServicePort) { p.Name = "web" },
		"another number":   func(p *corev1.ServicePort) { p.TargetPort = intstr.FromInt32(9090) },
		"another protocol": func(p *corev1.ServicePort) { p.AppProtocol = new("kubernetes.io/h2c") },
	} {
		t.Run(name, func(t *testing.T) {
			o := startWith(t, fixture.Fleet(4)...)
			service := o.service(func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromInt32(8080) })
			o.hasEndpoints(4)
			o.stop()
			o.edit(service, func() { edit(&service.Spec.Ports[0]) })
			older := map[string]*mirror.Node{}
			for _, node := range fixture.Fleet(4) {
				node = fixture.But(in(o.namespace, node), func(n *mirror.Node) { n.Remembered = true })
				older[node.Name] = node
			}
			moved := older["catga.web-00000"]
			older[moved.Name] = fixture.But(moved, func(n *mirror.Node) { n.Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.1")} })
			o = start(t, o.namespace, &fakeMirror{nodes: older, unsettled: map[string]bool{"catga": true}})
			port := &service.Spec.Ports[0]
			eventually(t, func() error {
				for _, slice := range o.slices() {
					got := &slice.Ports[0]
					if *got.Name != port.Name || *got.Port != port.TargetPort.IntVal || ptr.Deref(got.AppProtocol, "") != ptr.Deref(port.AppProtocol, "") {
						return fmt.Errorf("the ports are %v", slice.Ports)
					}
				}
				return nil
			})
			o.hasAddresses("10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3")
		})
	}
}
