package pods

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
)

func TestReadyPodIsRegisteredAndHeartbeated(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.registry()
	r.registration("web")
	manager := r.start()
	pod := r.pod("web-0")
	r.Within(patience, "the entry", r.registered("web-0", pod))
	n, _ := r.entry("web-0")
	if n.Name != "web-0" || n.Addresses[0] != "10.2.0.1" || n.Ports[0] != (discovery.Port{Name: "http", Port: 8080, Protocol: "TCP"}) ||
		n.Metadata["role"] != "web" || n.Owner.Cluster != here || n.Endpoint != "http://10.2.0.1:8080" {
		t.Errorf("the record is %+v", n)
	}
	r.reports("web", "1/1/0 True Registered")
	manager.Take()
	r.beats("web-0", 4)
	for _, write := range manager.Take() {
		t.Errorf("heartbeats cost a write: %s", write)
	}
	r.status(pod, conditioned(corev1.PodReady, corev1.ConditionFalse))
	t.Logf("unregistered after %s", r.Within(patience, "the entry to go", r.gone("web-0")))
	r.reports("web", "1/0/0 True Registered")
	r.status(pod, conditioned(corev1.PodReady, corev1.ConditionTrue))
	r.Within(patience, "the entry to be back", r.registered("web-0", pod))
}

func TestPodThatGoesIsUnregisteredAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.registry()
	r.registration("web")
	r.start()
	deleted, relabelled := r.pod("deleted"), r.pod("relabelled")
	// One on a node is deleted by its kubelet only, and is terminating until then.
	terminating := r.pod("terminating", func(p *corev1.Pod) { p.Spec.NodeName = "node-1" })
	finished := r.pod("finished")
	for _, pod := range []*corev1.Pod{deleted, relabelled, terminating, finished} {
		r.Within(patience, "the entries", r.registered(pod.Name, pod))
		if len(pod.Finalizers) > 0 {
			t.Errorf("the pod has the finalizers %v", pod.Finalizers)
		}
	}
	r.delete(deleted)
	r.update(relabelled, func() { relabelled.Labels["app"] = "other" })
	if err := r.API.Delete(t.Context(), terminating); err != nil {
		t.Fatal(err)
	}
	r.status(finished, func(s *corev1.PodStatus) { s.Phase = corev1.PodSucceeded })
	for _, id := range []string{"deleted", "relabelled", "terminating", "finished"} {
		r.Within(patience, "the entry of "+id+" to go", r.gone(id))
	}
	if err := r.API.Get(t.Context(), client.ObjectKeyFromObject(terminating), terminating); err != nil || terminating.DeletionTimestamp == nil {
		t.Errorf("the pod that should be terminating is not: %v", err)
	}
}

func TestRecordFollowsThePod(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.registry()
	r.registration("web", func(s *rollcallv1alpha1.PodRegistrationSpec) {
		s.HeartbeatInterval = seconds(20)
		s.Metadata["version"] = "pod.metadata.labels[?'version'].orValue('none')"
	})
	r.registration("db", func(s *rollcallv1alpha1.PodRegistrationSpec) {
		s.Selector.MatchLabels = map[string]string{"app": "db"}
		s.HeartbeatInterval = seconds(20)
	})
	r.start()
	pod := r.pod("web-0")
	r.Within(patience, "the entry", r.registered("web-0", pod))
	removals := r.removals()

	r.status(pod, running("10.2.0.9"))
	r.Within(patience, "the new address", func() bool { n, _ := r.entry("web-0"); return slices.Equal(n.Addresses, []string{"10.2.0.9"}) })
	r.update(pod, func() { pod.Labels["version"] = "2" })
	r.Within(patience, "the new label", func() bool { n, _ := r.entry("web-0"); return n.Metadata["version"] == "2" })
	r.update(pod, func() { pod.Labels["app"] = "db" })
	r.Within(patience, "the record of the other PodRegistration", func() bool { n, _ := r.entry("web-0"); return n.Metadata["role"] == "db" })
	r.reports("db", "1/1/0 True Registered")
	r.reports("web", "0/0/0 True Registered")
	if got := removals(); len(got) > 0 {
		t.Errorf("the entry was missing meanwhile: %v", got)
	}
}

func TestPodThatIsReplacedUnderItsName(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.registry()
	r.registration("web")
	r.start()
	old := r.pod("web-0")
	r.Within(patience, "the entry", r.registered("web-0", old))
	r.delete(old)
	next := r.pod("web-0")
	r.Within(patience, "the entry of the next pod", r.registered("web-0", next))
	r.reports("web", "1/1/0 True Registered")
}

func TestPortsAndAddresses(t *testing.T) {
	t.Parallel()
	always := corev1.ContainerRestartPolicyAlways
	r := newRig(t)
	r.registry()
	r.registration("all", func(s *rollcallv1alpha1.PodRegistrationSpec) { s.Metadata = nil })
	r.registration("named", func(s *rollcallv1alpha1.PodRegistrationSpec) { s.Ports = []string{"grpc", "admin"} })
	r.start()
	containers := func(app string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Labels["app"] = app
			p.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}, {Name: "grpc", ContainerPort: 9090}, {ContainerPort: 7000, Protocol: corev1.ProtocolUDP}, {ContainerPort: 7001}}
			p.Spec.InitContainers = []corev1.Container{
				{Name: "proxy", Image: "i", RestartPolicy: &always, Ports: []corev1.ContainerPort{{Name: "admin", ContainerPort: 15000}, {Name: "http", ContainerPort: 15001}}},
				{Name: "init", Image: "i", Ports: []corev1.ContainerPort{{Name: "never", ContainerPort: 1}}},
			}
		}
	}
	all := r.pod("all-0", containers("all"))
	named := r.pod("named-0", containers("named"))
	host := r.pod("host-0", containers("named"), func(p *corev1.Pod) {
		p.Spec.HostNetwork = true
		for _, c := range [][]corev1.Container{p.Spec.Containers, p.Spec.InitContainers} {
			for i := range c {
				for j := range c[i].Ports {
					c[i].Ports[j].HostPort = c[i].Ports[j].ContainerPort
				}
			}
		}
	})
	r.status(host, running("192.0.2.7"))
	r.status(named, running("10.2.0.1", "fd00::1"))
	type ports = []discovery.Port
	tcp := func(name string, port int) discovery.Port {
		return discovery.Port{Name: name, Port: port, Protocol: "TCP"}
	}
	for _, c := range []struct {
		pod       *corev1.Pod
		ports     ports
		addresses []string
	}{
		{all, ports{tcp("http", 8080), tcp("grpc", 9090), {Name: "udp-7000", Port: 7000, Protocol: "UDP"}, tcp("tcp-7001", 7001), tcp("admin", 15000), tcp("tcp-15001", 15001)}, []string{"10.2.0.1"}},
		{named, ports{tcp("grpc", 9090), tcp("admin", 15000)}, []string{"10.2.0.1", "fd00::1"}},
		{host, ports{tcp("grpc", 9090), tcp("admin", 15000)}, []string{"192.0.2.7"}},
	} {
		var n discovery.Node
		r.Within(patience, "the entry of "+c.pod.Name+" to be as wanted", func() bool {
			n, _ = r.entry(c.pod.Name)
			return slices.Equal(n.Addresses, c.addresses)
		})
		if !reflect.DeepEqual(n.Ports, c.ports) {
			t.Errorf("%s has the ports %v, want %v", c.pod.Name, n.Ports, c.ports)
		}
	}
}

func TestDeletingWhatAsksForEntriesRemovesThem(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	registry := r.registry()
	web := r.registration("web")
	r.registration("db")
	r.start()
	var pods []*corev1.Pod
	for i := range 5 {
		pods = append(pods, r.pod(fmt.Sprintf("web-%d", i)), r.pod(fmt.Sprintf("db-%d", i), func(p *corev1.Pod) { p.Labels["app"] = "db" }))
	}
	for _, pod := range pods {
		r.Within(patience, "the entries", r.registered(pod.Name, pod))
	}
	r.delete(web)
	r.Within(patience, "the entries of the PodRegistration to go", func() bool { return len(r.keys()) == 5 })
	r.delete(registry)
	r.Within(patience, "the entries of the NodeRegistry to go", func() bool { return len(r.keys()) == 0 })
	r.mentions(r.reports("db", "5/0/0 False RegistryNotFound"), `"catga"`, "create it")
	r.registry()
	r.Within(patience, "the entries to be back", func() bool { return len(r.keys()) == 5 })
	r.reports("db", "5/5/0 True Registered")
}

func TestAnotherPrefixMovesTheEntries(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	registry := r.registry()
	r.registration("web")
	r.start()
	pod := r.pod("web-0")
	r.Within(patience, "the entry", r.registered("web-0", pod))
	r.update(registry, func() { registry.Spec.Bucket.KeyPrefix = new("other.") })
	r.Within(patience, "the entry to move", func() bool { return slices.Equal(r.keys(), []string{"other.web-0"}) })
}

func TestHeartbeatsAreSpread(t *testing.T) {
	t.Parallel()
	const count = 40
	r := newRig(t)
	r.registry()
	r.registration("web", func(s *rollcallv1alpha1.PodRegistrationSpec) { s.HeartbeatInterval = seconds(4) })
	r.start()
	r.many(count)
	r.Within(patience, "all entries", func() bool { return len(r.keys()) == count })
	// Two and a half intervals: a heartbeat may come late by half of one, and there are two or three of each all the same.
	const window = 10 * time.Second
	began := time.Now()
	seen := map[string]int{}
	tenths := map[int]int{}
	watch, err := r.kv.Watch(t.Context(), "node.>")
	if err != nil {
		t.Fatal(err)
	}
	// The first heartbeat after the window proves that those in it were seen.
	for over := false; !over; {
		select {
		case e := <-watch.Updates():
			if e == nil || e.Created().Before(began) {
				continue
			}
			if over = e.Created().After(began.Add(window)); !over {
				seen[e.Key()]++
				tenths[int(e.Created().Sub(began)/(400*time.Millisecond))]++
			}
		case <-time.After(time.Until(began.Add(window + patience))):
			t.Fatal("the heartbeats have ended")
		}
	}
	for key, n := range seen {
		if n < 2 || n > 3 {
			t.Errorf("%s heartbeated %d times in %s, with an interval of 4 s", key, n, window)
		}
	}
	if len(seen) != count {
		t.Errorf("%d of %d heartbeated", len(seen), count)
	}
	for tenth, n := range tenths {
		if n > count/2 {
			t.Errorf("%d of %d heartbeats came in the same 0.4 s, %d", n, count, tenth)
		}
	}
}
