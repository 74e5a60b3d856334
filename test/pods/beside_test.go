package pods

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/manager"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

// installation is a manager with a namespace, a Lease and a cluster name of its own.
type installation struct {
	*rig
	name string
	*testrig.Manager
	pod *corev1.Pod
}

// install starts a manager over the namespace of the rig, whose Lease is in the namespace of the Leases, and gives it a Service
// and a pod.
func (r *rig) install(name, leases string) *installation {
	r.Helper()
	i := &installation{rig: r, name: name}
	r.registry()
	r.registration("web")
	r.Create(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "web", Annotations: map[string]string{
			rollcallv1alpha1.AnnotationNodeSelector: "rollcall.dev/registry=catga,rollcall.dev/origin=external",
		}},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}}},
	})
	i.Manager = r.start(func(_ *rest.Config, o *manager.Options) {
		o.ClusterName, o.LeaderElect, o.LeaderElectionNamespace, o.LeaderElectionID = name, true, leases, name
	})
	i.pod = r.podOf("web-of-" + name)
	r.Create(i.pod)
	r.status(i.pod, running("10.2.0.1"))
	return i
}

// machine has a machine outside of the cluster heartbeat once.
func (r *rig) machine(id, address string) {
	r.Helper()
	value, err := json.Marshal(map[string]any{"NodeId": id, "Endpoint": "http://" + address + ":8080"})
	if err != nil {
		r.Fatal(err)
	}
	if _, err := r.kv.Put(r.Context(), "node."+id, value); err != nil {
		r.Fatal(err)
	}
}

// serves says whether these are the ready endpoints of the installation's Service.
func (i *installation) serves(addresses ...string) func() bool {
	slices.Sort(addresses)
	return func() bool {
		list := &discoveryv1.EndpointSliceList{}
		if err := i.API.List(i.Context(), list, client.InNamespace(i.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: "web"}); err != nil {
			i.Fatal(err)
		}
		ready := map[string]bool{}
		for _, slice := range list.Items {
			for _, endpoint := range slice.Endpoints {
				if ptr.Deref(endpoint.Conditions.Ready, true) {
					ready[endpoint.Addresses[0]] = true
				}
			}
		}
		return slices.Equal(slices.Sorted(maps.Keys(ready)), addresses)
	}
}

// leads says whether somebody holds the installation's Lease.
func (i *installation) leads(leases string) func() bool {
	return func() bool {
		lease := &coordinationv1.Lease{}
		err := i.API.Get(i.Context(), client.ObjectKey{Namespace: leases, Name: i.name}, lease)
		if client.IgnoreNotFound(err) != nil {
			i.Fatal(err)
		}
		return err == nil && ptr.Deref(lease.Spec.HolderIdentity, "") != ""
	}
}

// wroteHere checks that the manager has written in its namespace alone.
func (i *installation) wroteHere() {
	i.Helper()
	for _, write := range i.Take() {
		if !strings.Contains(write, "/namespaces/"+i.Namespace+"/") {
			i.Errorf("the manager of %s wrote elsewhere: %s", i.name, write)
		}
	}
}

// Two installations side by side, each over namespaces of its own, on one API server and one bucket: each leads, serves and registers
// what is its own, and one goes on while the other is away.
func TestTwoInstallations(t *testing.T) {
	one := newRig(t)
	other := &rig{Rig: testrig.New(t, env), nats: one.nats, kv: one.kv}
	leases := one.Namespace // One namespace for both Leases is the harder case.
	a, b := one.install("east", leases), other.install("west", leases)
	one.machine("m-1", "10.1.0.1")
	for _, i := range []*installation{a, b} {
		i.Within(patience, "its Lease", i.leads(leases))
		i.Within(patience, "the machine", i.serves("10.1.0.1"))
		i.Within(patience, "the entry of its pod", i.registered(i.pod.Name, i.pod))
		i.beats(i.pod.Name, 2)
	}
	// Both lead at once, and no name is taken for the other's.
	if !a.leads(leases)() || !b.leads(leases)() {
		t.Error("one of them leads no more")
	}
	for _, i := range []*installation{a, b} {
		i.Within(patience, "a registry with which nothing is wrong", func() bool {
			state, _ := i.Condition("catga", rollcallv1alpha1.ConditionDegraded)
			return strings.HasPrefix(state, "False/")
		})
		i.Within(patience, "its one pod to be registered, without a conflict", func() bool {
			registered, matched, conflicts := i.ready3("web")
			return registered == 1 && matched == 1 && conflicts == 0
		})
		i.wroteHere()
	}

	removals := one.removals()
	a.Stop()
	a.Within(patience, "the Lease to be given up", func() bool { return !a.leads(leases)() })
	one.machine("m-2", "10.1.0.2")
	b.Within(patience, "the other one to go on", b.serves("10.1.0.1", "10.1.0.2"))
	b.beats(b.pod.Name, 3)
	if !a.serves("10.1.0.1")() {
		t.Error("what the one that is away has written was changed")
	}
	if !b.leads(leases)() {
		t.Error("the other one leads no more")
	}
	if gone := removals(); len(gone) > 0 {
		t.Errorf("from the bucket went %v", gone)
	}
	b.wroteHere()
	b.Throughout(time.Second, "the entry of the pod of the one that is away", a.registered(a.pod.Name, a.pod))
}
