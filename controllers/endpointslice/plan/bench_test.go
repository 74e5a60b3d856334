package plan

import (
	"net/netip"
	"strconv"
	"testing"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/internal/fixture"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// BenchmarkChange is one node's change; its cost must not depend on the number of nodes.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 50_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			nodes := fixture.Fleet(n)
			c := newCluster(b, fixture.Service(), nodes...)
			c.full()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				phases := []rollcallv1alpha1.NodePhase{rollcallv1alpha1.NodeStale, rollcallv1alpha1.NodeReady}
				at := i / 2 * 7919 % n
				node := fixture.But(nodes[at], fixture.Phase(phases[i%2]))
				operations := c.plan([]*mirror.Node{node})
				if len(operations) != 1 {
					b.Fatalf("%d operations", len(operations))
				}
				c.slices[operations[0].Slice.Name] = operations[0].Slice
			}
		})
	}
}

// BenchmarkMove is one node that leaves and one that joins.
func BenchmarkMove(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 50_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			nodes := fixture.Fleet(n)
			c := newCluster(b, fixture.Service(), nodes...)
			c.full()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				node := nodes[i*7919%n]
				c.change(nil, node.Name)
				c.change([]*mirror.Node{node})
			}
		})
	}
}

// BenchmarkFull is a full pass that finds nothing to do.
func BenchmarkFull(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 50_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			c := newCluster(b, fixture.Service(), fixture.Fleet(n)...)
			c.full()
			b.ReportAllocs()
			for b.Loop() {
				if _, operations := c.build(nil, c.selected()); len(operations) > 0 {
					b.Fatalf("%d operations", len(operations))
				}
			}
		})
	}
}

// BenchmarkStorm is a Service all of whose nodes move at once.
func BenchmarkStorm(b *testing.B) {
	nodes := fixture.Fleet(1000)
	c := newCluster(b, fixture.Service(), nodes...)
	c.full()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		moved := each(nodes, func(n *mirror.Node) {
			addr := n.Addresses[0].As4()
			addr[1] = byte(i%100 + 100)
			n.Addresses = []netip.Addr{netip.AddrFrom4(addr)}
		})
		if operations := c.change(moved); len(operations) != 10 {
			b.Fatalf("%d operations", len(operations))
		}
	}
}
