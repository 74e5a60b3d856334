package faults

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

func faultsOfTheGuard() []fault {
	return []fault{
		{name: "all die: the guard holds until they are back", run: func(r *rig) { allDie(r, times(1, 3), comeBack) }},
		{name: "all die: the guard holds until a person accepts", long: true, run: func(r *rig) { allDie(r, times(1, 3), accept) }},
		{name: "all unregister: the guard lets them", run: func(r *rig) { allUnregister(r, times(1, 10)) }},
		{name: "fleet of 40 cut off from NATS, staleAfter 3 s", run: func(r *rig) { cutFleet(r, times(1, 3), 40, 3*time.Second) }},
		{name: "fleet of 9 cut off from NATS", long: true, run: func(r *rig) { cutFleet(r, times(1, 3), 9, 0) }},
		{name: "fleet of 3 cut off from NATS", long: true, run: func(r *rig) { cutFleet(r, 3, 3, 0) }},
		{name: "both nodes of 2 die", run: func(r *rig) { twoDie(r, times(1, 5)) }},
		{name: "one of 6 nodes dies, beside 12 keys that are none", long: true, run: func(r *rig) { dieBesideKeys(r, times(1, 5)) }},
		{name: "11 of 20 die, then 200 others join", long: true, run: func(r *rig) { replaceFleet(r, times(1, 3)) }},
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
		r.says(rollcallv1alpha1.ReasonExpiryGuard, r.ttl+5*time.Second)
		pass(2 * r.ttl)
		r.mend(w, func() { release(r, ids) })
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

// setApart sets up a rig whose fleet reaches NATS through the proxy, and whose manager does not.
func (r *rig) setApart(s setting) {
	r.Helper()
	r.nats = newNATS(r.T, r.TempDir(), "n0", "", "")
	r.nats.start()
	s.url = r.throughProxy()
	change := s.registry
	s.registry = func(spec *rollcallv1alpha1.NodeRegistrySpec) {
		spec.Connection.Servers = []string{r.nats.url()}
		if change != nil {
			change(spec)
		}
	}
	r.set(s)
}

// cutFleet cuts all nodes off from NATS, and not the manager. They live, so none may lose its traffic. They heartbeat three times
// within staleAfter, or the first would be stale before the guard can see that most are silent.
func cutFleet(r *rig, n, nodes int, staleAfter time.Duration) {
	s := usual()
	s.nodes = nodes
	if staleAfter > 0 {
		s.registry = func(spec *rollcallv1alpha1.NodeRegistrySpec) {
			spec.Liveness.StaleAfter = &metav1.Duration{Duration: staleAfter}
		}
	}
	r.setApart(s)
	for range n {
		r.row.tried++
		w := r.broken(window{holds: true, settle: r.ttl + time.Second + allowance()})
		r.proxy.Cut()
		r.says(rollcallv1alpha1.ReasonExpiryGuard, r.ttl+5*time.Second)
		pass(2 * r.ttl)
		r.mend(w, r.proxy.Heal)
		r.over(w)
		r.saysNoLonger(rollcallv1alpha1.ReasonExpiryGuard, patience)
		r.settle()
		pass(r.ttl)
	}
	r.judge()
}

// twoDie lets a fleet die that is so small that nobody holds it.
func twoDie(r *rig, n int) {
	r.set(few())
	for range n {
		r.row.tried++
		for _, id := range r.fleet.ids() {
			r.fleet.die(id)
		}
		r.settle()
		if reason := r.degraded(); reason != "" {
			r.Errorf("the registry is degraded: %s", reason)
		}
		pass(r.ttl) // With those that died within one TTL before, the next two would be all of four.
		r.fleet.join(2)
		r.settle()
	}
	r.judge()
}

// dieBesideKeys lets one node of a few die, where twice as many keys below the prefix never were nodes and are silent.
func dieBesideKeys(r *rig, n int) {
	s := usual()
	s.nodes = 6
	r.set(s)
	for range n {
		r.row.tried++
		for _, id := range r.fleet.ids() {
			for _, key := range []string{".info", ".rack"} {
				_, err := r.fleet.js.Publish(r.Context(), subject(id)+key, []byte(`{"Rack":"r1"}`))
				must(r, err)
			}
		}
		// They fall silent for good before the node does.
		pass(r.ttl)
		r.fleet.die(r.fleet.ids()[0])
		r.settle()
		r.fleet.join(1)
		r.settle()
	}
	r.judge()
}

// replaceFleet lets more nodes die than the guard lets go, and many others join: those that heartbeat are then most.
func replaceFleet(r *rig, n int) {
	s := usual()
	s.nodes = 20
	r.set(s)
	for range n {
		r.row.tried++
		ids := r.fleet.ids()
		w := r.broken(window{holds: true, settle: 2*r.ttl + allowance()})
		for _, id := range ids[:11] {
			r.fleet.die(id)
		}
		r.says(rollcallv1alpha1.ReasonExpiryGuard, r.ttl+5*time.Second)
		pass(r.ttl)
		var joined []string
		r.mend(w, func() { joined = r.fleet.join(200) })
		r.mended(w, time.Now())
		r.settle()
		r.saysNoLonger(rollcallv1alpha1.ReasonExpiryGuard, patience)
		for _, id := range joined[11:] {
			must(r, r.fleet.unregister(id))
		}
		// The guard looks back for one TTL.
		pass(r.ttl)
		r.settle()
	}
	r.judge()
}
