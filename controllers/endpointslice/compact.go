package endpointslice

import (
	"hash/maphash"
	"runtime"
	"slices"
	"sync"
	"unique"
	"weak"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// Compact is a cache.TransformFunc for EndpointSlices. It keeps who has written a slice, but not which fields, and packs the endpoints.
func Compact(object any) (any, error) {
	slice, ok := object.(*discoveryv1.EndpointSlice)
	if !ok {
		return object, nil // A tombstone: what it holds was packed before.
	}
	slim(slice)
	return slice, nil
}

// slim makes a slice small that was read.
func slim(slice *discoveryv1.EndpointSlice) {
	for i, entry := range slice.ManagedFields {
		slice.ManagedFields[i] = metav1.ManagedFieldsEntry{
			Manager: unique.Make(entry.Manager).Value(), Operation: entry.Operation, Time: entry.Time,
		}
	}
	slice.Endpoints = pack(slice.Endpoints)
}

// pack returns endpoints that share what they point to. Of a node that many Services show, what the decoder makes for each of them
// is most of what a slice takes, and a dozen pieces for the garbage collector to look at. The decoder also leaves room for
// endpoints that never come.
func pack(endpoints []discoveryv1.Endpoint) []discoveryv1.Endpoint {
	endpoints = slices.Clone(endpoints)
	for i := range endpoints {
		e := &endpoints[i]
		p := part{hostname: ptr.Deref(e.Hostname, ""), zone: ptr.Deref(e.Zone, ""), ref: ptr.Deref(e.TargetRef, corev1.ObjectReference{})}
		single := len(e.Addresses) == 1
		if single {
			p.addresses[0] = e.Addresses[0]
		}
		shared := parts.share(p)
		if single {
			e.Addresses = shared.addresses[:]
		}
		e.Hostname, e.Zone, e.TargetRef = to(&shared.hostname, e.Hostname), to(&shared.zone, e.Zone), to(&shared.ref, e.TargetRef)
		for _, condition := range []**bool{&e.Conditions.Ready, &e.Conditions.Serving, &e.Conditions.Terminating} {
			*condition = to(bools[ptr.Deref(*condition, false)], *condition)
		}
	}
	return endpoints
}

// to returns a pointer to a shared value that stands in for another one; nil for nil.
func to[T any](shared, own *T) *T {
	if own == nil {
		return nil
	}
	return shared
}

var (
	parts = sharing{seed: maphash.MakeSeed(), parts: map[uint64]weak.Pointer[part]{}}
	bools = map[bool]*bool{false: new(false), true: new(true)}
)

// part is what the endpoints of one node point to. It is never written to.
type part struct {
	addresses      [1]string
	hostname, zone string
	ref            corev1.ObjectReference
}

// sharing has the parts that somebody holds, by their hashes. It is safe for concurrent use.
type sharing struct {
	seed maphash.Seed

	mu    sync.Mutex
	parts map[uint64]weak.Pointer[part]
}

// share returns the one copy of a part.
func (s *sharing) share(p part) *part {
	key := maphash.Comparable(s.seed, p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.parts[key].Value(); known != nil && *known == p {
		return known
	}
	for _, common := range []*string{&p.zone, &p.ref.Kind, &p.ref.Namespace, &p.ref.APIVersion} {
		*common = unique.Make(*common).Value()
	}
	fresh := new(p)
	s.parts[key] = weak.Make(fresh)
	runtime.AddCleanup(fresh, s.forget, key)
	return fresh
}

// forget drops a part that nobody holds any more.
func (s *sharing) forget(key uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parts[key].Value() == nil {
		delete(s.parts, key)
	}
}
