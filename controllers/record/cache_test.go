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
	for range 2 {
		if m, err := c.Mapping(name, rollcallv1alpha1.Record{NodeID: "key +"}); err == nil || m != nil {
			t.Errorf("an invalid spec gives %v, %v", m, err)
		}
	}
	c.Forget(name)
	if again, _ := c.Mapping(name, rollcallv1alpha1.Record{NodeID: "key"}); again == first {
		t.Error("a forgotten registry still has its Mapping")
	}
}
