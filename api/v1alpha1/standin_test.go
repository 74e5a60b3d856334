package v1alpha1_test

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// standIn writes one DiscoveredNode in a namespace of its own, as Rollcall would. Whatever goes wrong ends the test.
type standIn struct {
	client.Client
	ctx       context.Context
	namespace string
	node      *rollcallv1alpha1.DiscoveredNode
}

func newStandIn(ctx context.Context) *standIn {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, rollcallv1alpha1.AddToScheme} {
		check(add(scheme))
	}
	c, err := client.New(env.Config, client.Options{Scheme: scheme, FieldOwner: rollcallv1alpha1.FieldOwner})
	check(err)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "example-"}}
	check(c.Create(ctx, namespace))
	return &standIn{Client: c, ctx: ctx, namespace: namespace.Name}
}

func (s *standIn) join() {
	s.node = &rollcallv1alpha1.DiscoveredNode{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "catga.web-1"},
		Spec: rollcallv1alpha1.DiscoveredNodeSpec{
			RegistryName: "catga", Key: "node.web-1", NodeID: "web-1",
			Addresses: []string{"10.0.0.5"},
			Ports:     []rollcallv1alpha1.NodePort{{Name: "http", Port: 8080, Protocol: "TCP"}},
		},
		Status: rollcallv1alpha1.DiscoveredNodeStatus{Phase: rollcallv1alpha1.NodeReady},
	}
	check(s.Create(s.ctx, s.node))
}

func (s *standIn) beat(load string) {
	s.node.Status.Load = load
	check(s.Update(s.ctx, s.node))
}

func (s *standIn) phase(phase rollcallv1alpha1.NodePhase) {
	s.node.Status.Phase = phase
	check(s.Update(s.ctx, s.node))
}

func (s *standIn) leave() { check(s.Delete(s.ctx, s.node)) }
