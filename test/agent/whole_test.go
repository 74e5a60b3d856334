package agent

import (
	"slices"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

// From an agent's process to the EndpointSlice of a Service, and back.
func TestAnAgentBecomesAnEndpoint(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Minute)
	cluster := testrig.New(t, env)
	cluster.Create(&rollcallv1alpha1.NodeRegistry{
		ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: "catga"},
		Spec: rollcallv1alpha1.NodeRegistrySpec{
			Connection: rollcallv1alpha1.Connection{Servers: []string{r.nats.URL()}}, Labels: map[string]string{"role": "role"},
		},
	})
	cluster.Create(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: "web", Annotations: map[string]string{
			rollcallv1alpha1.AnnotationNodeSelector: "rollcall.dev/registry=catga,role=web",
		}},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}}},
	})
	cluster.Start()
	endpoints := func() (addresses []string) {
		list := &discoveryv1.EndpointSliceList{}
		if err := cluster.API.List(t.Context(), list, client.InNamespace(cluster.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: "web"}); err != nil {
			t.Fatal(err)
		}
		for _, slice := range list.Items {
			for _, endpoint := range slice.Endpoints {
				addresses = append(addresses, endpoint.Addresses...)
			}
		}
		return addresses
	}
	agent := r.agent("--metadata", "role=web")
	took := cluster.Within(patience, "the node to be an endpoint", func() bool { return slices.Equal(endpoints(), []string{"10.1.0.1"}) })
	t.Logf("from the start of the process to the EndpointSlice: %s", took)
	node := &rollcallv1alpha1.DiscoveredNode{}
	cluster.Within(patience, "the DiscoveredNode", func() bool {
		return cluster.API.Get(t.Context(), client.ObjectKey{Namespace: cluster.Namespace, Name: "catga.web-1"}, node) == nil
	})
	if origin := node.Labels[rollcallv1alpha1.LabelOrigin]; origin != rollcallv1alpha1.OriginExternal {
		t.Errorf("its origin is %q", origin)
	}
	agent.signal(syscall.SIGTERM)
	agent.ends(0)
	cluster.Within(patience, "the endpoint to be gone", func() bool { return len(endpoints()) == 0 })
}
