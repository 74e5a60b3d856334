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
		p := part{hostname: ptr.Deref(e.Hostname, ""), zone: ptr.Deref(e.Zone, "")}
		single := len(e.Addresses) == 1
		if single {
			p.addresses[0] = e.Addresses[0]
		}
		shared := parts.share(p, func(p *part) []*string { return []*string{&p.zone} })
		if single {
			e.Addresses = shared.addresses[:]
		}
		e.Hostname, e.Zone = to(&shared.hostname, e.Hostname), to(&shared.zone, e.Zone)
		if e.TargetRef != nil {
			e.TargetRef = refs.share(*e.TargetRef, func(r *corev1.ObjectReference) []*string {
				return []*string{&r.Kind, &r.Namespace, &r.APIVersion}
			})
		}
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
	parts = newSharing[part]()
	refs  = newSharing[corev1.ObjectReference]()
	bools = map[bool]*bool{false: new(false), true: new(true)}
)

// part is what the endpoints at one address point to. It is never written to.
type part struct {
	addresses      [1]string
	hostname, zone string
}

// sharing has the values that somebody holds, by their hashes. It is safe for concurrent use.
type sharing[T comparable] struct {
	seed maphash.Seed

	mu     sync.Mutex
	values map[uint64]weak.Pointer[T]
}

func newSharing[T comparable]() *sharing[T] {
	return &sharing[T]{seed: maphash.MakeSeed(), values: map[uint64]weak.Pointer[T]{}}
}

// share returns the one copy of a value. common returns the texts in it that it has in common with others.
func (s *sharing[T]) share(value T, common func(*T) []*string) *T {
	key := maphash.Comparable(s.seed, value)
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.values[key].Value(); known != nil && *known == value {
		return known
	}
	fresh := new(value)
	for _, text := range common(fresh) {
		*text = unique.Make(*text).Value()
	}
	s.values[key] = weak.Make(fresh)
	runtime.AddCleanup(fresh, s.forget, key)
	return fresh
}

// forget drops a value that nobody holds any more.
func (s *sharing[T]) forget(key uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values[key].Value() == nil {
		delete(s.values, key)
	}
}
