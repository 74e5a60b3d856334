package endpointslice

import (
	"fmt"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/randfill"

	"github.com/rollcall-dev/rollcall/controllers/endpointslice/internal/fixture"
	"github.com/rollcall-dev/rollcall/controllers/endpointslice/plan"
)

// A packed slice says what it said before, whatever it says.
func TestCompact(t *testing.T) {
	fill := randfill.NewWithSeed(1).NilChance(0.3).NumElements(0, 5).MaxDepth(8)
	for n := range 500 {
		slice := &discoveryv1.EndpointSlice{}
		fill.Fill(slice)
		want := slice.DeepCopy()
		for i := range want.ManagedFields {
			entry := &want.ManagedFields[i]
			entry.FieldsV1, entry.FieldsType, entry.APIVersion, entry.Subresource = nil, "", "", ""
		}
		packed, err := Compact(slice)
		if err != nil {
			t.Fatal(err)
		}
		if !apiequality.Semantic.DeepEqual(packed, want) {
			t.Fatalf("slice %d was\n%+v\nand is\n%+v", n, want, packed)
		}
	}
}

// decoded returns a slice as the decoder makes it, with or without the targets of its endpoints.
func decoded(targets bool) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: fixture.Namespace, Name: "web-1"}}
	for n := range plan.MaxEndpoints {
		name := fmt.Sprintf("web-%d", n)
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{fmt.Sprintf("10.0.0.%d", n)},
			Conditions: discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)},
			Hostname:   &name, Zone: new("eu-1a"),
		})
		if targets {
			slice.Endpoints[n].TargetRef = &corev1.ObjectReference{Kind: "DiscoveredNode", Namespace: fixture.Namespace, Name: "catga." + name}
		}
	}
	return slice
}

// The slices of several Services share what they say of one node, for as long as one of them is there.
func TestCompactShares(t *testing.T) {
	size := func() int { return parts.len() + refs.len() }
	before := size()
	first, second := decoded(true), decoded(true)
	first.Endpoints = pack(first.Endpoints)
	if allocated := testing.AllocsPerRun(10, func() { second.Endpoints = pack(second.Endpoints) }); allocated > 1 {
		t.Errorf("what is known is packed into %g new pieces", allocated)
	}
	for i := range first.Endpoints {
		if a, b := &first.Endpoints[i], &second.Endpoints[i]; a.TargetRef != b.TargetRef || &a.Addresses[0] != &b.Addresses[0] {
			t.Fatalf("endpoint %d shares nothing", i)
		}
	}
	if got := size(); got < 2*plan.MaxEndpoints {
		t.Errorf("%d parts are there", got)
	}
	runtime.KeepAlive(first)
	runtime.KeepAlive(second)
	eventually(t, func() error {
		runtime.GC()
		if got := size(); got > before {
			return fmt.Errorf("%d parts are there, %d before", got, before)
		}
		return nil
	})
}

// len returns how many values somebody holds.
func (s *sharing[T]) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.values)
}

// TestCompactMemory: an endpoint that other Services show as well costs no more than what it consists of.
func TestCompactMemory(t *testing.T) {
	for _, targets := range []bool{false, true} {
		t.Run(fmt.Sprintf("targets %t", targets), func(t *testing.T) { compactMemory(t, targets) })
	}
}

func compactMemory(t *testing.T, targets bool) {
	t.Helper()
	const services = 1000
	list := make([]*discoveryv1.EndpointSlice, 0, services)
	before := heap()
	for range services {
		slice := decoded(targets)
		if _, err := Compact(slice); err != nil {
			t.Fatal(err)
		}
		list = append(list, slice)
	}
	got := int64(heap()-before) / (services * plan.MaxEndpoints)
	t.Logf("a slice takes %d bytes an endpoint", got)
	if most := int64(120); got > most {
		t.Errorf("a slice takes %d bytes an endpoint, want at most %d", got, most)
	}
	runtime.KeepAlive(list)
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func TestCompactLeavesTombstonesAlone(t *testing.T) {
	tombstone := cache.DeletedFinalStateUnknown{Key: "a/b"}
	if got, err := Compact(tombstone); err != nil || got != tombstone {
		t.Errorf("%v, %v", got, err)
	}
}
