package faults

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

func faultsOfViews() []fault {
	return []fault{
		{name: "DiscoveredNodes labelled by a policy and by hand", run: func(r *rig) { labelNodes(r, times(3, 30)) }},
		{name: "some DiscoveredNodes refused for a while", long: true, run: func(r *rig) { refuseNodes(r, 5, "request.name.endsWith('3')") }},
		{name: "all DiscoveredNodes refused for a while", run: func(r *rig) { refuseNodes(r, times(1, 5), "true") }},
		{name: "an editor of the DiscoveredNodes that never gives up", long: true, run: func(r *rig) { editNodesForever(r, 60) }},
	}
}

// nodeWrites selects the writes of DiscoveredNodes in the rig's namespace.
func (r *rig) nodeWrites() *admissionv1.MatchResources {
	return &admissionv1.MatchResources{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": r.namespace}},
		ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update, admissionv1.Delete},
			Rule:       admissionv1.Rule{APIGroups: []string{rollcallv1alpha1.GroupVersion.Group}, APIVersions: []string{"*"}, Resources: []string{"discoverednodes"}},
		}}},
	}
}

// admits puts a policy in force, which ends with the test or with the function that it returns. holds says of the answer to a create of
// a DiscoveredNode whether it is in force.
func (r *rig) admits(holds func(*rollcallv1alpha1.DiscoveredNode, error) bool, objects ...client.Object) (end func()) {
	r.Helper()
	for _, object := range objects {
		must(r, r.api.Create(r.Context(), object))
	}
	end = func() {
		for _, object := range objects {
			must(r, client.IgnoreNotFound(r.api.Delete(context.WithoutCancel(r.Context()), object)))
		}
	}
	r.Cleanup(end)
	poll(r.T, patience, "the policy to be in force", func() bool {
		dn := &rollcallv1alpha1.DiscoveredNode{
			ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: "none.3", Labels: map[string]string{"a": "b"}},
			Spec:       rollcallv1alpha1.DiscoveredNodeSpec{RegistryName: "none", Key: "node.3", NodeID: "3"},
		}
		return holds(dn, r.api.Create(r.Context(), dn, client.DryRunAll))
	})
	return end
}

// labelNodes has a policy label every DiscoveredNode, and a person some. Neither label may go.
func labelNodes(r *rig, seconds int) {
	r.set(usual())
	name := metav1.ObjectMeta{Name: "label-" + r.namespace}
	matched := r.nodeWrites()
	matched.ResourceRules[0].Operations = []admissionv1.OperationType{admissionv1.Create, admissionv1.Update}
	r.admits(func(dn *rollcallv1alpha1.DiscoveredNode, err error) bool {
		return err == nil && dn.Labels["team"] == "a"
	},
		&admissionv1.MutatingAdmissionPolicy{ObjectMeta: name, Spec: admissionv1.MutatingAdmissionPolicySpec{
			MatchConstraints: matched, ReinvocationPolicy: admissionv1.NeverReinvocationPolicy,
			Mutations: []admissionv1.Mutation{{PatchType: admissionv1.PatchTypeJSONPatch, JSONPatch: &admissionv1.JSONPatch{
				Expression: `[JSONPatch{op: "add", path: "/metadata/labels/team", value: "a"}]`,
			}}},
		}},
		&admissionv1.MutatingAdmissionPolicyBinding{ObjectMeta: name, Spec: admissionv1.MutatingAdmissionPolicyBindingSpec{PolicyName: name.Name}})
	stop := r.fleet.churn(busy)
	labelled := map[types.UID]string{}
	for range seconds {
		r.row.tried++
		dn, err := r.anyNode()
		if err == nil {
			err = r.api.Patch(r.Context(), dn, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"by":"hand"}}}`)))
		}
		if err == nil { // It may just have gone.
			labelled[dn.UID] = dn.Name
		}
		pass(time.Second)
	}
	stop()
	r.judge()
	list := &rollcallv1alpha1.DiscoveredNodeList{}
	must(r, r.api.List(r.Context(), list, client.InNamespace(r.namespace)))
	for _, dn := range list.Items {
		if _, is := labelled[dn.UID]; is && (dn.Labels["by"] != "hand" || dn.Labels["team"] != "a") {
			r.Errorf("%s has the labels %v", dn.Name, dn.Labels)
		}
	}
}

// refuseNodes has a policy refuse all writes of DiscoveredNodes for which the expression holds, again and again. Endpoints may not notice, and
// the NodeRegistry has to say so for as long as it lasts.
func refuseNodes(r *rig, n int, expression string) {
	r.set(usual())
	stop := r.fleet.churn(busy)
	name := metav1.ObjectMeta{Name: "refuse-" + r.namespace}
	for range n {
		r.row.tried++
		// A kind that was refused for so long is probed after as much again.
		w := r.broken(window{settle: 20*time.Second + allowance(), nodesOnly: true})
		end := r.admits(func(_ *rollcallv1alpha1.DiscoveredNode, err error) bool { return err != nil },
			&admissionv1.ValidatingAdmissionPolicy{ObjectMeta: name, Spec: admissionv1.ValidatingAdmissionPolicySpec{
				MatchConstraints: r.nodeWrites(),
				Validations:      []admissionv1.Validation{{Expression: "!(" + expression + ")", Message: "no more nodes"}},
			}},
			&admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: name, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
				PolicyName: name.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
			}})
		r.degrades(rollcallv1alpha1.ReasonViewsRefused)
		pass(5 * time.Second)
		end()
		r.mended(w, time.Now())
		r.degrades(rollcallv1alpha1.ReasonAsExpected)
	}
	stop()
	r.judge()
}

// degrades waits until the condition Degraded of the NodeRegistry has that reason.
func (r *rig) degrades(reason string) {
	r.Helper()
	poll(r.T, patience, "the registry to say "+reason, func() bool {
		registry := &rollcallv1alpha1.NodeRegistry{}
		must(r, r.api.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: registryName}, registry))
		c := meta.FindStatusCondition(registry.Status.Conditions, rollcallv1alpha1.ConditionDegraded)
		return c != nil && c.Reason == reason
	})
}

// editNodesForever lets somebody take a label of Rollcall's from each DiscoveredNode as soon as it is put back. What becomes of the nodes may
// not be late for that, and the NodeRegistry has to name who does it.
func editNodesForever(r *rig, seconds int) {
	r.set(usual())
	editing, stopEditing := context.WithCancel(r.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for editing.Err() == nil {
			list := &rollcallv1alpha1.DiscoveredNodeList{}
			_ = r.api.List(editing, list, client.InNamespace(r.namespace))
			for i := range list.Items {
				if list.Items[i].Labels["role"] == "web" {
					// It may be gone, or is tried again.
					_ = r.api.Patch(editing, &list.Items[i], client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"role":"db"}}}`)), client.FieldOwner("argocd"))
				}
			}
			pass(20 * time.Millisecond)
		}
	})
	defer done.Wait()
	defer stopEditing()
	stop := r.fleet.churn(busy)
	for range seconds {
		r.row.tried++
		pass(time.Second)
	}
	r.degrades(rollcallv1alpha1.ReasonViewsDisputed)
	registry := &rollcallv1alpha1.NodeRegistry{}
	must(r, r.api.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: registryName}, registry))
	if c := meta.FindStatusCondition(registry.Status.Conditions, rollcallv1alpha1.ConditionDegraded); !strings.Contains(c.Message, fmt.Sprintf("%q", "argocd")) {
		r.Errorf("the registry says %q", c.Message)
	}
	stop()
	r.judge()
}
