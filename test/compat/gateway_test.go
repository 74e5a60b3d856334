package compat

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/provider/kubernetes/gateway"
	"github.com/traefik/traefik/v3/pkg/safe"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// installGatewayAPI installs the custom resources of Gateway API, of the version that go.mod pins.
func (r *rig) installGatewayAPI() {
	r.Helper()
	folder, err := exec.CommandContext(r.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		r.Fatal(err)
	}
	paths := []string{filepath.Join(strings.TrimSpace(string(folder)), "config", "crd", "standard")}
	if _, err := envtest.InstallCRDs(env.Config, envtest.CRDInstallOptions{Paths: paths, ErrorIfPathMissing: true}); err != nil {
		r.Fatal(err)
	}
	if err := gatewayv1.Install(r.API.Scheme()); err != nil {
		r.Fatal(err)
	}
}

// The Services of the conformance case HTTPRouteServiceTypes that have no selector, and EndpointSlices that somebody else writes.
const (
	manual         = "manual-endpointslices"
	headlessManual = "headless-manual-endpointslices"
)

// route creates a Gateway, and the HTTPRoute of the case.
func (r *rig) route() {
	r.Helper()
	r.Create(&gatewayv1.GatewayClass{
		ObjectMeta: metav1.ObjectMeta{Name: r.Namespace}, // The name of no other test's.
		Spec:       gatewayv1.GatewayClassSpec{ControllerName: "traefik.io/gateway-controller"},
	})
	r.Create(&gatewayv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "same-namespace"},
		Spec: gatewayv1.GatewaySpec{
			GatewayClassName: gatewayv1.ObjectName(r.Namespace),
			Listeners:        []gatewayv1.Listener{{Name: "http", Port: 80, Protocol: gatewayv1.HTTPProtocolType}},
		},
	})
	route := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "service-types"}}
	route.Spec.ParentRefs = []gatewayv1.ParentReference{{Name: "same-namespace"}}
	for _, service := range []string{manual, headlessManual} {
		backend := gatewayv1.HTTPBackendRef{}
		backend.Name, backend.Port = gatewayv1.ObjectName(service), new(gatewayv1.PortNumber(8080))
		route.Spec.Rules = append(route.Spec.Rules, gatewayv1.HTTPRouteRule{
			Matches:     []gatewayv1.HTTPRouteMatch{{Path: &gatewayv1.HTTPPathMatch{Type: new(gatewayv1.PathMatchExact), Value: new("/" + service)}}},
			BackendRefs: []gatewayv1.HTTPBackendRef{backend},
		})
	}
	r.Create(route)
}

// accepted returns true if the route's conditions are those that the conformance case asks for.
func (r *rig) accepted() bool {
	r.Helper()
	route := &gatewayv1.HTTPRoute{}
	if err := r.API.Get(r.Context(), client.ObjectKey{Namespace: r.Namespace, Name: "service-types"}, route); err != nil {
		r.Fatal(err)
	}
	met := map[string]bool{}
	for _, parent := range route.Status.Parents {
		for _, c := range parent.Conditions {
			met[c.Type] = c.Status == metav1.ConditionTrue
		}
	}
	return met[string(gatewayv1.RouteConditionAccepted)] && met[string(gatewayv1.RouteConditionResolvedRefs)]
}

// servers returns where a configuration of Traefik sends the requests for a Service.
func servers(conf *dynamic.Configuration, service string) []string {
	var all []string
	for name, s := range conf.HTTP.Services {
		if s.LoadBalancer == nil || !strings.Contains(name, "-"+service) || service == manual && strings.Contains(name, headlessManual) {
			continue
		}
		for _, server := range s.LoadBalancer.Servers {
			all = append(all, server.URL)
		}
	}
	slices.Sort(all)
	return all
}

// TestGatewayAPI is the case HTTPRouteServiceTypes of Gateway API's conformance tests, for the Services whose EndpointSlices are
// written by somebody else: here by the manager. The implementation is Traefik's, without its data plane.
func TestGatewayAPI(t *testing.T) {
	r := newRig(t)
	r.installGatewayAPI()
	t.Setenv("KUBECONFIG", r.kubeconfig())
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	port := func(s *corev1.Service) {
		s.Spec.Ports = []corev1.ServicePort{{Name: "first-port", Port: 8080, TargetPort: intstr.FromInt32(3000)}}
	}
	r.service(manual, port)
	r.service(headlessManual, port, headless)
	r.route()

	provider := &gateway.Provider{EntryPoints: map[string]gateway.Entrypoint{"web": {Address: ":80"}}, Namespaces: []string{r.Namespace}}
	provider.SetDefaults()
	if err := provider.Init(); err != nil {
		t.Fatal(err)
	}
	configurations, pool := make(chan dynamic.Message, 1000), safe.NewPool(t.Context())
	t.Cleanup(pool.Stop)
	if err := provider.Provide(configurations, pool); err != nil {
		t.Fatal(err)
	}
	want := []string{"http://10.1.0.1:3000", "http://10.1.0.2:3000"}
	last := &dynamic.Configuration{HTTP: &dynamic.HTTPConfiguration{}}
	r.Within(patience, "Traefik to send requests to the ready nodes of both Services", func() bool {
		select {
		case message := <-configurations:
			last = message.Configuration
		default:
		}
		return slices.Equal(servers(last, manual), want) && slices.Equal(servers(last, headlessManual), want)
	})
	r.Within(patience, "the route to be accepted and resolved", r.accepted)
}
