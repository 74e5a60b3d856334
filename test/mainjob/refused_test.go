package mainjob

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

// policy has the API server refuse EndpointSlices of the rig's namespace for which the expression is false, and returns what ends
// that. probe is a slice that it refuses: it is in force once it does.
func (r *rig) policy(expression string, probe *discoveryv1.EndpointSlice, operations ...admissionv1.OperationType) (end func()) {
	r.Helper()
	objects := testrig.Policy(r.Namespace, expression, operations...)
	for _, o := range objects {
		r.Create(o)
	}
	end = func() {
		for _, o := range objects {
			if err := client.IgnoreNotFound(r.API.Delete(context.Background(), o)); err != nil {
				r.Error(err)
			}
		}
	}
	r.Within(patience, "the policy to be in force", func() bool { return r.refuses(probe, operations[0]) })
	return end
}

// refuses returns true if the API server refuses an operation on a slice, which does not take place.
func (r *rig) refuses(probe *discoveryv1.EndpointSlice, operation admissionv1.OperationType) bool {
	r.Helper()
	var err error
	switch operation {
	case admissionv1.Update:
		err = r.API.Update(r.Context(), probe.DeepCopy(), client.DryRunAll)
	case admissionv1.Delete:
		err = r.API.Delete(r.Context(), probe.DeepCopy(), client.DryRunAll)
	default:
		err = r.API.Create(r.Context(), probe.DeepCopy(), client.DryRunAll)
	}
	return err != nil && strings.Contains(err.Error(), testrig.Refusal)
}

// without is an expression that is false for a slice with one of the addresses.
func without(addresses ...string) string {
	return fmt.Sprintf("!has(object.endpoints) || object.endpoints == null || object.endpoints.all(e, !(e.addresses[0] in ['%s']))",
		strings.Join(addresses, "','"))
}

// slice returns a slice of nobody with an endpoint.
func (r *rig) slice(address string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: r.Namespace, Name: "probe"},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{address}}},
	}
}

// existing returns the slice of the Service web.
func (r *rig) existing() *discoveryv1.EndpointSlice {
	r.Helper()
	all := r.ours()
	if len(all) == 0 {
		r.Fatal("there is no slice")
	}
	return &all[0]
}

// said returns the condition of the Service web as "reason: message".
func (r *rig) said() string {
	r.Helper()
	service := &corev1.Service{}
	if err := r.API.Get(r.Context(), client.ObjectKey{Namespace: r.Namespace, Name: "web"}, service); err != nil {
		r.Fatal(err)
	}
	c := meta.FindStatusCondition(service.Status.Conditions, rollcallv1alpha1.ConditionEndpointsSynced)
	if c == nil {
		return ""
	}
	return c.Reason + ": " + c.Message
}

// reports waits until the condition has the reason, and a message with all the parts. The reason may be followed by how many of the
// Service's endpoints or slices it is about.
func (r *rig) reports(reason string, parts ...string) {
	r.Helper()
	said := ""
	reason, many, counts := strings.Cut(reason, ": ")
	if counts && many != "" {
		parts = append(parts, " "+many+"of the Service's ")
	}
	defer func() {
		if r.Failed() {
			r.Logf("it says %s", said)
		}
	}()
	r.Within(patience, "the Service to say "+reason, func() bool {
		said = r.said()
		return strings.HasPrefix(said, reason+": ") && !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(said, part) })
	})
}

// servesAll returns true if the ready endpoints of the Service web are exactly those of the nodes.
func (r *rig) servesAll(nodes ...[]int) func() bool {
	var want []string
	for _, span := range nodes {
		for n := span[0]; n < span[1]; n++ {
			want = append(want, address(n))
		}
	}
	slices.Sort(want)
	return func() bool { return slices.Equal(r.ready("web"), want) }
}

// populated starts a registry, a Service and its nodes, but no manager.
func populated(t *testing.T, count int) *rig {
	t.Helper()
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web")
	r.beatAll(0, count)
	return r
}

func (r *rig) unregisterAll(from, to int) {
	r.Helper()
	for n := from; n < to; n++ {
		r.unregister(n)
	}
}

// TestARemovalDoesNotWaitForWhatIsRefused: one address is refused; who unregisters is out all the same, over a restart too.
func TestARemovalDoesNotWaitForWhatIsRefused(t *testing.T) {
	t.Parallel()
	r := populated(t, 60)
	manager := r.startReady()
	r.Within(patience, "all endpoints", r.serves(0, 60))
	end := r.policy(without(address(60)), r.slice(address(60)), admissionv1.Create, admissionv1.Update)
	defer end()

	r.beat(60)
	r.unregisterAll(0, 30)
	took := r.Within(patience, "those that unregistered to go", r.serves(30, 60))
	t.Logf("30 of 60 were out %s after the last unregistered", took)
	r.reports("EndpointsRefused: 1 ", address(60), testrig.Refusal)
	r.beat(61)
	r.Within(patience, "another node", r.servesAll([]int{30, 60}, []int{61, 62}))
	if n := slicesWritten(manager); n > 200 {
		t.Errorf("it wrote %d times", n)
	}
	manager.Stop()

	r.unregisterAll(30, 40)
	r.beatAll(70, 80)
	manager = r.startReady()
	took = r.Within(patience, "those that unregistered meanwhile to go", r.servesAll([]int{40, 60}, []int{61, 62}, []int{70, 80}))
	t.Logf("over a restart: %s", took)
	r.reports(rollcallv1alpha1.ReasonEndpointsRefused, address(60))
	writes := slicesWritten(manager)
	if t.Logf("a start wrote %d slices", writes); writes > 40 {
		t.Errorf("a start wrote %d slices", writes)
	}

	end()
	took = r.Within(patience, "the refused node to be back", r.servesAll([]int{40, 62}, []int{70, 80}))
	t.Logf("back %s after the policy was gone", took)
	r.reports(rollcallv1alpha1.ReasonSynced)
}

// TestWhatIsRefused: for each kind of refusal, who unregistered is out at once, what can be shown is, and the Service says the rest.
func TestWhatIsRefused(t *testing.T) {
	const create, update = admissionv1.Create, admissionv1.Update
	written := []admissionv1.OperationType{create, update}
	existing := func(r *rig) *discoveryv1.EndpointSlice { return r.existing() }
	of := func(n int) func(*rig) *discoveryv1.EndpointSlice {
		return func(r *rig) *discoveryv1.EndpointSlice { return r.slice(address(n)) }
	}
	for name, test := range map[string]struct {
		policy     string
		operations []admissionv1.OperationType
		// probe is a slice that is refused.
		probe func(*rig) *discoveryv1.EndpointSlice
		// before is what a person does to the Service once the policy is in force.
		before func(*rig)
		// shown are the nodes that are shown once 0 to 29 of 60 unregistered and 60 to 69 registered.
		shown [][]int
		says  string
	}{
		"ten addresses": {without(addresses(60, 70)...), written, of(60), nil, [][]int{{30, 60}}, "EndpointsRefused: 10 "},
		"three of ten": {
			without(address(61), address(64), address(69)), written, of(61), nil,
			[][]int{{30, 61}, {62, 64}, {65, 69}}, "EndpointsRefused: 3 ",
		},
		"all additions": {
			"oldObject != null && object.endpoints.all(e, oldObject.endpoints.exists(o, o.addresses == e.addresses))", written, of(60), nil,
			[][]int{{30, 60}}, "EndpointsRefused: 10 ",
		},
		"updates":                  {"false", []admissionv1.OperationType{update}, existing, nil, [][]int{{30, 70}}, "Synced"},
		"an address that is there": {without(address(40)), written, of(40), nil, [][]int{{30, 40}, {41, 70}}, "EndpointsRefused: 1 "},
		"a label of the Service": {
			"!has(object.metadata.labels) || !('team' in object.metadata.labels)", written,
			func(r *rig) *discoveryv1.EndpointSlice { return r.labelled("team") }, func(r *rig) {
				r.label("team")
				r.reports("WriteFailed: 1 ", testrig.Refusal)
			},
			[][]int{{30, 60}}, "EndpointsRefused: 10 ",
		},
		"an annotation": {
			"!has(object.metadata.annotations) || oldObject != null && object.metadata.annotations == oldObject.metadata.annotations", written,
			func(r *rig) *discoveryv1.EndpointSlice { return r.annotated(corev1.EndpointsLastChangeTriggerTime) }, nil,
			// What is tried again has no time of a change.
			[][]int{{30, 70}}, "Synced",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := populated(t, 60)
			manager := r.startReady()
			r.Within(patience, "all endpoints", r.serves(0, 60))
			manager.Quiet(patience)
			end := r.policy(test.policy, test.probe(r), test.operations...)
			defer end()
			if test.before != nil {
				test.before(r)
			}
			r.beatAll(60, 70)
			r.unregisterAll(0, 30)
			took := r.Within(patience, "those that unregistered to go", func() bool {
				return !slices.ContainsFunc(r.ready("web"), func(at string) bool { return slices.Contains(addresses(0, 30), at) })
			})
			t.Logf("out after %s", took)
			r.Within(patience, "what can be shown", r.servesAll(test.shown...))
			r.reports(test.says)
			t.Logf("%d writes; it says %s", slicesWritten(manager), r.said())
			end()
			took = r.Within(patience, "all to be shown once nothing is refused", r.servesAll([]int{30, 70}))
			t.Logf("all were back after %s", took)
			r.reports("Synced")
		})
	}
}

// TestNothingCanBeWritten: where all is refused nothing is lost, the Service says who should be gone, and all is right afterwards.
func TestNothingCanBeWritten(t *testing.T) {
	t.Parallel()
	r := populated(t, 60)
	manager := r.startReady()
	r.Within(patience, "all endpoints", r.serves(0, 60))
	end := r.policy("false", r.existing(), admissionv1.Update, admissionv1.Create, admissionv1.Delete)
	defer end()
	r.beatAll(60, 70)
	r.unregisterAll(0, 30)
	r.reports("RemovalRefused: 30 ", testrig.Refusal)
	manager.Take()
	r.Throughout(10*time.Second, "all that there was", r.serves(0, 60))
	if n := slicesWritten(manager); n > 100 {
		t.Errorf("%d writes in 10 s", n)
	}
	end()
	took := r.Within(patience, "all to be right once nothing is refused", r.serves(30, 70))
	t.Logf("all was right after %s", took)
	r.reports("Synced")
}

// TestAServiceThatChangesKeepsItsEndpoints: where one address is refused all others get the new port, and none is away for a moment.
func TestAServiceThatChangesKeepsItsEndpoints(t *testing.T) {
	for name, refused := range map[string]int{"one that is new": 60, "one that is there": 40} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := populated(t, 60)
			r.startReady()
			r.Within(patience, "all endpoints", r.serves(0, 60))
			end := r.policy(without(address(refused)), r.slice(address(refused)), admissionv1.Create, admissionv1.Update)
			defer end()
			r.beat(60)
			others := slices.DeleteFunc(addresses(0, 60), func(at string) bool { return at == address(refused) })
			slices.Sort(others)
			patch := client.RawPatch(types.JSONPatchType, []byte(`[{"op":"replace","path":"/spec/ports/0/targetPort","value":9090}]`))
			if err := r.API.Patch(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "web"}}, patch); err != nil {
				t.Fatal(err)
			}
			r.Within(patience, "the new port of all others", func() bool {
				shown := r.ready("web")
				if lost := slices.DeleteFunc(slices.Clone(others), func(at string) bool { return slices.Contains(shown, at) }); len(lost) > 0 {
					t.Fatalf("%v are not shown for a moment", lost)
				}
				ports := map[int32]int{}
				for _, slice := range r.ours() {
					ports[*slice.Ports[0].Port] += len(slice.Endpoints)
				}
				return ports[9090] >= 59 && ports[8080] == 0
			})
			r.reports("EndpointsRefused: 1 ", address(refused))
		})
	}
}

// TestAReleaseIsRefused: a Service that takes no nodes any more says whose endpoints can't be taken out, and loses them once they can.
func TestAReleaseIsRefused(t *testing.T) {
	t.Parallel()
	r := populated(t, 3)
	r.startReady()
	r.Within(patience, "all endpoints", r.serves(0, 3))
	end := r.policy("false", r.existing(), admissionv1.Update, admissionv1.Create, admissionv1.Delete)
	defer end()
	patch := client.RawPatch(types.JSONPatchType, []byte(`[{"op":"remove","path":"/metadata/annotations"}]`))
	if err := r.API.Patch(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "web"}}, patch); err != nil {
		t.Fatal(err)
	}
	r.reports("RemovalRefused: 3 ", testrig.Refusal)
	end()
	r.Within(patience, "no slice", func() bool { return len(r.ours()) == 0 })
	r.Within(patience, "no condition", func() bool { return r.said() == "" })
}

// TestDeletesAreRefused: a slice that can't be deleted is emptied.
func TestDeletesAreRefused(t *testing.T) {
	t.Parallel()
	r := populated(t, 3)
	r.startReady()
	r.Within(patience, "all endpoints", r.serves(0, 3))
	end := r.policy("false", r.existing(), admissionv1.Delete)
	defer end()
	r.unregisterAll(0, 3)
	r.Within(patience, "all to go", r.serves(0, 0))
	r.beat(5)
	r.Within(patience, "another", r.serves(5, 6))
	r.unregister(5)
	r.Within(patience, "it to go", r.serves(0, 0))
	end()
	r.Within(patience, "the slice to go", func() bool { return len(r.ours()) == 0 })
}

// TestQuota: the room in existing slices is used, and the rest waits until there is more.
func TestQuota(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web")
	r.beatAll(0, 60)
	manager := r.startReady()
	r.Within(patience, "all endpoints", r.serves(0, 60))
	const counted = "count/endpointslices.discovery.k8s.io"
	hard := func(n int64) corev1.ResourceList {
		return corev1.ResourceList{counted: *resource.NewQuantity(n, resource.DecimalSI)}
	}
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "few"}, Spec: corev1.ResourceQuotaSpec{Hard: hard(1)}}
	r.Create(quota)
	allow := func(n int64) {
		// What kube-controller-manager would do.
		quota.Status = corev1.ResourceQuotaStatus{Hard: hard(n), Used: hard(1)}
		if err := r.API.Status().Update(t.Context(), quota); err != nil {
			t.Fatal(err)
		}
	}
	allow(1)
	r.Within(patience, "the quota to be in force", func() bool {
		err := r.API.Create(t.Context(), r.slice(address(0)), client.DryRunAll)
		return err != nil && strings.Contains(err.Error(), "exceeded quota")
	})
	manager.Take()
	r.beatAll(60, 110)
	r.Within(patience, "a slice that is full", func() bool { return len(r.ready("web")) == 100 })
	r.reports("QuotaExceeded: 10 ", "exceeded quota")
	r.unregisterAll(0, 30)
	r.Within(patience, "those to show for whom there is room by then", r.serves(30, 110))
	r.reports("Synced")
	t.Logf("%d writes", slicesWritten(manager))
	r.beatAll(110, 150)
	r.reports("QuotaExceeded: 20 ")
	if err := r.API.Get(t.Context(), client.ObjectKeyFromObject(quota), quota); err != nil {
		t.Fatal(err)
	}
	allow(5)
	r.Within(patience, "all to show", r.serves(30, 150))
	r.reports("Synced")
}

// slicesWritten returns how many writes of slices a manager tried since the last time.
func slicesWritten(m *testrig.Manager) (n int) {
	for _, write := range m.Take() {
		if strings.Contains(write, "endpointslices") {
			n++
		}
	}
	return n
}

func addresses(from, to int) (all []string) {
	for n := from; n < to; n++ {
		all = append(all, address(n))
	}
	return all
}

// label gives the Service web a label.
func (r *rig) label(name string) {
	r.Helper()
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"`+name+`":"a"}}}`))
	if err := r.API.Patch(r.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "web"}}, patch); err != nil {
		r.Fatal(err)
	}
}

// labelled returns a slice of nobody with a label.
func (r *rig) labelled(label string) *discoveryv1.EndpointSlice {
	slice := r.slice(address(60))
	slice.Labels = map[string]string{label: ""}
	return slice
}

// annotated returns a slice of nobody with an annotation.
func (r *rig) annotated(name string) *discoveryv1.EndpointSlice {
	slice := r.slice(address(60))
	slice.Annotations = map[string]string{name: ""}
	return slice
}

// ours returns the slices of the Service web.
func (r *rig) ours() []discoveryv1.EndpointSlice {
	r.Helper()
	list := &discoveryv1.EndpointSliceList{}
	if err := r.API.List(r.Context(), list, client.InNamespace(r.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: "web"}); err != nil {
		r.Fatal(err)
	}
	return list.Items
}
