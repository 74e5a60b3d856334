package discoverednode

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/rollcall-dev/rollcall/internal/dispute"
	"github.com/rollcall-dev/rollcall/internal/todo"
)

// What somebody changes again and again is told, with who it is, until it has been calm for a while.
func TestDisputesAreToldAndEnd(t *testing.T) {
	d, now := newDisputes(todo.New(), "rollcall"), began
	names := make([]types.NamespacedName, 3)
	for i := range names {
		names[i] = types.NamespacedName{Namespace: "fleet", Name: fmt.Sprintf("catga.web-%d", i)}
	}
	asked := 0
	for range 6 {
		for _, name := range names {
			if d.asks(name, catga, now) {
				d.names(catga, "argocd", now)
				asked++
			}
			d.repaired(name, catga, false, now)
		}
		now = now.Add(5 * time.Second)
	}
	if text := d.text(catga, now); !strings.Contains(text, `the field managers "argocd" and "rollcall" change 3 DiscoveredNodes, for example catga.web-`) {
		t.Errorf("it says %q", text)
	}
	if asked != 1 {
		t.Errorf("it was asked %d times who does it", asked)
	}
	if wait := d.wait(names[0], now); wait <= 0 || wait > dispute.Most {
		t.Errorf("the next repair waits for %s", wait)
	}
	now = now.Add(dispute.Calm)
	if text := d.text(catga, now); text != "" || len(d.fights)+len(d.registries)+d.order.Len() > 0 {
		t.Errorf("it says %q, and remembers %d", text, len(d.fights))
	}
}

// What an admission changes is told at once, and until it does not.
func TestAnAlteredObjectIsToldAtOnce(t *testing.T) {
	d, now := newDisputes(todo.New(), "rollcall"), began
	name := types.NamespacedName{Namespace: "fleet", Name: "catga.web-1"}
	d.repaired(name, catga, true, now)
	for range 3 {
		now = now.Add(2 * dispute.Calm)
		if text := d.text(catga, now); !strings.Contains(text, "an admission policy or webhook changes") {
			t.Errorf("it says %q", text)
		}
		d.repaired(name, catga, true, now)
	}
	d.settle(name, now)
	if text := d.text(catga, now); text != "" || len(d.fights)+len(d.registries) > 0 {
		t.Errorf("it says %q", text)
	}
}

// One edit, or another of each object, is nothing to tell of, and is forgotten.
func TestFewEditsAreNoDispute(t *testing.T) {
	d := newDisputes(todo.New(), "rollcall")
	for i := range 100 {
		d.repaired(types.NamespacedName{Namespace: "fleet", Name: fmt.Sprintf("catga.web-%d", i)}, catga, false, began)
	}
	if text := d.text(catga, began); text != "" {
		t.Errorf("it says %q", text)
	}
	d.settle(types.NamespacedName{}, began.Add(dispute.Calm))
	if len(d.fights)+len(d.registries)+d.order.Len() > 0 {
		t.Errorf("%d are remembered", len(d.fights))
	}
}
