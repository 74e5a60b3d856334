package mainjob

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	discoveryapply "k8s.io/client-go/applyconfigurations/discovery/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/manager"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

// window is for how long writes are counted, and fewWrites how many there may be in it: a fight has hundreds a second.
const (
	window    = 10 * time.Second
	fewWrites = 30
)

// TestTwoManagersDoNotFight: two installations over one namespace that disagree about an address end up in peace, each says who the
// other is, and neither keeps the other from taking the traffic of a node that is gone.
func TestTwoManagersDoNotFight(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web")
	r.beatAll(0, 4)
	installed := func(namespace string, denied ...string) func(*rest.Config, *manager.Options) {
		return func(_ *rest.Config, o *manager.Options) {
			o.LeaderElectionNamespace = namespace
			for _, cidr := range denied {
				o.DeniedCIDRs = append(o.DeniedCIDRs, netip.MustParsePrefix(cidr))
			}
		}
	}
	one := r.Start(installed("one", address(2)+"/32"))
	two := r.Start(installed("two", address(3)+"/32"))

	told := func(text string) bool {
		return strings.Contains(text, `"rollcall-manager/one", "rollcall-manager/two"`)
	}
	r.Within(patience, "the Service to name both", func() bool {
		return r.serviceCondition("web").Reason == rollcallv1alpha1.ReasonChangedBack && told(r.serviceCondition("web").Message)
	})
	r.Within(patience, "the NodeRegistry to name both", func() bool {
		state, message := r.Condition("catga", rollcallv1alpha1.ConditionDegraded)
		return state == "True/"+rollcallv1alpha1.ReasonChangedBack && told(message)
	})
	r.Within(patience, "an Event that names both", func() bool {
		return slices.ContainsFunc(r.events("Service"), func(e eventsv1.Event) bool { return told(e.Note) })
	})
	r.calm(one, two)

	r.unregister(0)
	r.Within(patience, "the node that is gone to lose its traffic", func() bool { return !slices.Contains(r.ready("web"), address(0)) })
	r.Throughout(3*time.Second, "it stays out", func() bool { return !slices.Contains(r.ready("web"), address(0)) })
}

// calm fails the test if the managers write slices and Services as if they fought.
func (r *rig) calm(managers ...*testrig.Manager) {
	r.Helper()
	for _, m := range managers {
		m.Take()
	}
	n, began := 0, time.Now()
	r.Within(patience, "the window to be over", func() bool {
		for _, m := range managers {
			for _, write := range m.Take() {
				if strings.Contains(write, "/endpointslices") || strings.Contains(write, "/services/") {
					n++
				}
			}
		}
		return time.Since(began) > window
	})
	r.Logf("%d writes in %s", n, window)
	if n > fewWrites {
		r.Errorf("%d writes in %s, want %d at most", n, window, fewWrites)
	}
}

// serviceCondition returns the condition of a Service; its zero value if it has none.
func (r *rig) serviceCondition(service string) metav1.Condition {
	r.Helper()
	object := &corev1.Service{}
	if err := r.API.Get(r.Context(), client.ObjectKey{Namespace: r.Namespace, Name: service}, object); err != nil {
		r.Fatal(err)
	}
	return ptr.Deref(meta.FindStatusCondition(object.Status.Conditions, rollcallv1alpha1.ConditionEndpointsSynced), metav1.Condition{})
}

// repeat does something every 20 ms, until the test ends.
func (r *rig) repeat(do func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	r.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for ; ctx.Err() == nil; <-ticker.C {
			do(ctx)
		}
	}()
}

// edit changes each slice of the namespace as soon as it is not as the editor wants it, until the test ends. An editor that deletes
// returns true.
func (r *rig) edit(edit func(*discoveryv1.EndpointSlice) (deletes bool)) {
	r.repeat(func(ctx context.Context) {
		list := &discoveryv1.EndpointSliceList{}
		if err := r.API.List(ctx, list, client.InNamespace(r.Namespace)); err != nil {
			return
		}
		for i := range list.Items {
			slice := &list.Items[i]
			before := slice.DeepCopy()
			if edit(slice) {
				_ = r.API.Delete(ctx, slice)
			} else {
				// A conflict is tried again; a patch that changes nothing is none.
				_ = r.API.Patch(ctx, slice, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), client.FieldOwner("stubborn"))
			}
		}
	})
}

// TestAnEditorThatNeverGivesUp changes what Rollcall writes as soon as it does.
func TestAnEditorThatNeverGivesUp(t *testing.T) {
	const unnamed = "its audit log does"
	tests := map[string]struct {
		edit func(*discoveryv1.EndpointSlice) bool
		says string
	}{
		"a label": {func(s *discoveryv1.EndpointSlice) bool {
			s.Labels[discoveryv1.LabelServiceName] = "other"
			return false
		}, `"rollcall-manager", "stubborn"`},
		"our label": {func(s *discoveryv1.EndpointSlice) bool {
			delete(s.Labels, discoveryv1.LabelManagedBy)
			return false
		}, unnamed},
		"the owner": {func(s *discoveryv1.EndpointSlice) bool {
			s.OwnerReferences = nil
			return false
		}, unnamed},
		"an endpoint": {func(s *discoveryv1.EndpointSlice) bool {
			s.Endpoints = slices.DeleteFunc(s.Endpoints, func(e discoveryv1.Endpoint) bool { return e.Addresses[0] == address(1) })
			return false
		}, `"rollcall-manager", "stubborn"`},
		"a node that is not there": {func(s *discoveryv1.EndpointSlice) bool {
			dead := discoveryv1.Endpoint{Addresses: []string{"10.9.9.9"}}
			if !slices.ContainsFunc(s.Endpoints, func(e discoveryv1.Endpoint) bool { return e.Addresses[0] == dead.Addresses[0] }) {
				s.Endpoints = append(s.Endpoints, dead)
			}
			return false
		}, `"rollcall-manager", "stubborn"`},
		"the whole slice": {func(*discoveryv1.EndpointSlice) bool { return true }, unnamed},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := populated(t, 3)
			m := r.startReady()
			r.Within(patience, "three endpoints", r.serves(0, 3))
			r.edit(test.edit)
			r.Within(patience, "the Service to say who does it", func() bool {
				return r.serviceCondition("web").Reason == rollcallv1alpha1.ReasonChangedBack && strings.Contains(r.serviceCondition("web").Message, test.says)
			})
			r.calm(m)
			r.unregister(0)
			r.Within(patience/4, "the node that is gone to lose its traffic", func() bool { return !slices.Contains(r.anywhere(), address(0)) })
		})
	}
}

// TestATemplateThatIsAppliedAgain: a GitOps tool applies the slice as it is in its repository, whatever Rollcall makes of it.
func TestATemplateThatIsAppliedAgain(t *testing.T) {
	t.Parallel()
	r := populated(t, 3)
	m := r.startReady()
	r.Within(patience, "three endpoints", r.serves(0, 3))
	list := &discoveryv1.EndpointSliceList{}
	if err := r.API.List(t.Context(), list, client.InNamespace(r.Namespace)); err != nil || len(list.Items) != 1 {
		t.Fatalf("%d slices, %v", len(list.Items), err)
	}
	name := list.Items[0].Name
	r.repeat(func(ctx context.Context) {
		template := discoveryapply.EndpointSlice(name, r.Namespace).
			WithAddressType(discoveryv1.AddressTypeIPv4).
			WithEndpoints(discoveryapply.Endpoint().WithAddresses(address(1)))
		_ = r.API.Apply(ctx, template, client.ForceOwnership, client.FieldOwner("gitops"))
	})
	r.Within(patience, "the Service to say who does it", func() bool {
		c := r.serviceCondition("web")
		return c.Reason == rollcallv1alpha1.ReasonChangedBack && strings.Contains(c.Message, `"gitops", "rollcall-manager"`)
	})
	r.calm(m)
	r.unregister(1)
	r.Within(patience/4, "the node that is gone to lose its traffic", func() bool { return !slices.Contains(r.ready("web"), address(1)) })
}

// anywhere returns the addresses of the ready endpoints of all slices, whatever labels they have.
func (r *rig) anywhere() (addresses []string) {
	r.Helper()
	list := &discoveryv1.EndpointSliceList{}
	if err := r.API.List(r.Context(), list, client.InNamespace(r.Namespace)); err != nil {
		r.Fatal(err)
	}
	for _, slice := range list.Items {
		for _, endpoint := range slice.Endpoints {
			if ptr.Deref(endpoint.Conditions.Ready, true) {
				addresses = append(addresses, endpoint.Addresses...)
			}
		}
	}
	return addresses
}

// mutate has the API server's admission set a label of each slice of the namespace, from now on.
func (r *rig) mutate(label, value string) {
	r.Helper()
	labels := fmt.Sprintf(`[JSONPatch{op: "add", path: "/metadata/labels/%s", value: %q}]`, label, value)
	policy := &admissionv1.MutatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: r.Namespace},
		Spec: admissionv1.MutatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: r.Namespace}},
				ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
					Rule:       admissionv1.Rule{APIGroups: []string{discoveryv1.GroupName}, APIVersions: []string{"*"}, Resources: []string{"endpointslices"}},
				}}},
			},
			ReinvocationPolicy: admissionv1.NeverReinvocationPolicy,
			Mutations: []admissionv1.Mutation{{
				PatchType: admissionv1.PatchTypeJSONPatch, JSONPatch: &admissionv1.JSONPatch{Expression: labels},
			}},
		},
	}
	binding := &admissionv1.MutatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: r.Namespace},
		Spec:       admissionv1.MutatingAdmissionPolicyBindingSpec{PolicyName: r.Namespace},
	}
	for _, object := range []client.Object{policy, binding} {
		r.Create(object)
		r.Cleanup(func() { _ = r.API.Delete(context.Background(), object) })
	}
	r.Within(patience, "the policy to be in force", func() bool {
		probe := &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Namespace: r.Namespace, Name: "probe", Labels: map[string]string{"a": "b"}},
			AddressType: discoveryv1.AddressTypeIPv4,
		}
		err := r.API.Create(r.Context(), probe, client.DryRunAll)
		if err != nil && !apierrors.IsInvalid(err) {
			r.Fatal(err)
		}
		return probe.Labels[label] == value
	})
}

// TestALabellingPolicyCostsNothing: what admission adds to a slice is none of Rollcall's business.
func TestALabellingPolicyCostsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web")
	r.mutate("policy", "theirs")
	m := r.startReady()
	r.beatAll(0, 3)
	r.Within(patience, "three endpoints", r.serves(0, 3))
	m.Quiet(patience)
	r.unregister(0)
	r.Within(patience, "two endpoints", r.serves(1, 3))
	m.Quiet(patience)
	if c := r.serviceCondition("web"); c.Status != metav1.ConditionTrue {
		t.Errorf("the Service says %s: %s", c.Reason, c.Message)
	}
	m.Stop()
	again := r.startReady()
	r.Throughout(3*time.Second, "no write of a slice", func() bool {
		return !slices.ContainsFunc(again.Take(), func(write string) bool { return strings.Contains(write, "/endpointslices") })
	})
	r.beat(3)
	r.Within(patience, "three endpoints", r.serves(1, 4))
}

// TestAnAdmissionThatChangesOurs: admission changes each write, and nobody else is to be found.
func TestAnAdmissionThatChangesOurs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web", func(s *corev1.Service) { s.Labels = map[string]string{"team": "ours"} })
	r.mutate("team", "theirs")
	m := r.startReady()
	r.beatAll(0, 3)
	r.Within(patience, "three endpoints", r.serves(0, 3))
	r.Within(patience, "the Service to say what does it", func() bool {
		c := r.serviceCondition("web")
		return c.Reason == rollcallv1alpha1.ReasonChangedBack && strings.Contains(c.Message, "API server's admission changes")
	})
	r.calm(m)
	r.unregister(0)
	r.Within(patience/4, "two endpoints", r.serves(1, 3))
}
