package endpointslice

import (
	"maps"
	"net/netip"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/ptr"

	"github.com/rollcall-dev/rollcall/controllers/endpointslice/plan"
)

// place is where an endpoint is: its address, as parsed, and its ports.
type place struct{ address, ports string }

// content is what slices hold together, whichever of them does.
type content struct {
	endpoints map[place]*discoveryv1.Endpoint
	// ready are the addresses that take traffic, on whatever port.
	ready sets.Set[string]
}

func contentOf(all ...*discoveryv1.EndpointSlice) *content {
	c := &content{endpoints: map[place]*discoveryv1.Endpoint{}, ready: sets.New[string]()}
	for _, slice := range all {
		for at, endpoint := range places(slice) {
			c.endpoints[at] = endpoint
			if takesTraffic(endpoint) {
				c.ready.Insert(at.address)
			}
		}
	}
	return c
}

// places returns the endpoints of a slice; nil has none.
func places(slice *discoveryv1.EndpointSlice) map[place]*discoveryv1.Endpoint {
	found := map[place]*discoveryv1.Endpoint{}
	if slice == nil {
		return found
	}
	ports := plan.PortsKey(slice.Ports)
	for i := range slice.Endpoints {
		found[place{addressOf(&slice.Endpoints[i]), ports}] = &slice.Endpoints[i]
	}
	return found
}

// addressOf returns the address of an endpoint as it is always written.
func addressOf(endpoint *discoveryv1.Endpoint) string {
	if len(endpoint.Addresses) == 0 {
		return ""
	}
	if addr, err := netip.ParseAddr(endpoint.Addresses[0]); err == nil {
		return addr.String()
	}
	return endpoint.Addresses[0]
}

func takesTraffic(endpoint *discoveryv1.Endpoint) bool {
	return ptr.Deref(endpoint.Conditions.Ready, true)
}

// judge tells the operations apart that make up for what somebody else has changed.
type judge struct {
	slices snapshot
	// desired is what the slices will hold, written what they held when we wrote them last.
	desired, written *content
}

// newJudge returns the judge of those operations. Of an endpoint that waits because the API server refuses it, nothing is news.
func newJudge(slices snapshot, operations []plan.Operation, waits func(*discoveryv1.EndpointSlice, *discoveryv1.Endpoint) bool) *judge {
	next := maps.Clone(slices.current)
	for _, op := range operations {
		next[op.Slice.Name] = after(op)
	}
	all := make([]*discoveryv1.EndpointSlice, 0, len(next))
	for _, slice := range next {
		all = append(all, slice)
	}
	j := &judge{slices: slices, desired: contentOf(all...), written: contentOf(slices.written...)}
	for _, slice := range all {
		for at, endpoint := range places(slice) {
			if waits(slice, endpoint) {
				j.desired.endpoints[at] = j.written.endpoints[at]
			}
		}
	}
	return j
}

// after returns what is left of a slice after the operation.
func after(op plan.Operation) *discoveryv1.EndpointSlice {
	if op.Verb == plan.Delete {
		return nil
	}
	return op.Slice
}

// repairs returns true if the operation has no cause but somebody's change: whatever it brings or takes away should be as it should
// have been when we wrote last.
func (j *judge) repairs(op plan.Operation) bool {
	now, next := places(j.slices.current[op.Slice.Name]), places(after(op))
	for at, endpoint := range next {
		if found := now[at]; (found == nil || !plan.Same(found, endpoint)) && j.news(at) {
			return false
		}
	}
	for at := range now {
		if next[at] == nil && j.news(at) {
			return false
		}
	}
	return true
}

// news returns true if what should be at the place is not what should have been there when we wrote last.
func (j *judge) news(at place) bool {
	desired, written := j.desired.endpoints[at], j.written.endpoints[at]
	if desired == nil || written == nil {
		return desired != written
	}
	return !plan.Same(desired, written)
}

// relief returns the operation that takes the traffic from what must not have it, and leaves the rest of the slice as somebody else has
// made it; false if nothing has. The slice stays even if it is empty: whoever fills it again is named by the API server.
func (j *judge) relief(op plan.Operation) (plan.Operation, bool) {
	current := j.slices.current[op.Slice.Name]
	if current == nil {
		return plan.Operation{}, false
	}
	ports := plan.PortsKey(current.Ports)
	next := &discoveryv1.EndpointSlice{AddressType: current.AddressType, Ports: current.Ports}
	current.ObjectMeta.DeepCopyInto(&next.ObjectMeta)
	relieved := false
	for i := range current.Endpoints {
		endpoint := &current.Endpoints[i]
		address := addressOf(endpoint)
		if takesTraffic(endpoint) && !j.desired.ready.Has(address) {
			relieved = true
			if endpoint = j.desired.endpoints[place{address, ports}]; endpoint == nil {
				continue
			}
		}
		next.Endpoints = append(next.Endpoints, *endpoint)
	}
	return plan.Operation{Verb: plan.Update, Slice: next}, relieved
}
