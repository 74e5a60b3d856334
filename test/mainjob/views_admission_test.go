package mainjob

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// nodesIn selects the requests about the DiscoveredNodes of the rig's namespace.
func (r *rig) nodesIn(operations ...admissionv1.OperationType) *admissionv1.MatchResources {
	return &admissionv1.MatchResources{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": r.Namespace}},
		ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: operations,
			Rule:       admissionv1.Rule{APIGroups: []string{rollcallv1alpha1.GroupVersion.Group}, APIVersions: []string{"*"}, Resources: []string{"discoverednodes"}},
		}}},
	}
}

// labelling puts a mutating policy in force that adds a label to every DiscoveredNode of the namespace, and returns a function that ends it.
func (r *rig) labelling(label, value string) (end func()) {
	r.Helper()
	meta := metav1.ObjectMeta{Name: "label-" + r.Namespace}
	policy := &admissionv1.MutatingAdmissionPolicy{ObjectMeta: meta, Spec: admissionv1.MutatingAdmissionPolicySpec{
		MatchConstraints:   r.nodesIn(admissionv1.Create, admissionv1.Update),
		ReinvocationPolicy: admissionv1.NeverReinvocationPolicy,
		Mutations: []admissionv1.Mutation{{
			PatchType: admissionv1.PatchTypeJSONPatch,
			JSONPatch: &admissionv1.JSONPatch{Expression: `[JSONPatch{op: "add", path: "/metadata/labels/` + label + `", value: "` + value + `"}]`},
		}},
	}}
	binding := &admissionv1.MutatingAdmissionPolicyBinding{ObjectMeta: meta, Spec: admissionv1.MutatingAdmissionPolicyBindingSpec{PolicyName: meta.Name}}
	end = r.inForce(policy, binding)
	r.Within(patience, "the policy to be in force", func() bool {
		dn := r.sample()
		return r.dryRun(dn) == nil && dn.Labels[label] == value
	})
	return end
}

// refusing puts a policy in force by which an operation on a DiscoveredNode of the namespace is taken only if the CEL expression says so,
// and returns a function that ends it.
func (r *rig) refusing(operation admissionv1.OperationType, expression, message string) (end func()) {
	r.Helper()
	meta := metav1.ObjectMeta{Name: "refuse-" + r.Namespace}

	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: meta, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: r.nodesIn(operation, admissionv1.Create),
		// That the sample is refused tells that the policy is in force.
		Validations: []admissionv1.Validation{{Message: message, Expression: fmt.Sprintf(
			"request.name != %q && (request.operation != %q || (%s))", r.sample().Name, operation, expression)}},
	}}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: meta, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: meta.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}}
	end = r.inForce(policy, binding)
	r.Within(patience, "the policy to be in force", func() bool { return r.dryRun(r.sample()) != nil })
	return end
}

// sample is a DiscoveredNode of a registry that there is not.
func (r *rig) sample() *rollcallv1alpha1.DiscoveredNode {
	return &rollcallv1alpha1.DiscoveredNode{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "none.sample", Labels: map[string]string{"a": "b"}},
		Spec:       rollcallv1alpha1.DiscoveredNodeSpec{RegistryName: "none", Key: "node.sample", NodeID: "sample"},
	}
}

func (r *rig) dryRun(dn *rollcallv1alpha1.DiscoveredNode) error {
	return r.API.Create(r.Context(), dn, client.DryRunAll)
}

// inForce creates the objects of a policy, which end with the test or with the function that it returns.
func (r *rig) inForce(objects ...client.Object) (end func()) {
	r.Helper()
	for _, object := range objects {
		r.Create(object)
	}
	end = func() {
		var errs []error
		for _, object := range objects {
			errs = append(errs, client.IgnoreNotFound(r.API.Delete(context.WithoutCancel(r.Context()), object)))
		}
		if err := errors.Join(errs...); err != nil {
			r.Error(err)
		}
	}
	r.Cleanup(end)
	return end
}

// A policy that labels every object costs no write, and its label selects no node, not even after a restart.
func TestALabellingPolicy(t *testing.T) {
	const count = 300
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.StatusInterval = seconds(1) })
	r.service("web")
	r.service("platform", func(s *corev1.Service) { s.Annotations[rollcallv1alpha1.AnnotationNodeSelector] = "team=platform" })
	m := r.startReady()
	r.beatAll(0, count)
	r.Within(patience, "all nodes", func() bool { return len(r.nodes()) == count })
	m.Quiet(patience)
	r.labelling("team", "platform")
	r.annotateAll()
	m.Quiet(patience)
	r.wantLabels(count, "team", "platform")

	// They stay through what Rollcall itself has to write.
	r.relabel(`{"zone":"zone"}`)
	r.Within(patience, "the label that is no longer of the registry to go", func() bool {
		return !slices.ContainsFunc(r.nodes(), func(dn rollcallv1alpha1.DiscoveredNode) bool { return dn.Labels["role"] != "" })
	})
	r.relabel(`{"role":"role"}`)
	r.Within(patience, "all endpoints", r.serves(0, count))
	m.Quiet(patience)
	r.wantLabels(count, "team", "platform")
	r.wantLabels(count, "role", "web")
	for _, dn := range r.nodes() {
		if dn.Annotations["mine"] != "stays" || len(dn.OwnerReferences) != 2 || len(dn.Finalizers) != 1 {
			t.Fatalf("%s has %v, %v and %v", dn.Name, dn.Annotations, dn.OwnerReferences, dn.Finalizers)
		}
	}
	m.Stop()
	m = r.startReady()
	m.Quiet(patience)
	r.wantLabels(count, "team", "platform")
	if got := r.ready("platform"); len(got) > 0 {
		t.Errorf("a label of somebody else selects %d nodes", len(got))
	}
}

// annotateAll has somebody write to every DiscoveredNode: an annotation, an owner reference and a finalizer.
func (r *rig) annotateAll() {
	r.Helper()
	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "owner"}}
	r.Create(owner)
	for _, dn := range r.nodes() {
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"mine":"stays"},"finalizers":["example.com/mine"],"ownerReferences":[
			{"apiVersion":"v1","kind":"ConfigMap","name":"owner","uid":%q,"controller":false},
			{"apiVersion":%q,"kind":"NodeRegistry","name":"catga","uid":%q,"controller":true}]}}`,
			owner.UID, rollcallv1alpha1.GroupVersion.String(), dn.OwnerReferences[0].UID)
		if err := r.API.Patch(r.Context(), &dn, client.RawPatch(types.MergePatchType, patch)); err != nil {
			r.Fatal(err)
		}
	}
}

// relabel edits spec.labels of the NodeRegistry catga.
func (r *rig) relabel(labels string) {
	r.Helper()
	registry := &rollcallv1alpha1.NodeRegistry{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "catga"}}
	for _, patch := range []string{`{"spec":{"labels":null}}`, `{"spec":{"labels":` + labels + `}}`} {
		if err := r.API.Patch(r.Context(), registry, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
			r.Fatal(err)
		}
	}
}

func (r *rig) wantLabels(count int, label, value string) {
	r.Helper()
	labelled := 0
	for _, dn := range r.nodes() {
		if dn.Labels[label] == value {
			labelled++
		}
	}
	if labelled != count {
		r.Errorf("%d nodes have the label %s=%s, want %d", labelled, label, value, count)
	}
}

// What an admission policy makes of what Rollcall writes is said, and not written against; nodes are selected by what their records say.
func TestAPolicyThatChangesNodes(t *testing.T) {
	const count = 20
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry()
	r.service("web")
	m := r.startReady()
	r.move(0, count, "a")
	r.Within(patience, "all nodes", func() bool { return r.inZone("a") == count })
	end := r.labelling("role", "forced")
	r.move(0, count, "b")
	r.Within(patience, "all nodes to move", func() bool { return r.inZone("b") == count })
	r.saysOfViews(rollcallv1alpha1.ReasonViewsDisputed, "an admission policy or webhook changes", fmt.Sprintf("%d DiscoveredNodes", count))
	m.Quiet(patience)
	m.Stop()
	m = r.startReady()
	m.Quiet(patience)
	r.wantLabels(count, "role", "forced")
	if !r.serves(0, count)() {
		t.Errorf("%d endpoints are ready", len(r.ready("web")))
	}
	end()
	r.Within(patience, "the policy to end", func() bool {
		dn := r.sample()
		return r.dryRun(dn) == nil && dn.Labels["role"] == ""
	})
	r.move(0, count, "c")
	r.Within(patience, "the labels to be back", func() bool {
		return !slices.ContainsFunc(r.nodes(), func(dn rollcallv1alpha1.DiscoveredNode) bool { return dn.Labels["role"] != "web" })
	})
	r.Within(patience, "the registry to say so", func() bool { return r.condition("Degraded") == "False/AsExpected" })
}
