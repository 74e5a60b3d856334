package refusal

import (
	"encoding/json"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/utils/ptr"
)

// Change is a slice as it stands and as it is desired.
type Change struct {
	base, desired *discoveryv1.EndpointSlice
	// standing are the endpoints of the base by address.
	standing map[string]*discoveryv1.Endpoint
}

// NewChange returns the change from base to desired. The base is nil where the slice is to be created, desired is nil where it is
// to be deleted.
func NewChange(base, desired *discoveryv1.EndpointSlice) *Change {
	c := &Change{base: base, desired: desired, standing: map[string]*discoveryv1.Endpoint{}}
	if base == nil {
		c.base = &discoveryv1.EndpointSlice{}
	}
	if desired == nil {
		c.desired = with(base, nil)
	}
	for i := range c.base.Endpoints {
		c.standing[address(&c.base.Endpoints[i])] = &c.base.Endpoints[i]
	}
	return c
}

// address returns what tells the endpoints of a slice apart.
func address(e *discoveryv1.Endpoint) string {
	if len(e.Addresses) == 0 {
		return ""
	}
	return e.Addresses[0]
}

// with returns the slice with other endpoints.
func with(slice *discoveryv1.EndpointSlice, endpoints []discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	next := &discoveryv1.EndpointSlice{AddressType: slice.AddressType, Endpoints: endpoints, Ports: slice.Ports}
	slice.ObjectMeta.DeepCopyInto(&next.ObjectMeta)
	next.ManagedFields = nil
	return next
}

// samePorts returns true if the change leaves the ports as they are.
func (c *Change) samePorts() bool {
	return apiequality.Semantic.DeepEqual(c.base.Ports, c.desired.Ports)
}

// Regroups returns true if a slice that exists gets other ports.
func (c *Change) Regroups() bool { return c.base.Name != "" && !c.samePorts() }

// held returns an endpoint of the base without what it gains on the way to the desired one: it takes no traffic that it is to lose.
func held(base, desired *discoveryv1.Endpoint) discoveryv1.Endpoint {
	next := *base
	ready, serving := ptr.Deref(base.Conditions.Ready, true), ptr.Deref(base.Conditions.Serving, true)
	wantsReady, wantsServing := ptr.Deref(desired.Conditions.Ready, true), ptr.Deref(desired.Conditions.Serving, true)
	if ready && !wantsReady || serving && !wantsServing {
		next.Conditions = discoveryv1.EndpointConditions{
			Ready: new(ready && wantsReady), Serving: new(serving && wantsServing), Terminating: desired.Conditions.Terminating,
		}
	}
	return next
}

// fresh returns true if a desired endpoint is more than what it is in the base without what it loses.
func (c *Change) fresh(i int) bool {
	e := &c.desired.Endpoints[i]
	found := c.standing[address(e)]
	if found == nil || !c.samePorts() {
		return true
	}
	return !apiequality.Semantic.DeepEqual(held(found, e), *e)
}

// New returns the indices of the desired endpoints that are new, or gain something.
func (c *Change) New() (all []int) {
	for i := range c.desired.Endpoints {
		if c.fresh(i) {
			all = append(all, i)
		}
	}
	return all
}

// Losing returns the slice without what is new: what it loses is all that changes.
func (c *Change) Losing() *discoveryv1.EndpointSlice { return with(c.base, c.endpoints(nil)) }

// Loses returns true if the change takes traffic from any endpoint.
func (c *Change) Loses() bool {
	return len(c.standing) < len(c.base.Endpoints) || len(c.lost()) > 0
}

// lost returns the addresses that are to leave the slice or to lose their traffic.
func (c *Change) lost() (all []string) {
	left := map[string]*discoveryv1.Endpoint{}
	endpoints := c.endpoints(nil)
	for i := range endpoints {
		left[address(&endpoints[i])] = &endpoints[i]
	}
	for at, found := range c.standing {
		if left[at] == nil || !apiequality.Semantic.DeepEqual(left[at], found) {
			all = append(all, at)
		}
	}
	return all
}

// With returns the desired slice in which those of the new endpoints that are not listed are as in the base, without what they
// lose.
func (c *Change) With(listed []int) *discoveryv1.EndpointSlice {
	in := make(map[int]bool, len(listed))
	for _, i := range listed {
		in[i] = true
	}
	return with(c.desired, c.endpoints(in))
}

// endpoints returns the endpoints of the base in the order in which they are desired, without what they lose; those listed are as
// desired.
func (c *Change) endpoints(listed map[int]bool) (all []discoveryv1.Endpoint) {
	for i := range c.desired.Endpoints {
		e := &c.desired.Endpoints[i]
		found := c.standing[address(e)]
		switch {
		case listed[i]:
			all = append(all, *e)
		case found != nil:
			all = append(all, held(found, e))
		}
	}
	return all
}

// Staying returns the slice with those of the base's endpoints that leave it and that must stay for now.
func Staying(base, desired *discoveryv1.EndpointSlice, must func(address string) bool) *discoveryv1.EndpointSlice {
	c := NewChange(base, desired)
	wanted := map[string]bool{}
	for i := range c.desired.Endpoints {
		wanted[address(&c.desired.Endpoints[i])] = true
	}
	endpoints := slices.Clip(c.desired.Endpoints)
	for i := range c.base.Endpoints {
		if at := address(&c.base.Endpoints[i]); !wanted[at] && must(at) {
			endpoints = append(endpoints, c.base.Endpoints[i])
		}
	}
	return with(c.desired, endpoints)
}

// key returns what an endpoint is known by that was put aside: all that a refusal may depend on, but for the slice that it is in.
func (c *Change) key(i int) string { return keyOf(c.desired, &c.desired.Endpoints[i]) }

func keyOf(slice *discoveryv1.EndpointSlice, endpoint *discoveryv1.Endpoint) string {
	key, err := json.Marshal(struct {
		Type     discoveryv1.AddressType
		Ports    []discoveryv1.EndpointPort
		Endpoint *discoveryv1.Endpoint
	}{slice.AddressType, slice.Ports, endpoint})
	if err != nil {
		return address(endpoint)
	}
	return string(key)
}
