package chart

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// namespaced are values for two namespaces, with no right to anything outside of them.
const namespaced = "{namespaces: [fleet, other], clusterName: edge-1}"

// everything turns on whatever is off by default.
const everything = `
imagePullSecrets: [{name: registry}]
clusterName: edge-1
deniedCIDRs: [10.96.0.0/12]
allowedServers: ["*.nats.example.com", 10.1.0.0/16]
metrics: {certificateSecret: metrics-tls, serviceMonitor: {enabled: true, labels: {prometheus: main}}}
networkPolicy:
  metricsFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
  egress: [{ports: [{port: 4222}]}]
nodeSelector: {kubernetes.io/arch: amd64}
tolerations: [{key: control, operator: Exists}]
affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: rack, labelSelector: {matchLabels: {app: x}}}}]}}
extraArgs: [--zap-stacktrace-level=panic]
extraEnv: [{name: GOMEMLIMIT, value: 400MiB}]
commonLabels: {example.com/team: fleet}
commonAnnotations: {example.com/contact: fleet}
podLabels: {example.com/part: manager}
podAnnotations: {example.com/note: none}
embeddedNATS: {enabled: true, service: {type: NodePort, nodePort: 30422}, persistence: {storageClassName: fast}}
`

// TestServerTakesTheManifests: a real API server would take every object, knows every field, and warns of nothing, in a
// namespace that the Pod Security Standard "restricted" holds for; so it does the pods.
func TestServerTakesTheManifests(t *testing.T) {
	for name, manifests := range map[string]objects{
		"defaults": render(t), "namespaced": render(t, namespaced), "everything": render(t, everything), "kustomize": parse(t, kustomize(t)),
	} {
		t.Run(name, func(t *testing.T) {
			warnings := &warnings{}
			config := rest.CopyConfig(env.Config)
			config.WarningHandler = warnings
			api, err := client.New(config, client.Options{})
			if err != nil {
				t.Fatal(err)
			}
			need(t, api, namespace, "fleet", "other")
			needServiceMonitors(t, api)
			for _, key := range slices.Sorted(maps.Keys(manifests)) {
				dryRun(t, api, manifests[key])
				if pod := podOf(manifests[key]); pod != nil {
					dryRun(t, api, pod)
				}
			}
			if len(warnings.all) > 0 {
				t.Errorf("the API server warns:\n%s", strings.Join(warnings.all, "\n"))
			}
		})
	}
}

// TestAPodThatIsNotRestrictedIsRefused: the namespace of TestServerTakesTheManifests can refuse.
func TestAPodThatIsNotRestrictedIsRefused(t *testing.T) {
	api, err := client.New(env.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	need(t, api, namespace)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "root", Namespace: namespace},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "root", Image: "rollcall"}}},
	}
	if err := api.Create(t.Context(), pod, client.DryRunAll); !apierrors.IsForbidden(err) {
		t.Errorf("got %v", err)
	}
}

// TestNamespacedNeedsNoClusterRole: with namespaces, nothing reaches beyond them but the CRDs, and the roles grant what has
// a namespace only.
func TestNamespacedNeedsNoClusterRole(t *testing.T) {
	resources, err := discovery.NewDiscoveryClientForConfigOrDie(env.Config).ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	scoped := map[string]bool{}
	for _, list := range resources {
		group, _, found := strings.Cut(list.GroupVersion, "/")
		if !found {
			group = ""
		}
		for _, r := range list.APIResources {
			scoped[group+"/"+r.Name] = r.Namespaced
		}
	}
	rendered := render(t, namespaced)
	for _, o := range rendered.only("CustomResourceDefinition") {
		plural, group, _ := strings.Cut(o.GetName(), ".")
		scope, _, _ := unstructured.NestedString(o.Object, "spec", "scope")
		scoped[group+"/"+plural] = scope == "Namespaced"
	}
	roles := 0
	for name, o := range rendered {
		if o.GetNamespace() == "" && o.GetKind() != "CustomResourceDefinition" {
			t.Errorf("%s has no namespace", name)
		}
		if o.GetKind() != "Role" {
			continue
		}
		roles++
		role := &rbacv1.Role{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, role); err != nil {
			t.Fatal(err)
		}
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				resource, _, _ = strings.Cut(resource, "/")
				if !scoped[rule.APIGroups[0]+"/"+resource] {
					t.Errorf("%s grants %s, which has no namespace", name, resource)
				}
			}
		}
	}
	if roles != 3 {
		t.Errorf("%d roles; want one for each namespace, and the leader election's", roles)
	}
}

// podOf returns the pod that a Deployment or a StatefulSet would make, or nil.
func podOf(o *unstructured.Unstructured) *unstructured.Unstructured {
	template, found, _ := unstructured.NestedMap(o.Object, "spec", "template")
	if !found {
		return nil
	}
	pod := &unstructured.Unstructured{Object: template}
	pod.SetAPIVersion("v1")
	pod.SetKind("Pod")
	pod.SetName("of-" + o.GetName())
	pod.SetNamespace(namespace)
	volumes, _, _ := unstructured.NestedSlice(template, "spec", "volumes")
	claims, _, _ := unstructured.NestedSlice(o.Object, "spec", "volumeClaimTemplates")
	for _, claim := range claims {
		name, _, _ := unstructured.NestedString(claim.(map[string]any), "metadata", "name")
		volumes = append(volumes, map[string]any{"name": name, "persistentVolumeClaim": map[string]any{"claimName": name}})
	}
	if err := unstructured.SetNestedSlice(template, volumes, "spec", "volumes"); err != nil {
		panic(err)
	}
	return pod
}

func dryRun(t *testing.T, api client.Client, o *unstructured.Unstructured) {
	t.Helper()
	err := api.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o.DeepCopy()), client.DryRunAll, client.ForceOwnership,
		client.FieldOwner("test"))
	if err != nil {
		t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
	}
}

// need makes namespaces that the Pod Security Standard "restricted" holds for.
func need(t *testing.T, api client.Client, names ...string) {
	t.Helper()
	for _, name := range names {
		namespace := applycorev1.Namespace(name).WithLabels(map[string]string{
			"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted",
		})
		if err := api.Apply(t.Context(), namespace, client.ForceOwnership, client.FieldOwner("test")); err != nil {
			t.Fatal(err)
		}
	}
}

// needServiceMonitors defines the kind ServiceMonitor, with no schema: the Prometheus operator's is not there.
func needServiceMonitors(t *testing.T, api client.Client) {
	t.Helper()
	crd := &unstructured.Unstructured{}
	err := yaml.Unmarshal([]byte(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: servicemonitors.monitoring.coreos.com
  annotations: {api-approved.kubernetes.io: unapproved}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: ServiceMonitor, plural: servicemonitors}
  versions:
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`), &crd.Object)
	if err != nil {
		t.Fatal(err)
	}
	if err := api.Create(t.Context(), crd); client.IgnoreAlreadyExists(err) != nil {
		t.Fatal(err)
	}
	eventually(t, "the kind ServiceMonitor", func() bool {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion("monitoring.coreos.com/v1")
		list.SetKind("ServiceMonitorList")
		return api.List(t.Context(), list) == nil
	})
}

// warnings collects what an API server warns of.
type warnings struct {
	mu  sync.Mutex
	all []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, text)
}
