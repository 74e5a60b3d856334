package discoverednode

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/dispute"
)

// gate lets writes through: all at once, but those that the API server refuses, and those whose only cause is that somebody changes back
// what was written. It is safe for concurrent use.
type gate struct {
	live     client.Reader
	clock    clock.PassiveClock
	refusals *refusals
	disputes *disputes
}

// write is a write of a DiscoveredNode.
type write struct {
	name, registry types.NamespacedName
	does           verb
	// repairs is true if somebody's change is its only cause.
	repairs bool
	// send sends it, and returns true if what came out is something else: an admission policy or webhook changed it.
	send func() (altered bool, err error)
}

// outcome is what became of a write.
type outcome struct {
	// held is true if it was not made.
	held bool
	// again is after how long to look at the object again; zero: that depends on nothing here.
	again time.Duration
}

// try makes a write if it is time for it. An error is none of a refusal.
func (g *gate) try(ctx context.Context, w *write) (outcome, error) {
	now := g.clock.Now()
	if w.repairs {
		if rest := g.disputes.wait(w.name, now); rest > 0 {
			return outcome{held: true, again: rest}, nil
		}
	}
	if may, rest := g.refusals.may(w.name, w.does, now); !may {
		return outcome{held: true, again: rest}, nil
	}
	if w.repairs && g.disputes.asks(w.name, w.registry, now) {
		g.disputes.names(w.registry, g.editor(ctx, w.name), now)
	}
	altered, err := w.send()
	now = g.clock.Now()
	switch {
	case isRefusal(err):
		return outcome{held: true, again: g.refusals.refuse(w.name, w.registry, w.does, err, now)}, nil
	case err != nil:
		return outcome{}, err
	}
	g.refusals.settle(w.name, true, now)
	if !w.repairs && !altered {
		g.disputes.settle(w.name, now)
		return outcome{}, nil
	}
	return outcome{again: g.disputes.repaired(w.name, w.registry, altered, now)}, nil
}

// settle notes that there is nothing to write to an object.
func (g *gate) settle(name types.NamespacedName) {
	now := g.clock.Now()
	g.refusals.settle(name, false, now)
	g.disputes.settle(name, now)
}

// editor returns the field manager that changed an object last, as the API server has it: a cache does not keep field managers. It is
// empty if there is none, such as where the object was deleted.
func (g *gate) editor(ctx context.Context, name types.NamespacedName) string {
	list := &rollcallv1alpha1.DiscoveredNodeList{}
	err := g.live.List(ctx, list, client.InNamespace(name.Namespace), client.MatchingFields{"metadata.name": name.Name})
	if err != nil || len(list.Items) == 0 {
		return ""
	}
	return dispute.Editor(list.Items[0].ManagedFields, g.disputes.own)
}
