package endpointslice

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/rollcall-dev/rollcall/controllers/endpointslice/plan"
	"github.com/rollcall-dev/rollcall/internal/dispute"
	"github.com/rollcall-dev/rollcall/internal/todo"
)

const own = "rollcall-manager/here"

// holding returns a slice with ready endpoints at addresses; one that ends in a ! is not ready.
func holding(name string, addresses ...string) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: name}, AddressType: discoveryv1.AddressTypeIPv4}
	for _, address := range addresses {
		plain := strings.TrimSuffix(address, "!")
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{plain}, Conditions: discoveryv1.EndpointConditions{Ready: new(plain == address)},
		})
	}
	return slice
}

// unrefused is for an API server that refuses nothing.
func unrefused(*discoveryv1.EndpointSlice, *discoveryv1.Endpoint) bool { return false }

// byName returns slices by their names.
func byName(all ...*discoveryv1.EndpointSlice) map[string]*discoveryv1.EndpointSlice {
	named := map[string]*discoveryv1.EndpointSlice{}
	for _, slice := range all {
		named[slice.Name] = slice
	}
	return named
}

// described returns what an operation does, as "update a 1 2!".
func described(op plan.Operation) string {
	words := []string{string(op.Verb), op.Slice.Name}
	if op.Verb == plan.Delete {
		return strings.Join(words, " ")
	}
	for _, e := range op.Slice.Endpoints {
		word := e.Addresses[0]
		if !*e.Conditions.Ready {
			word += "!"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// TestWhatIsARepair: with a fight on, what a node or the Service changes is written at once, and what somebody else changed is not,
// unless it gives traffic to who must not have it.
func TestWhatIsARepair(t *testing.T) {
	update := func(s *discoveryv1.EndpointSlice) plan.Operation { return plan.Operation{Verb: plan.Update, Slice: s} }
	create := func(s *discoveryv1.EndpointSlice) plan.Operation { return plan.Operation{Verb: plan.Create, Slice: s} }
	remove := func(s *discoveryv1.EndpointSlice) plan.Operation { return plan.Operation{Verb: plan.Delete, Slice: s} }
	yielding := func(op plan.Operation) plan.Operation { op.Yields = true; return op }
	a := func(addresses ...string) *discoveryv1.EndpointSlice { return holding("a", addresses...) }
	b := func(addresses ...string) *discoveryv1.EndpointSlice { return holding("b", addresses...) }
	type slices = []*discoveryv1.EndpointSlice
	tests := map[string]struct {
		// written are the slices as we wrote them last, current as they are.
		written, current slices
		operations       []plan.Operation
		want             []string
		held             bool
	}{
		"an endpoint taken out":     {slices{a("1", "2")}, slices{a("1")}, []plan.Operation{update(a("1", "2"))}, nil, true},
		"an endpoint not ready":     {slices{a("1")}, slices{a("1!")}, []plan.Operation{update(a("1"))}, nil, true},
		"a label":                   {slices{a("1")}, slices{a("1")}, []plan.Operation{update(a("1"))}, nil, true},
		"a slice deleted":           {slices{a("1")}, nil, []plan.Operation{create(b("1"))}, nil, true},
		"a slice too many":          {slices{a("1")}, slices{a("1"), b("1")}, []plan.Operation{remove(b("1"))}, nil, true},
		"a dead node":               {slices{a("1")}, slices{a("1", "9")}, []plan.Operation{update(a("1"))}, []string{"update a 1"}, true},
		"a node made ready":         {slices{a("1", "2!")}, slices{a("1", "2")}, []plan.Operation{update(a("1", "2!"))}, []string{"update a 1 2!"}, true},
		"a dead node and a loss":    {slices{a("1", "2")}, slices{a("1", "9")}, []plan.Operation{update(a("1", "2"))}, []string{"update a 1"}, true},
		"a slice of dead nodes":     {slices{a("1")}, slices{a("1"), b("9")}, []plan.Operation{remove(b("9"))}, []string{"update b"}, true},
		"a node is gone":            {slices{a("1", "2")}, slices{a("1", "2", "9")}, []plan.Operation{update(a("1"))}, []string{"update a 1"}, false},
		"a node is gone, elsewhere": {slices{a("1", "2"), b("3", "4")}, slices{a("1"), b("3", "4")}, []plan.Operation{update(a("1", "2")), update(b("3"))}, []string{"update b 3"}, true},
		"a node comes":              {slices{a("1", "2")}, slices{a("1")}, []plan.Operation{update(a("1", "2", "3"))}, []string{"update a 1 2 3"}, false},
		"it moves after a deletion": {
			slices{a("1", "2"), b("3")}, slices{a("1", "2")},
			[]plan.Operation{create(b("2", "3")), yielding(update(a("1")))}, nil, true,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1_000_000, 0)
			c := contest{}
			c.fight.Repaired(now)
			c.fight.Repaired(now)
			known := snapshot{current: byName(test.current...), written: test.written, altered: sets.New[string]()}
			s := c.schedule(test.operations, known, unrefused, own, now)
			var got []string
			for _, op := range s.now {
				got = append(got, described(op))
			}
			if diff := cmp.Diff(test.want, got); diff != "" || s.rest > 0 != test.held {
				t.Errorf("held %t, and written at once (-want +got):\n%s", s.rest > 0, diff)
			}
			fresh := contest{}
			if s := fresh.schedule(test.operations, known, unrefused, own, now); len(s.now) != len(test.operations) || s.rest > 0 {
				t.Errorf("without a fight %d of %d operations are carried out", len(s.now), len(test.operations))
			}
		})
	}
}

// TestAFightIsSlow lets an editor answer each repair at once, for an hour.
func TestAFightIsSlow(t *testing.T) {
	tests := map[string]struct {
		written, changed *discoveryv1.EndpointSlice
		most             int
	}{
		"an endpoint taken out": {holding("a", "1", "2"), holding("a", "1"), 80},
		"a dead node put back":  {holding("a", "1"), holding("a", "1", "9"), 3610},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, now, writes := contest{}, time.Unix(1_000_000, 0), 0
			end := now.Add(time.Hour)
			known := snapshot{
				current: byName(test.changed), written: []*discoveryv1.EndpointSlice{test.written}, altered: sets.New[string](),
			}
			for now.Before(end) {
				s := c.schedule([]plan.Operation{{Verb: plan.Update, Slice: test.written}}, known, unrefused, own, now)
				writes += len(s.now)
				if s.rest > dispute.Most+dispute.Most/8 {
					t.Fatalf("it waits for %s", s.rest)
				}
				now = now.Add(s.rest)
			}
			if writes < 60 || writes > test.most {
				t.Errorf("%d writes in an hour, want 60 to %d", writes, test.most)
			}
			now = now.Add(dispute.Calm)
			if c.active(now) || c.remark(own, now) != "" {
				t.Error("it is not forgotten")
			}
		})
	}
}

func TestWhoChangesTheSlices(t *testing.T) {
	by := func(manager string, second int64) metav1.ManagedFieldsEntry {
		at := metav1.Unix(second, 0)
		return metav1.ManagedFieldsEntry{Manager: manager, Time: &at, Operation: metav1.ManagedFieldsOperationUpdate}
	}
	tests := map[string]struct {
		fields  []metav1.ManagedFieldsEntry
		gone    bool
		altered bool
		want    string
	}{
		"somebody":               {[]metav1.ManagedFieldsEntry{by("argocd", 5), by(own, 4)}, false, false, `"argocd", "rollcall-manager/here"`},
		"in the same second":     {[]metav1.ManagedFieldsEntry{by("argocd", 4), by(own, 4)}, false, false, `"argocd", "rollcall-manager/here"`},
		"another installation":   {[]metav1.ManagedFieldsEntry{by("rollcall-manager/there", 5)}, false, false, `"rollcall-manager/here", "rollcall-manager/there"`},
		"before our last write":  {[]metav1.ManagedFieldsEntry{by("argocd", 3), by(own, 4)}, false, false, "audit log"},
		"before the first apply": {[]metav1.ManagedFieldsEntry{by(beforeFirstApply, 5)}, false, false, "audit log"},
		"nobody":                 {nil, false, false, "audit log"},
		"deleted":                {nil, true, false, "audit log"},
		"admission":              {[]metav1.ManagedFieldsEntry{by(own, 4)}, false, true, "The API server's admission changes"},
		"a long name":            {[]metav1.ManagedFieldsEntry{by(strings.Repeat("x", 128), 5)}, false, false, "xxx"},
		"no printable name":      {[]metav1.ManagedFieldsEntry{by("a\x00\nb", 5)}, false, false, own},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			current := holding("a", "1")
			current.ManagedFields = test.fields
			known := snapshot{current: byName(current), altered: sets.New[string]()}
			if test.gone {
				known.current = nil
			}
			if test.altered {
				known.altered.Insert("a")
			}
			now := time.Unix(1_000_000, 0)
			c := contest{}
			for range 10 {
				c.fight.Repaired(now)
			}
			c.blame(known, "a", own)
			got := c.remark(own, now)
			if !strings.Contains(got, test.want) || len(got) > 300 || strings.ContainsAny(got, "\x00\n") {
				t.Errorf("it says %q (%d bytes), want %q in it", got, len(got), test.want)
			}
		})
	}
}

// TestFields: the API server keeps account of a slice only while somebody else changes what the Service has.
func TestFields(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	quiet, fighting := contest{}, contest{}
	fighting.fight.Repaired(now)
	ours := metav1.ManagedFieldsEntry{Manager: own, Operation: metav1.ManagedFieldsOperationUpdate}
	theirs := metav1.ManagedFieldsEntry{Manager: "argocd", Operation: metav1.ManagedFieldsOperationApply}
	tests := map[string]struct {
		c    contest
		now  []metav1.ManagedFieldsEntry
		want string
	}{
		"none":                {quiet, nil, "[]"},
		"ours":                {quiet, []metav1.ManagedFieldsEntry{ours}, "[/]"},
		"somebody applies":    {quiet, []metav1.ManagedFieldsEntry{ours, theirs}, "[]"},
		"none, and a fight":   {fighting, nil, "[rollcall-manager/here/Update]"},
		"theirs, and a fight": {fighting, []metav1.ManagedFieldsEntry{theirs}, "[]"},
	}
	for name, test := range tests {
		var got []string
		for _, entry := range test.c.fields(test.now, own, now) {
			got = append(got, fmt.Sprintf("%s/%s", entry.Manager, entry.Operation))
		}
		if fmt.Sprint(got) != test.want {
			t.Errorf("%s: %v, want %s", name, got, test.want)
		}
	}
}

func TestDisputes(t *testing.T) {
	in := func(name string) types.NamespacedName { return types.NamespacedName{Namespace: "a", Name: name} }
	d := NewDisputes(todo.New())
	d.Tell(in("web"), sets.New("catga", "other"), "by x")
	d.Tell(in("db"), sets.New("catga"), "by y")
	check := func(registry, want string) {
		t.Helper()
		services, example, remark := d.Contested(in(registry))
		if got := fmt.Sprintf("%d %s %s", services, example, remark); got != want {
			t.Errorf("%s: %q, want %q", registry, got, want)
		}
	}
	check("catga", "2 db by y")
	check("other", "1 web by x")
	check("third", "0  ")
	d.Forget(in("db"))
	check("catga", "1 web by x")
}

// TestANodeThatComesBack: what a node changes in the course of a fight is told from what the fight is about.
func TestANodeThatComesBack(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	held := func(revision string, addresses ...string) *discoveryv1.EndpointSlice {
		slice := holding("web-1", addresses...)
		slice.ResourceVersion = revision
		return slice
	}
	tracker := &tracker{slices: map[string]*tracked{"web-1": {current: held("10", "1", "2")}}}
	tracker.observe(held("11", "1"))
	tracker.catchUp()
	c := contest{}
	c.fight.Repaired(now)
	for _, step := range []struct {
		what    string
		desired []string
		want    int
	}{
		{"somebody took 2 out", []string{"1", "2"}, 0},
		{"2 is gone", nil, 0},
		{"2 comes back", []string{"1", "2"}, 1},
	} {
		var operations []plan.Operation
		if step.desired != nil {
			operations = append(operations, plan.Operation{Verb: plan.Update, Slice: held("11", step.desired...)})
		}
		s := c.schedule(operations, tracker.snapshot(), unrefused, own, now)
		tracker.intend(s.held, map[string]bool{"web-1": len(s.now) > 0})
		for _, op := range s.now {
			tracker.wrote(op.Slice)
		}
		if len(s.now) != step.want {
			t.Errorf("%s: %d operations are carried out at once, want %d", step.what, len(s.now), step.want)
		}
	}

	// A slice that is to be created again is as good as the one that was deleted.
	tracker.observeDeleted(held("12", "1"))
	tracker.resolve("web-1", nil, "")
	create := []plan.Operation{{Verb: plan.Create, Slice: holding("web-2", "1", "2")}}
	for range 3 {
		s := c.schedule(create, tracker.snapshot(), unrefused, own, now)
		tracker.intend(s.held, nil)
		if len(s.now) > 0 {
			t.Error("a slice that somebody deleted is created at once")
		}
	}
}
