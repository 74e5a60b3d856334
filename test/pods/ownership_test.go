package pods

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/internal/manager"
)

// foreign writes an entry of somebody else and returns its revision.
func (r *rig) foreign(id string, owner *discovery.Owner) uint64 {
	r.Helper()
	value, err := discovery.Encode(discovery.Node{ID: id, Endpoint: "http://10.9.9.9:80", LastSeen: time.Now(), Owner: owner})
	if err != nil {
		r.Fatal(err)
	}
	revision, err := r.kv.Put(r.Context(), "node."+id, value)
	if err != nil {
		r.Fatal(err)
	}
	return revision
}

func TestAnotherOwnersEntryIsLeftAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.registry()
	r.registration("web")
	owners := map[string]*discovery.Owner{"itself": nil, "cluster": {Cluster: "there", UID: "1"}, "namesake": {Cluster: here, UID: "2"}}
	revisions := map[string]uint64{}
	for id, owner := range owners {
		revisions[id] = r.foreign(id, owner)
	}
	r.start()
	for id := range owners {
		r.pod(id)
	}
	free := r.pod("free")
	r.Within(patience, "the pod whose key is free", r.registered("free", free))
	r.Within(patience, "three conflicts", func() bool { return strings.HasPrefix(r.outcome("web"), "4/1/3 False") })
	r.told("itself", rollcallv1alpha1.ReasonConflict, "node.itself", "the node itself", "another node ID")
	r.told("cluster", rollcallv1alpha1.ReasonConflict, `cluster "there"`)
	r.told("namesake", rollcallv1alpha1.ReasonClusterNameConflict, "--cluster-name")
	r.Throughout(2*time.Second, "the entries of the others", func() bool {
		for id, revision := range revisions {
			if r.revision(id) != revision {
				return false
			}
		}
		return true
	})
	// The others leave, and their pods take over.
	for id := range owners {
		if err := r.kv.Delete(t.Context(), "node."+id); err != nil {
			t.Fatal(err)
		}
	}
	r.reports("web", "4/4/0 True Registered")
}

func TestTwoPodsWithOneNodeID(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.registry()
	r.registration("web", func(s *rollcallv1alpha1.PodRegistrationSpec) { s.NodeID = "'same'" })
	r.start()
	first := r.pod("first")
	r.Within(patience, "the first pod", r.registered("same", first))
	second := r.pod("second")
	r.mentions(r.reports("web", "2/1/1 False Conflict"), "second", "first", "node.same")
	r.told("second", "Conflict", "the pod first", "a node ID of its own")
	r.Throughout(2*time.Second, "the first pod's entry", r.registered("same", first))
	if told := r.events("Pod", "first"); len(told) > 0 {
		t.Errorf("the pod that won is told %v", told)
	}
	r.delete(first)
	r.Within(patience, "the second pod", r.registered("same", second))
	r.reports("web", "1/1/0 True Registered")
}

func TestRemovedEntryIsWrittenAgain(t *testing.T) {
	t.Parallel()
	// The Watcher tells of a removal, so it takes less than a heartbeat; that the bucket is empty, the next one may have to.
	const interval, soon = 10 * time.Second, 5 * time.Second
	r := newRig(t)
	r.registry()
	r.registration("web", func(s *rollcallv1alpha1.PodRegistrationSpec) { s.HeartbeatInterval.Duration = interval })
	r.start()
	pod := r.pod("web-0")
	present := r.registered("web-0", pod)
	r.Within(patience, "the entry", present)

	if err := r.kv.Delete(t.Context(), "node.web-0"); err != nil {
		t.Fatal(err)
	}
	t.Logf("after a delete: %s", r.Within(soon, "the deleted entry to be back", present))
	if err := r.kv.Purge(t.Context(), "node.web-0"); err != nil {
		t.Fatal(err)
	}
	t.Logf("after a purge: %s", r.Within(soon, "the purged entry to be back", present))
	// What a late marker of a clustered server looks like.
	marker := r.message("$KV."+bucket+".node.web-0", map[string]string{"Nats-Marker-Reason": "MaxAge", "KV-Operation": "PURGE"})
	if err := r.nats.Connect(t).PublishMsg(marker); err != nil {
		t.Fatal(err)
	}
	r.Within(soon, "the entry that expired to be back", func() bool { return r.revision("web-0") > 5 && present() })

	js, err := jetstream.New(r.nats.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "KV_"+bucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("after a purge of the whole bucket: %s", r.Within(interval+soon, "the entry to be back", present))

	if err := r.nats.Wipe(); err != nil {
		t.Fatal(err)
	}
	r.Within(patience, "the entry to be in the new bucket", func() bool {
		kv, err := js.KeyValue(t.Context(), bucket)
		if err != nil {
			return false
		}
		r.kv = kv
		return present()
	})
	r.reports("web", "1/1/0 True Registered")
}

func TestTwoClustersOfOneName(t *testing.T) {
	t.Parallel()
	a, b := newRig(t), newRig(t)
	b.nats, b.kv = a.nats, a.kv
	removals := a.removals()
	var mine, theirs []*corev1.Pod
	for _, r := range []*rig{a, b} {
		r.registry()
		r.registration("web")
		r.start()
	}
	mine = append(mine, a.pod("same"), a.pod("a-0"))
	for _, pod := range mine {
		a.Within(patience, "the entries of the one", a.registered(pod.Name, pod))
	}
	theirs = append(theirs, b.pod("same"), b.pod("b-0"))
	b.Within(patience, "the entry of the other", b.registered("b-0", theirs[1]))
	for _, r := range []*rig{a, b} {
		r.Within(patience, "both to say so", func() bool {
			_, c := r.ready("web")
			return c.Reason == rollcallv1alpha1.ReasonClusterNameConflict && strings.Contains(c.Message, "--cluster-name")
		})
		r.Within(patience, "an Event", func() bool {
			return slices.ContainsFunc(r.events("PodRegistration", "web"), func(e string) bool { return strings.Contains(e, "ClusterNameConflict") })
		})
	}
	a.Throughout(3*time.Second, "the entries of both", func() bool {
		return a.registered("same", mine[0])() && a.registered("a-0", mine[1])() && b.registered("b-0", theirs[1])()
	})
	if got := removals(); len(got) > 0 {
		t.Errorf("one removed entries of the other: %v", got)
	}
}

// named gives the cluster of a manager a name.
func named(cluster string) func(*rest.Config, *manager.Options) {
	return func(_ *rest.Config, o *manager.Options) { o.ClusterName = cluster }
}

func TestPodsOfOneClusterAreNodesOfAnother(t *testing.T) {
	t.Parallel()
	a, b := newRig(t), newRig(t)
	b.nats, b.kv = a.nats, a.kv
	for _, r := range []*rig{a, b} {
		r.registry()
		r.service()
	}
	a.registration("web")
	a.start(named("alpha"))
	b.start(named("beta"))
	a.pod("web-0")
	b.Within(patience, "the pod to be a node of the other cluster", func() bool {
		dn := b.node("web-0")
		return dn != nil && dn.Labels[rollcallv1alpha1.LabelOrigin] == "alpha" && dn.Status.Phase == rollcallv1alpha1.NodeReady
	})
	b.Within(patience, "its endpoint", func() bool { return slices.Equal(b.endpoints(), []string{"10.2.0.1"}) })
	a.Throughout(2*time.Second, "no node of its own pods", func() bool { return a.node("web-0") == nil && len(a.endpoints()) == 0 })

	registry := &rollcallv1alpha1.NodeRegistry{}
	a.get("catga", registry)
	a.update(registry, func() { registry.Spec.IncludeLocalPods = true })
	a.Within(patience, "the node once it is asked for", func() bool {
		dn := a.node("web-0")
		return dn != nil && dn.Labels[rollcallv1alpha1.LabelOrigin] == "alpha"
	})
	a.Within(patience, "its endpoint", func() bool { return slices.Equal(a.endpoints(), []string{"10.2.0.1"}) })
	a.get("catga", registry)
	a.update(registry, func() { registry.Spec.IncludeLocalPods = false })
	a.Within(patience, "the node to go again", func() bool { return a.node("web-0") == nil && len(a.endpoints()) == 0 })
	if a.revision("web-0") == 0 {
		t.Error("the entry is gone")
	}
}

// TestOwnersOfOtherReaders checks that the mark that tells clusters apart is one that readers may ignore.
func TestOwnersOfOtherReaders(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.registry()
	p := r.registration("web")
	r.start()
	pod := r.pod("web-0")
	r.Within(patience, "the entry", r.registered("web-0", pod))
	e, err := r.kv.Get(t.Context(), "node.web-0")
	if err != nil {
		t.Fatal(err)
	}
	var record struct{ Owner map[string]string }
	if err := json.Unmarshal(e.Value(), &record); err != nil {
		t.Fatal(err)
	}
	if record.Owner["Cluster"] != here || record.Owner["UID"] != string(pod.UID) || record.Owner["Registration"] != string(p.UID) {
		t.Errorf("the owner is %v", record.Owner)
	}
}

func TestTwoNamespacesOnOneBucket(t *testing.T) {
	t.Parallel()
	a, b := newRig(t), newRig(t)
	b.nats, b.kv = a.nats, a.kv
	for _, r := range []*rig{a, b} {
		r.registry()
		r.registration("web")
	}
	both := func(_ *rest.Config, o *manager.Options) { o.Namespaces = []string{a.Namespace, b.Namespace} }
	first := a.start(both)
	mine, theirs := a.pod("a-0"), b.pod("b-0")
	a.Within(patience, "the entry of the one", a.registered("a-0", mine))
	b.Within(patience, "the entry of the other", b.registered("b-0", theirs))
	removals := a.removals()
	first.Stop()
	a.start(both)
	a.beats("a-0", 3)
	b.beats("b-0", 3)
	a.reports("web", "1/1/0 True Registered")
	b.reports("web", "1/1/0 True Registered")
	if got := removals(); len(got) > 0 {
		t.Errorf("one registry removed entries of the other: %v", got)
	}
}

func TestTwoRegistriesOnOneBucketWantOnePod(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := r.registry()
	second := first.DeepCopy()
	second.ResourceVersion, second.Name = "", "second"
	r.Create(second)
	r.registration("web", func(s *rollcallv1alpha1.PodRegistrationSpec) { s.HeartbeatInterval = seconds(10) })
	r.registration("web2", func(s *rollcallv1alpha1.PodRegistrationSpec) {
		s.RegistryName, s.Selector.MatchLabels, s.HeartbeatInterval = "second", map[string]string{"app": "web"}, seconds(10)
	})
	r.start()
	pod := r.pod("web-0")
	r.Within(patience, "the entry", r.registered("web-0", pod))
	r.Within(patience, "one of them to report the conflict", func() bool {
		return strings.Contains(r.outcome("web")+r.outcome("web2"), "1/1 False Conflict")
	})
	before := r.revision("web-0")
	r.Throughout(2*time.Second, "no fight over the key", func() bool { return r.revision("web-0") < before+3 })
}
