package discoverednode

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rollcall-dev/rollcall/internal/todo"
)

var catga = types.NamespacedName{Namespace: "fleet", Name: "catga"}

// refusalRig has a number of objects that want to be written, asks for those that are woken and those whose time has come, and counts
// the writes.
type refusalRig struct {
	*testing.T
	*refusals

	now   time.Time
	alarm map[types.NamespacedName]time.Time
	// refuses says whether the API server refuses a write.
	refuses func(name string) error
	tried   int
	written map[types.NamespacedName]bool
}

func newRefusalRig(t *testing.T, objects int, refuses func(string) error) *refusalRig {
	t.Helper()
	r := &refusalRig{T: t, now: began, alarm: map[types.NamespacedName]time.Time{}, refuses: refuses, written: map[types.NamespacedName]bool{}}
	r.refusals = newRefusals(todo.New(), func(names ...types.NamespacedName) {
		for _, name := range names {
			r.alarm[name] = r.now
		}
	})
	for i := range objects {
		r.alarm[types.NamespacedName{Namespace: "fleet", Name: fmt.Sprintf("catga.web-%d", i)}] = began
	}
	return r
}

// reconcile does what the controller does.
func (r *refusalRig) reconcile(name types.NamespacedName) {
	if r.written[name] {
		return
	}
	rest := time.Duration(0)
	if may, wait := r.may(name, create, r.now); !may {
		rest = wait
	} else if r.tried++; r.refuses(name.Name) != nil {
		rest = r.refuse(name, catga, create, r.refuses(name.Name), r.now)
	} else {
		r.written[name] = true
		r.settle(name, true, r.now)
	}
	if rest > 0 {
		r.alarm[name] = r.now.Add(rest)
	}
}

// pass lets time pass, and returns how many writes were tried.
func (r *refusalRig) pass(d time.Duration) int {
	before := r.tried
	for end := r.now.Add(d); !r.now.After(end); r.now = r.now.Add(100 * time.Millisecond) {
		for again := true; again; {
			again = false
			for name, at := range r.alarm {
				if !at.After(r.now) {
					delete(r.alarm, name)
					r.reconcile(name)
					again = true
				}
			}
		}
	}
	return r.tried - before
}

func denied(name string) error {
	return apierrors.NewForbidden(schema.GroupResource{Group: "rollcall.dev", Resource: "discoverednodes"}, name, errors.New("denied request: no"))
}

func TestOneProbeForAKind(t *testing.T) {
	const count = 1000
	r := newRefusalRig(t, count, denied)
	if got := r.pass(0); got != count {
		t.Errorf("%d of %d were tried", got, count)
	}
	if text := r.text(catga); !strings.Contains(text, "the writes of 1000 DiscoveredNodes, for example to create catga.web-") {
		t.Errorf("it says %q", text)
	}
	example := r.text(catga)
	// After 1, 2, 4 … 256 seconds, and then each 5 minutes.
	if got := r.pass(time.Hour); got < 15 || got > 22 {
		t.Errorf("in an hour %d probes were made", got)
	}
	if text := r.text(catga); text != example {
		t.Errorf("it says %q after %q", text, example)
	}
	r.refuses = func(string) error { return nil }
	r.pass(mostProbe)
	if len(r.written) != count || r.text(catga) != "" || len(r.objects)+len(r.registries) > 0 {
		t.Errorf("%d are written, and it says %q", len(r.written), r.text(catga))
	}
}

// An object whose own node changed is no reason to try all others.
func TestOneThatIsTakenIsNoStorm(t *testing.T) {
	const count = 1000
	taken := map[string]bool{}
	r := newRefusalRig(t, count, func(name string) error {
		if taken[name] {
			return nil
		}
		return denied(name)
	})
	r.pass(10 * time.Minute)
	tried := 0
	for i := range 100 {
		name := types.NamespacedName{Namespace: "fleet", Name: fmt.Sprintf("catga.web-%d", i)}
		taken[name.Name] = true
		r.change(name, r.now)
		r.alarm[name] = r.now
		tried += r.pass(2 * time.Second)
	}
	if len(r.written) != 100 || tried > 1000 {
		t.Errorf("%d were written, with %d tries", len(r.written), tried)
	}
	// A storm of changes is tried one a second.
	before := r.tried
	for i := 100; i < count; i++ {
		name := types.NamespacedName{Namespace: "fleet", Name: fmt.Sprintf("catga.web-%d", i)}
		r.change(name, r.now)
		r.alarm[name] = r.now
	}
	r.pass(time.Second)
	if got := r.tried - before; got > 6 {
		t.Errorf("%d changes at once had %d tries", count-100, got)
	}
}

func TestAnotherVerbIsAnotherKind(t *testing.T) {
	r := newRefusals(todo.New(), func(...types.NamespacedName) {})
	name := types.NamespacedName{Namespace: "fleet", Name: "catga.web-1"}
	r.refuse(name, catga, update, denied(name.Name), began)
	if may, rest := r.may(name, update, began); may || rest != leastProbe {
		t.Errorf("an update may be tried: %t, after %s", may, rest)
	}
	if may, _ := r.may(name, remove, began); !may {
		t.Error("a delete waits for an update")
	}
	if r.text(catga) != "" {
		t.Errorf("it says %q", r.text(catga))
	}
}

func TestKindsAreBounded(t *testing.T) {
	r := newRefusals(todo.New(), func(...types.NamespacedName) {})
	for i := range 100 {
		name := types.NamespacedName{Namespace: "fleet", Name: fmt.Sprintf("catga.web-%d", i)}
		r.refuse(name, catga, update, denied(name.Name+strings.Repeat("x", i)), began)
	}
	if got := len(r.registries[catga]); got != maxKinds+1 {
		t.Errorf("there are %d kinds", got)
	}
	if !strings.Contains(r.text(catga), "of 100 Disc") {
		t.Errorf("it says %q", r.text(catga))
	}
}

func TestCuresAndKinds(t *testing.T) {
	nodes := schema.GroupResource{Group: "rollcall.dev", Resource: "discoverednodes"}
	kind := schema.GroupKind{Group: "rollcall.dev", Kind: "DiscoveredNode"}
	for name, test := range map[string]struct {
		err     error
		refusal bool
		cure    string
	}{
		"policy":           {denied("n"), true, "policy"},
		"policy's default": {&apierrors.StatusError{ErrStatus: metav1.Status{Code: 422, Reason: metav1.StatusReasonInvalid, Message: "ValidatingAdmissionPolicy 'x' denied request: no"}}, true, "policy"},
		"webhook":          {apierrors.NewForbidden(nodes, "n", errors.New(`admission webhook "x" denied the request`)), true, "webhook"},
		"webhook is away":  {apierrors.NewInternalError(errors.New(`failed calling webhook "x": connection refused`)), true, "webhook"},
		"webhook says 503": {apierrors.NewServiceUnavailable(`admission webhook "x" denied the request: later`), true, "webhook"},
		"quota":            {apierrors.NewForbidden(nodes, "n", errors.New("exceeded quota: q, requested: count/discoverednodes=1")), true, "quota"},
		"no right":         {apierrors.NewForbidden(nodes, "n", errors.New(`User "u" cannot create resource "discoverednodes"`)), true, "right"},
		"invalid":          {apierrors.NewInvalid(kind, "n", nil), true, "CustomResourceDefinitions"},
		"too many":         {apierrors.NewTooManyRequests("later", 1), true, "priority level"},
		"too large":        {apierrors.NewRequestEntityTooLargeError("x"), true, ""},
		"conflict":         {apierrors.NewConflict(nodes, "n", errors.New("x")), false, ""},
		"is there":         {apierrors.NewAlreadyExists(nodes, "n"), false, ""},
		"is not there":     {apierrors.NewNotFound(nodes, "n"), false, ""},
		"not ready":        {apierrors.NewServiceUnavailable("x"), false, ""},
		"who are you":      {apierrors.NewUnauthorized("x"), false, ""},
		"no answer":        {errors.New("x"), false, ""},
		"none":             {nil, false, ""},
	} {
		if got := isRefusal(test.err); got != test.refusal {
			t.Errorf("%s: it is a refusal: %t", name, got)
		}
		if test.refusal && !strings.Contains(cureOf(test.err), test.cure) {
			t.Errorf("%s: the cure is %q", name, cureOf(test.err))
		}
	}
	if a, b := causeOf(denied("catga.web-1"), "catga.web-1"), causeOf(denied("catga.web-20"), "catga.web-20"); a != b {
		t.Errorf("the kinds of two objects are %q and %q", a, b)
	}
}
