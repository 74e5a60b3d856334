package mirror

import (
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	testclock "k8s.io/utils/clock/testing"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

// TestUnsettled: what nobody knows may be removed once every registry is settled that the selector can select.
func TestUnsettled(t *testing.T) {
	present := sets.New("absent", "foreign") // They exist, and have no Mirror there.
	store := NewStore(testclock.NewFakeClock(time.Unix(0, 0)), func(name types.NamespacedName) bool { return present.Has(name.Name) })
	for name, settled := range map[string]bool{"listed": true, "unlisted": false} {
		m := store.Add(types.NamespacedName{Namespace: "fleet", Name: name}, Policy{Record: record.Policy{KeyPrefix: "node."}}, nil, nil)
		m.memory.settled = settled
	}
	store.Add(types.NamespacedName{Namespace: "other", Name: "foreign"}, Policy{Record: record.Policy{KeyPrefix: "node."}}, nil, nil)
	// unnamed says whether it waits for registries that nobody knows any more, of which there may be one.
	for selector, test := range map[string]struct {
		want    []string
		unnamed bool
	}{
		"role=web":                                {[]string{"unlisted"}, true},
		"rollcall.dev/registry":                   {[]string{"unlisted"}, true},
		"rollcall.dev/registry=listed":            {nil, false},
		"rollcall.dev/registry=listed,role=web":   {nil, false},
		"rollcall.dev/registry in (listed, gone)": {nil, false},
		"rollcall.dev/registry=unlisted":          {[]string{"unlisted"}, false},
		"rollcall.dev/registry=absent":            {[]string{"absent"}, false},
		"rollcall.dev/registry!=unlisted":         {nil, true},
		"rollcall.dev/registry notin (listed)":    {[]string{"unlisted"}, true},
	} {
		parsed, err := labels.Parse(selector)
		if err != nil {
			t.Fatal(err)
		}
		if got := sets.List(store.Unsettled("fleet", parsed)); !slices.Equal(got, test.want) {
			t.Errorf("%s: unsettled are %v, want %v", selector, got, test.want)
		}
		present.Insert("")
		if got := store.Unsettled("fleet", parsed).Has(""); got != test.unnamed {
			t.Errorf("%s: waits for registries that nobody knows: %t, want %t", selector, got, test.unnamed)
		}
		present.Delete("")
	}
}

// TestServing: a cordon takes the traffic, and says nothing of whether the node answers.
func TestServing(t *testing.T) {
	for phase, want := range map[rollcallv1alpha1.NodePhase][2]bool{
		rollcallv1alpha1.NodeReady:    {true, true},
		rollcallv1alpha1.NodeDraining: {true, true},
		rollcallv1alpha1.NodeStale:    {false, false},
		rollcallv1alpha1.NodeExpired:  {false, false},
		rollcallv1alpha1.NodeInvalid:  {false, false},
	} {
		for i, cordoned := range []bool{false, true} {
			n := &Node{Phase: phase, Cordoned: cordoned}
			if got := n.Serving(); got != want[i] {
				t.Errorf("%s, cordoned %t: serving %t, want %t", phase, cordoned, got, want[i])
			}
			if cordoned && n.Traffic() > TrafficNotReady {
				t.Errorf("%s, cordoned: it has traffic", phase)
			}
		}
	}
}
