package endpointslice

import (
	"fmt"
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
		want.ManagedFields = nil
		packed, err := Compact(slice)
		if err != nil {
			t.Fatal(err)
		}
		if !apiequality.Semantic.DeepEqual(packed, want) {
			t.Fatalf("slice %d was\n%+v\nand is\n%+v", n, want, packed)
		}
	}
}

// A slice is a good deal smaller packed, and in fewer pieces for the garbage collector.
func TestCompactSavesAllocations(t *testing.T) {
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: fixture.Namespace, Name: "web-1"}}
	for n := range plan.MaxEndpoints {
		name := fmt.Sprintf("web-%d", n)
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{fmt.Sprintf("10.0.0.%d", n)},
			Conditions: discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)},
			Hostname:   &name, Zone: new("eu-1a"),
			TargetRef: &corev1.ObjectReference{Kind: "DiscoveredNode", Namespace: fixture.Namespace, Name: "catga." + name},
		})
	}
	allocated := testing.AllocsPerRun(10, func() {
		if _, err := Compact(slice); err != nil {
			t.Fatal(err)
		}
	})
	if allocated > plan.MaxEndpoints/4 {
		t.Errorf("a slice of %d endpoints is packed into %g pieces", plan.MaxEndpoints, allocated)
	}
}

func TestCompactLeavesTombstonesAlone(t *testing.T) {
	tombstone := cache.DeletedFinalStateUnknown{Key: "a/b"}
	if got, err := Compact(tombstone); err != nil || got != tombstone {
		t.Errorf("%v, %v", got, err)
	}
}
