package pods

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/rest"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/internal/manager"
)

func TestStopUnregistersNothingAndAStartRemovesWhatIsGone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.registry()
	r.registration("web")
	first := r.start()
	stays, goes, replaced := r.pod("stays"), r.pod("goes"), r.pod("replaced")
	for _, pod := range []*corev1.Pod{stays, goes, replaced} {
		r.Within(patience, "the entries", r.registered(pod.Name, pod))
	}
	removals := r.removals()
	first.Stop()
	r.delete(goes)
	r.delete(replaced)
	next := r.pod("replaced")
	// Entries that only look like this cluster's, and those of others.
	namesake := r.foreign("namesake", &discovery.Owner{Cluster: here, UID: "unknown", Registration: "unknown"})
	other := r.foreign("other", &discovery.Owner{Cluster: "there", UID: "1"})
	if got := removals(); len(got) > 0 {
		t.Errorf("stopping removed %v", got)
	}
	r.start()
	r.Within(patience, "the entry of the pod that is gone to go", r.gone("goes"))
	r.Within(patience, "the entry of the pod that was replaced", r.registered("replaced", next))
	r.beats("stays", 2)
	r.Within(patience, "the removal to be seen", func() bool { return len(removals()) > 0 })
	if got := removals(); !slices.Equal(got, []string{"KeyValueDeleteOp node.goes"}) {
		t.Errorf("the start removed %v", got)
	}
	if r.revision("namesake") != namesake || r.revision("other") != other {
		t.Error("the entries of others were touched")
	}
}

func TestNothingIsRemovedBeforeEveryPodIsKnown(t *testing.T) {
	t.Parallel()
	const count = 300
	r := newRig(t)
	r.registry()
	r.registration("web", func(s *rollcallv1alpha1.PodRegistrationSpec) { s.HeartbeatInterval = seconds(10) })
	first := r.start()
	r.many(count)
	r.Within(2*patience, "all entries", func() bool { return len(r.keys()) == count })
	first.Stop()
	removals := r.removals()
	for range 3 {
		manager := r.start()
		r.reports("web", fmt.Sprintf("%d/%d/0 True Registered", count, count))
		manager.Stop()
	}
	if got := removals(); len(got) > 0 {
		t.Errorf("a restart removed %d entries: %.200v", len(got), got)
	}
}

func elected(r *rig) func(*rest.Config, *manager.Options) {
	return func(_ *rest.Config, o *manager.Options) { o.LeaderElect, o.LeaderElectionNamespace = true, r.Namespace }
}

func TestCleanStopHandsOver(t *testing.T) {
	r := newRig(t)
	r.registry()
	r.registration("web")
	first := r.start(elected(r))
	pod := r.pod("web-0")
	r.Within(patience, "the entry", r.registered("web-0", pod))
	r.start(elected(r))
	removals := r.removals()
	first.Stop()
	stopped := time.Now()
	next := r.pod("web-1")
	r.Within(patience, "a pod that came meanwhile", r.registered("web-1", next))
	took := time.Since(stopped)
	t.Logf("handed over after %s", took)
	// A Lease that was not released is waited for: for 15 s after it was renewed, which is every 2 s. The successor may be about to start.
	if took > 12*time.Second || took > 3*time.Second && !raced {
		t.Errorf("handing over took %s", took)
	}
	r.beats("web-0", 1)
	if got := removals(); len(got) > 0 {
		t.Errorf("handing over removed %v", got)
	}
}

func TestKilledLeaderLosesNoRegistration(t *testing.T) {
	t.Parallel()
	const count = 500
	r := newRig(t)
	r.ttl(40 * time.Second)
	r.registry()
	r.registration("web", func(s *rollcallv1alpha1.PodRegistrationSpec) { s.HeartbeatInterval = seconds(10) })
	kill := r.spawn()
	r.many(count)
	r.Within(2*patience, "all entries", func() bool { return len(r.keys()) == count })
	removals := r.removals()
	watch, err := r.kv.Watch(t.Context(), "node.>", jetstream.UpdatesOnly())
	if err != nil {
		t.Fatal(err)
	}
	r.spawn()
	kill()
	killed := time.Now()
	beaten := sets.New[string]()
	var first time.Duration
	for deadline := time.After(leases + 15*time.Second); beaten.Len() < count; {
		select {
		case e := <-watch.Updates():
			if e != nil && e.Created().After(killed) {
				if beaten.Len() == 0 {
					first = time.Since(killed)
				}
				beaten.Insert(e.Key())
			}
		case <-deadline:
			t.Fatalf("%d of %d heartbeated after the leader was killed", beaten.Len(), count)
		}
	}
	t.Logf("the first heartbeat came %s after the kill, all of them after %s", first, time.Since(killed))
	if got := removals(); len(got) > 0 {
		t.Errorf("%d entries expired or were removed: %.200v", len(got), got)
	}
	if n := len(r.keys()); n != count {
		t.Errorf("%d of %d entries are left", n, count)
	}
}

func TestOutageOfNATS(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.registry()
	r.registration("web")
	r.start()
	pod := r.pod("web-0", gate)
	r.status(pod, conditioned(corev1.PodReady, corev1.ConditionFalse))
	r.Within(patience, "the entry", r.registered("web-0", pod))
	r.Within(patience, "the gate", r.gateIs(pod, corev1.ConditionTrue))
	r.nats.Stop()
	r.Within(patience, "the status to say so", func() bool { return strings.HasSuffix(r.outcome("web"), "False RegistryNotReady") })
	late := r.pod("late")
	r.Throughout(2*time.Second, "the gate", r.gateIs(pod, corev1.ConditionTrue))
	if err := r.nats.Restart(); err != nil {
		t.Fatal(err)
	}
	r.Within(patience, "the pod that came meanwhile", r.registered("late", late))
	r.beats("web-0", 2)
	r.reports("web", "2/2/0 True Registered")
	if told := r.events("Pod", "web-0"); len(told) > 0 {
		t.Errorf("an outage told of the pod: %v", told)
	}
}
