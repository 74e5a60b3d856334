package v1alpha1_test

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	applyv1alpha1 "github.com/rollcall-dev/rollcall/applyconfiguration/api/v1alpha1"
)

// TestCordonByApply: another controller owns spec.cordoned and nothing else, whatever Rollcall writes beside it.
func TestCordonByApply(t *testing.T) {
	rollcall := newStandIn(t.Context())
	rollcall.join()
	const owner = client.FieldOwner("maintenance")
	name, namespace := rollcall.node.Name, rollcall.namespace
	read := func() *rollcallv1alpha1.DiscoveredNode {
		t.Helper()
		if err := rollcall.Get(t.Context(), client.ObjectKeyFromObject(rollcall.node), rollcall.node); err != nil {
			t.Fatal(err)
		}
		return rollcall.node
	}

	// Apply fills in what the API server answers, so each needs a configuration of its own.
	cordon := func() *applyv1alpha1.DiscoveredNodeApplyConfiguration {
		return applyv1alpha1.DiscoveredNode(name, namespace).WithSpec(applyv1alpha1.DiscoveredNodeSpec().WithCordoned(true))
	}
	if err := rollcall.Apply(t.Context(), cordon(), owner); err != nil {
		t.Fatal(err)
	}
	read()
	rollcall.beat("0.5")
	if node := read(); !node.Spec.Cordoned || node.Status.Load != "0.5" || node.Spec.Key != "node.web-1" {
		t.Errorf("after a cordon and a heartbeat the node is %+v", node)
	}
	owned, err := applyv1alpha1.ExtractDiscoveredNode(read(), string(owner))
	if err != nil {
		t.Fatal(err)
	}
	if owned.Spec == nil || owned.Spec.Cordoned == nil || !*owned.Spec.Cordoned || owned.Spec.Key != nil || owned.Status != nil {
		t.Errorf("the other controller owns %+v", owned.Spec)
	}

	if err := rollcall.Apply(t.Context(), applyv1alpha1.DiscoveredNode(name, namespace), owner); err != nil {
		t.Fatal(err)
	}
	if read().Spec.Cordoned {
		t.Error("the node is still cordoned")
	}

	// A node that is gone is not brought back by a cordon that comes late.
	rollcall.leave()
	if err := rollcall.Apply(t.Context(), cordon(), owner); !apierrors.IsInvalid(err) {
		t.Errorf("to cordon a node that is gone ended with %v", err)
	}
}

func TestRegistryByApply(t *testing.T) {
	rollcall := newStandIn(t.Context())
	registry := applyv1alpha1.NodeRegistry("catga", rollcall.namespace).WithSpec(applyv1alpha1.NodeRegistrySpec().
		WithConnection(applyv1alpha1.Connection().WithServers("nats://nats.nats:4222")).
		WithLabels(map[string]string{"role": "role"}))
	if err := rollcall.Apply(t.Context(), registry, client.FieldOwner("installer")); err != nil {
		t.Fatal(err)
	}
	got := &rollcallv1alpha1.NodeRegistry{}
	if err := rollcall.Get(t.Context(), client.ObjectKey{Namespace: rollcall.namespace, Name: "catga"}, got); err != nil {
		t.Fatal(err)
	}
	if got.Spec.Connection.Servers[0] != "nats://nats.nats:4222" || got.Spec.Bucket.Name != "catga_nodes" {
		t.Errorf("the spec is %+v", got.Spec)
	}
}
