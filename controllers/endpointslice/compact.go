package endpointslice

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Compact is a cache.TransformFunc for EndpointSlices. It drops the managed fields, which nobody here reads, and packs the
// endpoints.
func Compact(object any) (any, error) {
	slice, ok := object.(*discoveryv1.EndpointSlice)
	if !ok {
		return object, nil // A tombstone: what it holds was packed before.
	}
	slice.ManagedFields = nil
	pack(slice.Endpoints)
	return slice, nil
}

// pack gathers what the decoder scatters over a dozen allocations an endpoint in a few for all. A change of one endpoint
// reads all others of its slice: in a large fleet that is most of what the change costs, and less when they lie side by
// side.
func pack(endpoints []discoveryv1.Endpoint) {
	p := newPacker(endpoints)
	for i := range endpoints {
		p.pack(&endpoints[i])
	}
}

// packer holds what the endpoints of one slice point to.
type packer struct {
	text      strings.Builder
	addresses []string
	hostnames []string
	refs      []corev1.ObjectReference
	// common has the strings that many endpoints have.
	common map[string]*string
	bools  [2]bool
}

func newPacker(endpoints []discoveryv1.Endpoint) *packer {
	var text, addresses int
	for i := range endpoints {
		e := &endpoints[i]
		addresses += len(e.Addresses)
		for _, address := range e.Addresses {
			text += len(address)
		}
		if e.Hostname != nil {
			text += len(*e.Hostname)
		}
		if e.TargetRef != nil {
			text += len(e.TargetRef.Name)
		}
	}
	p := &packer{
		addresses: make([]string, 0, addresses),
		hostnames: make([]string, 0, len(endpoints)),
		refs:      make([]corev1.ObjectReference, 0, len(endpoints)),
		common:    map[string]*string{},
		bools:     [2]bool{false, true},
	}
	p.text.Grow(text)
	return p
}

func (p *packer) pack(e *discoveryv1.Endpoint) {
	from := len(p.addresses)
	for _, address := range e.Addresses {
		p.addresses = append(p.addresses, p.own(address))
	}
	if e.Addresses != nil {
		e.Addresses = p.addresses[from:len(p.addresses):len(p.addresses)]
	}
	for _, condition := range []**bool{&e.Conditions.Ready, &e.Conditions.Serving, &e.Conditions.Terminating} {
		*condition = p.flag(*condition)
	}
	if e.Hostname != nil {
		p.hostnames = append(p.hostnames, p.own(*e.Hostname))
		e.Hostname = &p.hostnames[len(p.hostnames)-1]
	}
	if e.Zone != nil {
		e.Zone = p.share(*e.Zone)
	}
	if ref := e.TargetRef; ref != nil {
		p.refs = append(p.refs, corev1.ObjectReference{
			Kind: *p.share(ref.Kind), Namespace: *p.share(ref.Namespace), APIVersion: *p.share(ref.APIVersion),
			Name: p.own(ref.Name), UID: ref.UID, ResourceVersion: ref.ResourceVersion, FieldPath: ref.FieldPath,
		})
		e.TargetRef = &p.refs[len(p.refs)-1]
	}
}

// own returns the string as a part of the text, which has been made large enough for all of them.
func (p *packer) own(s string) string {
	from := p.text.Len()
	_, _ = p.text.WriteString(s)
	return p.text.String()[from:]
}

// share returns the one copy of a string.
func (p *packer) share(s string) *string {
	if p.common[s] == nil {
		first := s // On the heap only if it is kept.
		p.common[s] = &first
	}
	return p.common[s]
}

func (p *packer) flag(b *bool) *bool {
	switch {
	case b == nil:
		return nil
	case *b:
		return &p.bools[1]
	default:
		return &p.bools[0]
	}
}
