package record

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

func TestCache(t *testing.T) {
	var c Cache
	name := types.NamespacedName{Namespace: "ns", Name: "reg"}
	first, err := c.Mapping(name, rollcallv1alpha1.Record{NodeID: "key"})
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := c.Mapping(name, rollcallv1alpha1.Record{NodeID: "key"}); again != first {
		t.Error("an unchanged spec was compiled again")
	}
	if other, _ := c.Mapping(name, rollcallv1alpha1.Record{NodeID: "key + 'x'"}); other == first {
		t.Error("another spec gives the old Mapping")
	}
	c.Forget(name)
	if again, _ := c.Mapping(name, rollcallv1alpha1.Record{NodeID: "key"}); again == first {
		t.Error("a forgotten registry still has its Mapping")
	}
}

func TestCacheKeepsTheLastThatCompiled(t *testing.T) {
	var c Cache
	name := types.NamespacedName{Namespace: "ns", Name: "reg"}
	bad := []rollcallv1alpha1.Record{{NodeID: "key +"}, {NodeID: "key +"}, {Zone: "value."}, {NodeID: "key +"}}
	for _, spec := range bad {
		if got, err := c.Mapping(name, spec); err == nil || got != nil {
			t.Errorf("an invalid spec gives %v, %v", got, err)
		}
	}
	good, err := c.Mapping(name, rollcallv1alpha1.Record{NodeID: "key"})
	if err != nil || good.Spec.NodeID != "key" {
		t.Fatalf("a valid spec gives %v, %v", good, err)
	}
	for _, spec := range bad {
		if got, err := c.Mapping(name, spec); err == nil || got != good {
			t.Errorf("an invalid edit gives %v, %v", got, err)
		}
	}
	if got, err := c.Mapping(name, good.Spec); err != nil || got != good {
		t.Errorf("taken back, it gives %v, %v", got, err)
	}
	if got, err := c.Mapping(types.NamespacedName{Namespace: "ns", Name: "other"}, bad[0]); err == nil || got != nil {
		t.Errorf("another registry has %v, %v", got, err)
	}
	c.Forget(name)
	if got, err := c.Mapping(name, bad[0]); err == nil || got != nil {
		t.Errorf("a forgotten registry has %v, %v", got, err)
	}
}
