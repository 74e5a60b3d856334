package faults

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

func faultsOfTheGuard() []fault {
	return []fault{
		{name: "all die: the guard holds until they are back", run: func(r *rig) { allDie(r, times(1, 3), comeBack) }},
		{name: "all die: the guard holds until a person accepts", run: func(r *rig) { allDie(r, times(1, 3), accept) }},
		{name: "all unregister: the guard lets them", run: func(r *rig) { allUnregister(r, times(1, 10)) }},
	}
}

// degraded returns the reason of the condition Degraded, if it is true.
func (r *rig) degraded() string {
	r.Helper()
	registry := &rollcallv1alpha1.NodeRegistry{}
	must(r, r.api.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: registryName}, registry))
	if c := meta.FindStatusCondition(registry.Status.Conditions, rollcallv1alpha1.ConditionDegraded); c != nil && c.Status == "True" {
		return c.Reason
	}
	return ""
}

// allDie lets the whole fleet die at once, sees that the guard holds it and says so, and what then makes it let go.
func allDie(r *rig, n int, release func(*rig, []string)) {
	r.set(usual())
	for range n {
		r.row.tried++
		ids := r.fleet.ids()
		// What is released gets a grace of its own.
		w := r.broken(window{holds: true, settle: r.ttl + time.Second + allowance()})
		for _, id := range ids {
			r.fleet.die(id)
		}
		if !wait(r.ttl+5*time.Second, func() bool { return r.degraded() == rollcallv1alpha1.ReasonExpiryGuard }) {
			r.Error("the guard does not say that it holds")
		}
		pass(2 * r.ttl)
		release(r, ids)
		r.mended(w, time.Now())
		if !wait(patience, func() bool { return r.degraded() == "" }) {
			r.Error("the guard does not say that it has let go")
		}
		r.settle()
		pass(r.ttl)
		r.fleet.join(len(ids) - len(r.fleet.ids()))
		r.settle()
	}
	r.judge()
}

// comeBack lets most of the nodes return.
func comeBack(r *rig, ids []string) {
	for i, id := range ids {
		if i%4 > 0 {
			must(r, r.fleet.register(id, r.fleet.lastAddressOf(id)))
		}
	}
}

// accept does what a person does who accepts the loss.
func accept(r *rig, _ []string) {
	registry := &rollcallv1alpha1.NodeRegistry{}
	if !wait(patience, func() bool {
		must(r, r.api.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: registryName}, registry))
		return registry.Status.Held != nil
	}) {
		r.Fatal("the registry does not say since when it holds")
	}
	before := registry.DeepCopy()
	registry.Annotations = map[string]string{
		rollcallv1alpha1.AnnotationAcceptExpiry: registry.Status.Held.Since.UTC().Format(time.RFC3339),
	}
	must(r, r.api.Patch(r.Context(), registry, client.MergeFrom(before)))
}

// allUnregister lets the whole fleet unregister: that is no disruption.
func allUnregister(r *rig, n int) {
	r.set(usual())
	for range n {
		r.row.tried++
		ids := r.fleet.ids()
		for _, id := range ids {
			must(r, r.fleet.unregister(id))
		}
		r.settle()
		if reason := r.degraded(); reason != "" {
			r.Errorf("the registry is degraded: %s", reason)
		}
		r.fleet.join(len(ids))
		r.settle()
	}
	r.judge()
}
