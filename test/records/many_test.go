package records

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/utils/ptr"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

func address(n int) string { return fmt.Sprintf("10.0.0.%d", n) }

func (r *rig) beat(nodes ...int) {
	r.Helper()
	for _, n := range nodes {
		id := fmt.Sprintf("n-%d", n)
		r.put("node."+id, record(id, `"Endpoint":"`+address(n)+`:80"`))
	}
}

func TestNoMoreThanMaxNodes(t *testing.T) {
	r := newRig(t, ordinary(), func(s *rollcallv1alpha1.NodeRegistrySpec) { s.MaxNodes = ptr.To[int32](3) })
	stop := r.start()
	r.beat(1, 2, 3)
	r.Within(patience, "three nodes", r.serves(address(1), address(2), address(3)))
	r.Within(patience, "three objects", func() bool { return len(r.nodes()) == 3 })
	r.beat(4, 5, 6)
	r.Within(patience, "the registry to say so", func() bool {
		state, message := r.condition("Degraded")
		return state == "True/TooManyNodes" && strings.Contains(message, "3 entries")
	})
	for range 10 {
		r.beat(6, 5, 4, 3, 2, 1)
	}
	stop()
	r.beat(6, 5, 4)
	r.start()
	r.beat(6, 5, 4, 3, 2)
	// The change that follows proves that the heartbeats before it were seen.
	r.put("node.n-1", record("n-1", `"Endpoint":"`+address(1)+`:80","Zone":"z"`))
	r.Within(patience, "a change of a node that is in", func() bool { return r.nodes()["node.n-1"].Spec.Zone == "z" })
	if in := r.endpoints(); !slices.Equal(in, []string{address(1), address(2), address(3)}) {
		t.Errorf("now in are %v", in)
	}
	// A place that becomes free is taken at once, and only that one.
	r.remove("node.n-2")
	r.Within(patience, "another node in its place", func() bool {
		in := r.endpoints()
		return len(in) == 3 && slices.Contains(in, address(1)) && slices.Contains(in, address(3)) && !slices.Contains(in, address(2))
	})
	r.Within(patience, "the registry to count two", func() bool {
		_, message := r.condition("Degraded")
		return strings.Contains(message, "2 entries")
	})
	r.edit(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.MaxNodes = ptr.To[int32](10) })
	r.Within(patience, "all of them", r.serves(address(1), address(3), address(4), address(5), address(6)))
	r.Within(patience, "the registry to say so", func() bool {
		state, _ := r.condition("Degraded")
		return state != "True/TooManyNodes"
	})
}
