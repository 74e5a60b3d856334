package mainjob

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

const (
	// fleet is how many nodes there are, of which the first cordoned ones are cordoned.
	fleet, cordoned = 50, 10
	// farewell is how long a NodeRegistry that is gone is waited for.
	farewell = 10 * time.Second
)

// cordon sets spec.cordoned of a node, as a person does.
func (r *rig) cordon(n int) {
	r.Helper()
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"cordoned":true}}`))
	dn := &rollcallv1alpha1.DiscoveredNode{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "catga." + nodeID(n)}}
	if err := r.API.Patch(r.Context(), dn, patch); err != nil {
		r.Fatal(err)
	}
}

// startFleet starts a manager over a fleet with cordoned nodes, and returns its registry.
func startFleet(t *testing.T) (*rig, *rollcallv1alpha1.NodeRegistry) {
	t.Helper()
	r := newRig(t)
	r.bucket(time.Hour)
	registry := r.registry()
	r.service("web")
	r.Start()
	r.beatAll(0, fleet)
	r.Within(patience, "all nodes", func() bool { return len(r.nodes()) == fleet })
	for n := range cordoned {
		r.cordon(n)
	}
	r.Within(patience, "those that are not cordoned", r.serves(cordoned, fleet))
	return r, registry
}

// cordons returns how many nodes there are that belong to that registry, and how many of them are cordoned.
func (r *rig) cordons(owner *rollcallv1alpha1.NodeRegistry) (nodes, cordons int) {
	r.Helper()
	for _, dn := range r.nodes() {
		if c := metav1.GetControllerOf(&dn); c == nil || c.UID != owner.UID {
			continue
		}
		nodes++
		if dn.Spec.Cordoned {
			cordons++
		}
	}
	return nodes, cordons
}

// again creates a NodeRegistry of the same name and spec.
func (r *rig) again(old *rollcallv1alpha1.NodeRegistry) *rollcallv1alpha1.NodeRegistry {
	r.Helper()
	next := &rollcallv1alpha1.NodeRegistry{ObjectMeta: metav1.ObjectMeta{Namespace: old.Namespace, Name: old.Name}, Spec: old.Spec}
	r.Create(next)
	return next
}

// collect deletes the DiscoveredNodes of an owner that is gone, as the garbage collector does.
func (r *rig) collect(owner *rollcallv1alpha1.NodeRegistry) {
	r.Helper()
	for _, dn := range r.nodes() {
		if c := metav1.GetControllerOf(&dn); c != nil && c.UID == owner.UID {
			if err := r.API.Delete(r.Context(), &dn, client.Preconditions{UID: &dn.UID}); client.IgnoreNotFound(err) != nil {
				r.Fatal(err)
			}
		}
	}
}

func (r *rig) removeRegistry(registry *rollcallv1alpha1.NodeRegistry, options ...client.DeleteOption) {
	r.Helper()
	if err := r.API.Delete(r.Context(), registry, options...); err != nil {
		r.Fatal(err)
	}
}

func TestAReplacedRegistryLosesNeitherEndpointsNorCordons(t *testing.T) {
	t.Parallel()
	r, registry := startFleet(t)
	file := filepath.Join(t.TempDir(), "registry.yaml")
	manifest, err := yaml.Marshal(&rollcallv1alpha1.NodeRegistry{
		TypeMeta:   metav1.TypeMeta{APIVersion: rollcallv1alpha1.GroupVersion.String(), Kind: "NodeRegistry"},
		ObjectMeta: metav1.ObjectMeta{Name: registry.Name}, Spec: registry.Spec,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, manifest, 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := r.kubectl("replace", "--force", "-f", file); err != nil {
		t.Fatal(output)
	}
	r.collect(registry)
	next := &rollcallv1alpha1.NodeRegistry{}
	if err := r.API.Get(t.Context(), client.ObjectKeyFromObject(registry), next); err != nil {
		t.Fatal(err)
	}
	if next.UID == registry.UID {
		t.Fatal("the registry was not replaced")
	}
	r.Throughout(farewell+2*time.Second, "all endpoints", r.serves(cordoned, fleet))
	r.Within(patience, "the nodes of the new registry, cordoned as before", func() bool {
		nodes, cordons := r.cordons(next)
		return nodes == fleet && cordons == cordoned
	})
	r.Within(patience, "the new registry to be Ready", func() bool { return r.condition("Ready") == "True/Ready" })
}

// The garbage collector is faster than whoever creates the registry again, and the leader changes in between.
func TestARegistryComesBackUnderAnotherLeader(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	registry := r.registry()
	r.service("web")
	first := r.Start()
	r.beatAll(0, 5)
	r.Within(patience, "all nodes", func() bool { return len(r.nodes()) == 5 })
	r.cordon(0)
	r.Within(patience, "those that are not cordoned", r.serves(1, 5))
	r.removeRegistry(registry)
	first.Stop()

	log := &logged{}
	r.Start(log.take)
	r.Within(patience, "the manager to work", func() bool { return strings.Contains(strings.Join(log.since(0), "\n"), "Starting workers") })
	r.Throughout(time.Second, "all endpoints", r.serves(1, 5))
	r.collect(registry)
	r.Throughout(2*time.Second, "all endpoints", r.serves(1, 5))
	next := r.again(registry)
	r.Within(patience, "the nodes of the new registry, cordoned as before", func() bool {
		nodes, cordons := r.cordons(next)
		return nodes == 5 && cordons == 1
	})
	r.Throughout(farewell, "all endpoints", r.serves(1, 5))
}

func TestARegistryThatStaysAwayLetsGo(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		options []client.DeleteOption
		restart bool
	}{
		{"deleted", nil, false},
		{"its nodes orphaned", []client.DeleteOption{client.PropagationPolicy(metav1.DeletePropagationOrphan)}, false},
		{"the manager restarted meanwhile", nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.bucket(time.Hour)
			registry := r.registry()
			r.service("web")
			manager := r.Start()
			r.beatAll(0, 3)
			r.Within(patience, "three endpoints", r.serves(0, 3))
			r.Within(patience, "three nodes", func() bool { return len(r.nodes()) == 3 })
			removed := time.Now()
			r.removeRegistry(registry, test.options...)
			if test.options != nil {
				r.orphan(registry)
			}
			if test.restart {
				manager.Stop()
				r.Start()
			}
			r.Throughout(time.Until(removed.Add(farewell-2*time.Second)), "all endpoints", r.serves(0, 3))
			r.Within(patience, "the endpoints to go", r.serves(0, 0))
			if test.options != nil {
				r.Within(patience, "the orphans to go", func() bool { return len(r.nodes()) == 0 })
			}
			r.Within(patience, "the Service to say why", func() bool { return r.synced("web") == rollcallv1alpha1.ReasonRegistryNotFound })
			if !test.restart {
				r.Within(patience, "the Service to have an Event", func() bool { return r.told("Service", "web", "3 nodes") })
			}
		})
	}
}

// synced returns the reason of the condition EndpointsSynced of a Service.
func (r *rig) synced(name string) string {
	r.Helper()
	service := &corev1.Service{}
	if err := r.API.Get(r.Context(), client.ObjectKey{Namespace: r.Namespace, Name: name}, service); err != nil {
		r.Fatal(err)
	}
	if c := meta.FindStatusCondition(service.Status.Conditions, rollcallv1alpha1.ConditionEndpointsSynced); c != nil {
		return c.Reason
	}
	return ""
}

// orphan takes the owner from the DiscoveredNodes and lets it go, as the garbage collector does.
func (r *rig) orphan(owner *rollcallv1alpha1.NodeRegistry) {
	r.Helper()
	for _, dn := range r.nodes() {
		before := dn.DeepCopy()
		dn.OwnerReferences = nil
		if err := r.API.Patch(r.Context(), &dn, client.MergeFrom(before)); err != nil {
			r.Fatal(err)
		}
	}
	registry := &rollcallv1alpha1.NodeRegistry{}
	if err := r.API.Get(r.Context(), client.ObjectKeyFromObject(owner), registry); err != nil {
		r.Fatal(err)
	}
	before := registry.DeepCopy()
	registry.Finalizers = slices.DeleteFunc(registry.Finalizers, func(f string) bool { return f == metav1.FinalizerOrphanDependents })
	if err := r.API.Patch(r.Context(), registry, client.MergeFrom(before)); err != nil {
		r.Fatal(err)
	}
}

// events returns the Events of all objects of a kind, the oldest first.
func (r *rig) events(kind string) []eventsv1.Event {
	r.Helper()
	list := &eventsv1.EventList{}
	if err := r.API.List(r.Context(), list, client.InNamespace(r.Namespace)); err != nil {
		r.Fatal(err)
	}
	all := slices.DeleteFunc(list.Items, func(e eventsv1.Event) bool { return e.Regarding.Kind != kind })
	slices.SortFunc(all, func(a, b eventsv1.Event) int { return a.EventTime.Compare(b.EventTime.Time) })
	return all
}

// told reports whether an object has an Event whose note has a text in it.
func (r *rig) told(kind, name, text string) bool {
	r.Helper()
	return slices.ContainsFunc(r.events(kind), func(e eventsv1.Event) bool {
		return e.Regarding.Name == name && strings.Contains(e.Note, text)
	})
}

// logEvents shows the Events of a kind of a test that has failed.
func (r *rig) logEvents(kind string) {
	if !r.Failed() {
		return
	}
	for _, e := range r.events(kind) {
		r.Logf("%s %s %s %s: %s", e.EventTime.Format("15:04:05.000"), e.Type, e.Reason, e.Regarding.Name, e.Note)
	}
}

func TestACordonOutlivesItsObject(t *testing.T) {
	t.Parallel()
	r, registry := startFleet(t)
	if output, err := r.kubectl("delete", "dn", "--all"); err != nil {
		t.Fatal(output)
	}
	r.Throughout(2*time.Second, "the cordoned nodes out of traffic", r.serves(cordoned, fleet))
	r.Within(patience, "all nodes, cordoned as before", func() bool {
		nodes, cordons := r.cordons(registry)
		return nodes == fleet && cordons == cordoned
	})
	if !r.serves(cordoned, fleet)() {
		t.Errorf("the endpoints are %v", r.ready("web"))
	}
}

func TestACordonIsHeardWhileAFinalizerKeepsTheObject(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	registry := r.registry()
	r.service("web")
	r.Start()
	r.beatAll(0, 2)
	r.Within(patience, "two endpoints", r.serves(0, 2))
	r.Within(patience, "two nodes", func() bool { return len(r.nodes()) == 2 })
	finalizers := func(all ...string) {
		dn := r.node(0)
		before := dn.DeepCopy()
		dn.Finalizers = all
		if err := r.API.Patch(t.Context(), dn, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
	}
	finalizers("example.com/keep")
	if err := r.API.Delete(t.Context(), r.node(0)); err != nil {
		t.Fatal(err)
	}
	r.Within(patience, "the deletion", func() bool { return !r.node(0).DeletionTimestamp.IsZero() })
	r.cordon(0)
	r.Within(patience, "the cordoned node to be out of rotation", r.serves(1, 2))
	finalizers()
	r.Within(patience, "the node to be written back cordoned", func() bool {
		_, cordons := r.cordons(registry)
		return cordons == 1
	})
	r.Throughout(time.Second, "the cordon", r.serves(1, 2))
}

// One restart of NATS is one Event down and one up, and a fleet that dies is not an Event for each node.
func TestEventsAreFew(t *testing.T) {
	t.Parallel()
	const count = 30
	r := newRig(t)
	r.bucket(4 * time.Second)
	r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Liveness.MaxSilentPercent = new(int32(100)) })
	r.startReady()
	defer r.logEvents("NodeRegistry")
	defer r.logEvents("DiscoveredNode")
	downAndUp := func() bool {
		var all []string
		for _, e := range r.events("NodeRegistry") {
			all = append(all, e.Type+" "+e.Reason)
		}
		if len(all) > 0 && all[0] == "Normal Ready" {
			all = all[1:] // It tells of the start, after the status does: NATS may have been stopped by then.
		}
		return slices.Equal(all, []string{"Warning ConnectionLost", "Normal Ready"})
	}
	r.nats.Stop()
	r.Within(patience, "the registry to say so", func() bool { return strings.HasPrefix(r.condition("Connected"), "False/") })
	if err := r.nats.Restart(); err != nil {
		t.Fatal(err)
	}
	r.Within(patience, "the registry to be Ready", func() bool { return r.condition("Ready") == "True/Ready" })
	r.Within(patience, "one Event down and one up", downAndUp)
	r.Throughout(time.Second, "one Event down and one up", downAndUp)

	r.Within(patience, "all nodes", r.keepTrying(0, count, func() bool { return len(r.nodes()) == count }))
	r.Within(patience, "all to be Expired", func() bool {
		return !slices.ContainsFunc(r.nodes(), func(dn rollcallv1alpha1.DiscoveredNode) bool {
			return dn.Status.Phase != rollcallv1alpha1.NodeExpired
		})
	})
	r.Within(patience, "their Events", func() bool { return len(r.events("DiscoveredNode")) > 0 })
	r.Throughout(2*time.Second, "a handful of Events", func() bool { return len(r.events("DiscoveredNode")) <= 10 })
}
