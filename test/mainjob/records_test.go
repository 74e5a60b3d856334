package mainjob

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// put writes the record of a node, with these members besides its ID.
func (r *rig) put(id, members string) {
	r.Helper()
	r.insist("a record", func() error {
		_, err := r.kv.Put(r.Context(), "node."+id, fmt.Appendf(nil, `{"NodeId":%q,%s}`, id, members))
		return err
	})
}

// says returns status, reason and message of the condition RecordAccepted of a node.
func (r *rig) says(id string) string {
	r.Helper()
	dn := &rollcallv1alpha1.DiscoveredNode{}
	if err := r.API.Get(r.Context(), client.ObjectKey{Namespace: r.Namespace, Name: "catga." + id}, dn); err != nil {
		return err.Error()
	}
	c := meta.FindStatusCondition(dn.Status.Conditions, rollcallv1alpha1.ConditionRecordAccepted)
	if c == nil {
		return ""
	}
	return string(c.Status) + "/" + c.Reason + ": " + c.Message
}

// placed returns the message of the condition EndpointsSynced of a Service.
func (r *rig) placed(service string) string {
	r.Helper()
	object := &corev1.Service{}
	if err := r.API.Get(r.Context(), client.ObjectKey{Namespace: r.Namespace, Name: service}, object); err != nil {
		r.Fatal(err)
	}
	if c := meta.FindStatusCondition(object.Status.Conditions, rollcallv1alpha1.ConditionEndpointsSynced); c != nil {
		return c.Message
	}
	return ""
}

// selecting has a Service select the nodes of catga with that role, and take the ports of these names.
func selecting(role string, ports ...string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		s.Annotations[rollcallv1alpha1.AnnotationNodeSelector] = "rollcall.dev/registry=catga,role=" + role
		s.Spec.Ports = nil
		for i, name := range ports {
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: name, Port: int32(80 + i), TargetPort: intstr.FromString(name)})
		}
	}
}

func TestTwoServicesBehindOneProxy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web", selecting("web", "http"))
	r.service("api", selecting("api", "http"))
	r.Start()
	for _, role := range []string{"web", "api"} {
		r.put(role+"-1", `"Endpoint":"http://10.1.0.9:8080","Metadata":{"role":"`+role+`"}`)
	}
	for _, service := range []string{"web", "api"} {
		r.Within(patience, "the proxy in "+service, func() bool { return slices.Equal(r.ready(service), []string{"10.1.0.9"}) })
		r.Within(patience, service+" to be Synced", func() bool { return r.synced(service) == rollcallv1alpha1.ReasonSynced })
	}
	r.Within(patience, "both nodes to take traffic", func() bool {
		return len(r.nodes()) == 2 && !slices.ContainsFunc(r.nodes(), func(dn rollcallv1alpha1.DiscoveredNode) bool {
			return dn.Status.Phase != rollcallv1alpha1.NodeReady
		})
	})
}

func TestTwoProcessesWithOneSharedPort(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web", selecting("web", "http"))
	r.service("metrics", selecting("web", "metrics"))
	r.Start()
	for n, id := range []string{"one", "two"} {
		r.put(id, fmt.Sprintf(`"Addresses":["10.1.0.9"],"Ports":[{"Name":"http","Port":%d},{"Name":"metrics","Port":9100}],"Metadata":{"role":"web"}`, 8081+n))
		r.Within(patience, "the node", func() bool { return len(r.nodes()) == n+1 })
	}
	r.Within(patience, "both of them", func() bool { return slices.Equal(r.ready("web"), []string{"10.1.0.9", "10.1.0.9"}) })
	r.Within(patience, "the shared port once", func() bool { return slices.Equal(r.ready("metrics"), []string{"10.1.0.9"}) })
	r.Within(patience, "the Service to say who lost what", func() bool {
		return r.synced("metrics") == rollcallv1alpha1.ReasonAddressShared && strings.Contains(r.placed("metrics"), "10.1.0.9:9100") && strings.Contains(r.placed("metrics"), "two")
	})
	r.Within(patience, "the Service web to lack nothing", func() bool { return r.synced("web") == rollcallv1alpha1.ReasonSynced })
	// The port goes to the other one when its holder leaves.
	if err := r.kv.Delete(t.Context(), "node.one"); err != nil {
		t.Fatal(err)
	}
	r.Within(patience, "the other one in web", func() bool { return slices.Equal(r.ready("web"), []string{"10.1.0.9"}) })
	r.Throughout(time.Second, "the shared port", func() bool { return slices.Equal(r.ready("metrics"), []string{"10.1.0.9"}) })
	r.Within(patience, "nothing more to say", func() bool { return r.synced("metrics") == rollcallv1alpha1.ReasonSynced })
}

func TestSecondAddressThatAllShare(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web")
	r.Start()
	for n := range 3 {
		r.put(nodeID(n), fmt.Sprintf(`"Addresses":[%q,"172.17.0.1"],"Ports":[{"Name":"http","Port":8080}],"Metadata":{"role":"web"}`, address(n)))
	}
	r.Within(patience, "three endpoints", r.serves(0, 3))
}

// TestWhatNothingDependsOnWaits: a counter in the metadata, a remark that changes, a name: at every heartbeat another, and no write.
func TestWhatNothingDependsOnWaits(t *testing.T) {
	t.Parallel()
	const count, beats = 50, 10
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.StatusInterval = seconds(3600) })
	r.service("web")
	manager := r.Start()
	beatAll := func(beat int) {
		for n := range count {
			r.put(nodeID(n), fmt.Sprintf(`"Endpoint":"http://%s:8080","Metadata":{"role":"web","requests":"%d"},"Name":"at %d","Load":"%d odd","LastSeen":%d`,
				address(n), 1000*beat+n, beat, beat, time.Now().UnixNano()))
		}
	}
	beatAll(0)
	r.Within(patience, "all endpoints", r.serves(0, count))
	r.Within(patience, "all nodes", func() bool { return len(r.nodes()) == count })
	manager.Quiet(patience)
	for beat := range beats {
		beatAll(beat + 1)
	}
	// The change that follows proves that the heartbeats before it were seen.
	r.beat(count)
	r.Within(patience, "the new endpoint", r.serves(0, count+1))
	r.Within(patience, "the new node", func() bool { return r.node(count) != nil })
	for _, write := range manager.Take() {
		if !strings.HasPrefix(write, "PUT /apis/discovery.k8s.io") && !strings.HasSuffix(write, "/discoverednodes") && !strings.HasSuffix(write, "/catga/status") {
			t.Errorf("%d heartbeats with a counter cost a write: %s", beats*count, write)
		}
	}
	if got := r.node(0).Spec.Metadata["requests"]; got != "0" {
		t.Errorf("the counter was written: %s", got)
	}
}

// TestACounterFollowsAtStatusInterval: what waits is written in the end, once in an interval, however often it changes.
func TestACounterFollowsAtStatusInterval(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.StatusInterval = seconds(2) })
	manager := r.Start()
	beat := func(n int) {
		r.put("one", fmt.Sprintf(`"Endpoint":"http://10.1.0.1:8080","Metadata":{"requests":"%d"}`, n))
	}
	beat(0)
	r.Within(patience, "the node", func() bool { return len(r.nodes()) == 1 })
	manager.Quiet(patience)
	began, n := time.Now(), 0
	r.Within(patience, "the counter to follow twice", func() bool {
		n++
		beat(n)
		return r.nodes()[0].Status.Revision > 2 && time.Since(began) > 5*time.Second
	})
	writes := slices.DeleteFunc(manager.Take(), func(w string) bool { return !strings.Contains(w, "/discoverednodes/") })
	if most := int(time.Since(began)/(2*time.Second)) + 1; len(writes) == 0 || len(writes) > most {
		t.Errorf("%d heartbeats cost %d writes, at most %d were due", n, len(writes), most)
	}
}

func TestALabelThatNoRecordHasIsNamed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) {
		s.Labels = map[string]string{"role": "rolle", "version": "version"}
	})
	r.service("all", func(s *corev1.Service) {
		s.Annotations[rollcallv1alpha1.AnnotationNodeSelector] = "rollcall.dev/registry=catga"
	})
	r.Start()
	r.put("one", `"Endpoint":"http://10.1.0.1:8080","Metadata":{"role":"web","version":"1"}`)
	r.Within(patience, "the registry to name the label", func() bool {
		state, message := r.Condition("catga", "Degraded")
		return state == "True/LabelNotFound" && strings.Contains(message, "role (rolle)") && !strings.Contains(message, "version")
	})
	r.Within(patience, "its endpoint", func() bool { return slices.Equal(r.ready("all"), []string{"10.1.0.1"}) })
	r.put("two", `"Endpoint":"http://10.1.0.2:8080","Metadata":{"rolle":"web"}`)
	r.Within(patience, "the registry to be content", func() bool { return r.condition("Degraded") == "False/AsExpected" })
}

func TestRefusedRecordsAreCountedAndQuoted(t *testing.T) {
	t.Parallel()
	const count = 20
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web")
	r.Start()
	r.beatAll(0, count)
	r.Within(patience, "all endpoints", r.serves(0, count))
	for n := range count {
		r.put(nodeID(n), fmt.Sprintf(`"Addresses":[%q],"Ports":[{"Name":"http","Port":"8080"}],"Metadata":{"role":"web"}`, address(n)))
	}
	r.Within(patience, "the registry to say so", func() bool {
		state, message := r.Condition("catga", "Degraded")
		return state == "True/RecordsRefused" && strings.Contains(message, "20 of 20 nodes") && strings.Contains(message, "Ports.Port can't be a JSON string")
	})
	if state := r.condition("Ready"); state != "True/Ready" {
		t.Errorf("the registry is %s", state)
	}
	r.Within(patience, "a node to say so", func() bool {
		return strings.HasPrefix(r.says(nodeID(0)), "False/InvalidRecord: ") && strings.HasSuffix(r.says(nodeID(0)), "the last good record stays in force")
	})
	if !r.serves(0, count)() {
		t.Errorf("served are %v", r.ready("web"))
	}
	r.beatAll(0, count)
	r.Within(patience, "the registry to be content", func() bool { return r.condition("Degraded") == "False/AsExpected" })
	r.Within(patience, "the nodes as well", func() bool { return strings.HasPrefix(r.says(nodeID(0)), "True/Accepted:") })
}

// TestACordonOutlivesAnUnregistration: a service that restarts within the TTL is the node that a person has cordoned.
func TestACordonOutlivesAnUnregistration(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web")
	r.Start()
	r.beatAll(0, 2)
	r.Within(patience, "two endpoints", r.serves(0, 2))
	r.Within(patience, "two nodes", func() bool { return len(r.nodes()) == 2 })
	dn := r.node(0)
	before := dn.DeepCopy()
	dn.Spec.Cordoned = true
	if err := r.API.Patch(t.Context(), dn, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	r.Within(patience, "it to be out of rotation", r.serves(1, 2))
	r.unregister(0)
	r.Within(patience, "its node to go", func() bool { return r.node(0) == nil })
	r.beat(0)
	r.Within(patience, "its node to be back, cordoned", func() bool { return r.node(0) != nil && r.node(0).Spec.Cordoned })
	r.beat(1)
	if !r.serves(1, 2)() {
		t.Errorf("served are %v", r.ready("web"))
	}
}
