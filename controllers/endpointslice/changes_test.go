package endpointslice

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rollcall-dev/rollcall/controllers/endpointslice/internal/fixture"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// statesOf returns the states of Services by their selectors.
func statesOf(t testing.TB, selectors map[string]string) *states {
	t.Helper()
	s := newStates()
	for name, text := range selectors {
		selector, err := labels.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		st := s.get(types.NamespacedName{Namespace: fixture.Namespace, Name: name})
		s.begin(st, selector, false)
	}
	return s
}

func labelled(role string) func(*mirror.Node) {
	return func(n *mirror.Node) { n.Labels = map[string]string{"role": role} }
}

// TestChange: a changed node concerns the Services that select it, or did before.
func TestChange(t *testing.T) {
	now := fixture.Epoch.Add(time.Hour)
	node := fixture.Node("catga", "a", "10.0.0.1")
	bare := fixture.But(node, func(n *mirror.Node) { n.Labels = nil })
	later := fixture.But(node, func(n *mirror.Node) { n.Changed = now })
	for name, test := range map[string]struct {
		change mirror.Change
		at     time.Time
		want   []string
	}{
		"joined":               {mirror.Change{New: node}, fixture.Epoch, []string{"any", "web"}},
		"gone":                 {mirror.Change{Old: node}, now, []string{"any", "web"}},
		"changed":              {mirror.Change{Old: node, New: later}, now, []string{"any", "web"}},
		"takes another role":   {mirror.Change{Old: node, New: fixture.But(node, labelled("db"))}, fixture.Epoch, []string{"any", "db", "web"}},
		"has no labels":        {mirror.Change{New: bare}, fixture.Epoch, []string{"none"}},
		"loses its labels":     {mirror.Change{Old: node, New: bare}, fixture.Epoch, []string{"any", "none", "web"}},
		"in another namespace": {mirror.Change{New: fixture.But(node, func(n *mirror.Node) { n.Namespace = "x" })}, fixture.Epoch, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := statesOf(t, map[string]string{"web": "role=web", "db": "role=db", "any": "role", "none": "!role"})
			concerned := s.change(map[types.NamespacedName]mirror.Change{test.change.Name(): test.change}, now)
			var got []string
			for _, service := range concerned {
				got = append(got, service.Name)
				want := map[string]time.Time{node.Name: test.at}
				if diff := cmp.Diff(want, s.get(service).backlog.merged()); diff != "" {
					t.Errorf("the backlog of %s differs (-want +got):\n%s", service.Name, diff)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("Services differ (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBacklog: a node has the time of its earliest change, and one that changes all the time fills no memory.
func TestBacklog(t *testing.T) {
	var b backlog
	b.add(batch{{name: "a", at: fixture.Epoch.Add(1)}, {name: "b", at: fixture.Epoch}})
	moved := fixture.Node("catga", "a", "10.0.0.1")
	b.add(batch{{name: "a", node: moved, at: fixture.Epoch}, {name: "b", at: fixture.Epoch.Add(1)}})
	if diff := cmp.Diff(map[string]time.Time{"a": fixture.Epoch, "b": fixture.Epoch}, b.merged()); diff != "" {
		t.Errorf("the nodes differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]*mirror.Node{"a": moved, "b": nil}, b.latest(), cmp.Comparer(func(a, b *mirror.Node) bool { return a == b })); diff != "" {
		t.Errorf("the nodes are not the latest (-want +got):\n%s", diff)
	}

	s := statesOf(t, map[string]string{"web": "role=web"})
	changes := map[types.NamespacedName]mirror.Change{}
	for _, node := range fixture.Fleet(1000) {
		change := mirror.Change{New: node}
		changes[change.Name()] = change
	}
	for i := 0; !s.get(web).full; i += len(changes) {
		if s.change(changes, fixture.Epoch); i > maxBacklog {
			t.Fatalf("%d changes are in the backlog", i)
		}
	}
	if got := s.get(web).backlog.size; got != 0 {
		t.Errorf("%d changes are in the backlog beside all nodes", got)
	}
}

// BenchmarkHand is 10,000 changed nodes that concern 1,000 Services.
func BenchmarkHand(b *testing.B) {
	selectors := map[string]string{}
	for i := range 1000 {
		selectors[fmt.Sprintf("web-%d", i)] = "role=web"
	}
	for name, shared := range map[string]bool{"labels shared": true, "labels of its own": false} {
		b.Run(name, func(b *testing.B) {
			changes := map[types.NamespacedName]mirror.Change{}
			common := map[string]string{"role": "web"}
			for _, node := range fixture.Fleet(10_000) {
				node.Labels = common
				if !shared {
					node.Labels = maps.Clone(common)
					node.Labels["id"] = node.ID
				}
				change := mirror.Change{Old: node, New: fixture.But(node, fixture.Stale)}
				changes[change.Name()] = change
			}
			b.ReportAllocs()
			for b.Loop() {
				s := statesOf(b, selectors)
				if got := s.change(changes, fixture.Epoch); len(got) != len(selectors) {
					b.Fatalf("%d Services", len(got))
				}
			}
		})
	}
}
