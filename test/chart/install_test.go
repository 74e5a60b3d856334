package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// TestInstall: the chart is installed with no values, and works; it is upgraded, and its custom resources with it; it is
// uninstalled, and nothing but the custom resources stays, unless they are to go too.
func TestInstall(t *testing.T) {
	api := newClient(t)
	nats := natstest.Start(t)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := env.WriteKubeconfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		t.Helper()
		output, err := helm(t, append(args, "--kubeconfig", kubeconfig, "--namespace", namespace)...)
		if err != nil {
			t.Fatalf("helm %s: %v", strings.Join(args, " "), err)
		}
		t.Logf("helm %s\n%s", strings.Join(args, " "), output)
	}

	run("install", release, chart, "--create-namespace")
	present(t, api, render(t), true)
	need(t, api, "works")
	registry := newRegistry("works", nats.URL())
	if err := api.Create(t.Context(), registry); err != nil {
		t.Fatal(err)
	}
	worksAs(t, api, render(t), registry)

	run("upgrade", release, newerChart(t))
	eventually(t, "the new column of the CRD", func() bool {
		columns := crd(t, api, "noderegistries.rollcall.dev").Spec.Versions[0].AdditionalPrinterColumns
		return columns[len(columns)-1].Name == newColumn
	})
	stays(t, api, registry)

	run("uninstall", release)
	left := render(t)
	present(t, api, left.only("CustomResourceDefinition"), true)
	present(t, api, left.without("CustomResourceDefinition"), false)
	stays(t, api, registry)

	run("install", release, chart, "--set", "crds.keep=false")
	stays(t, api, registry)
	run("uninstall", release)
	present(t, api, left, false)
}

// TestInstallNamespaced: the chart works in one namespace with no right to anything outside of it.
func TestInstallNamespaced(t *testing.T) {
	api := newClient(t)
	nats := natstest.Start(t)
	need(t, api, "fleet", "other", "elsewhere", namespace)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := env.WriteKubeconfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	common := []string{"--kubeconfig", kubeconfig, "--namespace", namespace}
	if _, err := helm(t, append(common, "install", release, chart, "--set", "namespaces={fleet,other},clusterName=edge-1,crds.keep=false")...); err != nil {
		t.Fatal(err)
	}
	objects := render(t, namespaced)
	present(t, api, objects, true)
	here, elsewhere := newRegistry("other", nats.URL()), newRegistry("elsewhere", nats.URL())
	for _, registry := range []*rollcallv1alpha1.NodeRegistry{here, elsewhere} {
		if err := api.Create(t.Context(), registry); err != nil {
			t.Fatal(err)
		}
	}
	worksAs(t, api, objects, here)
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(elsewhere), elsewhere); err != nil || len(elsewhere.Status.Conditions) > 0 {
		t.Errorf("of the namespace elsewhere: %v, %v", elsewhere.Status.Conditions, err)
	}
	if _, err := helm(t, append(common, "uninstall", release)...); err != nil {
		t.Fatal(err)
	}
	present(t, api, objects, false)
}

const newColumn = "New"

// newerChart returns a copy of the chart with the next version, in which NodeRegistries have a new column.
func newerChart(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "rollcall")
	if err := os.CopyFS(folder, os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(folder, "Chart.yaml"), func(c map[string]any) { c["version"] = "99.0.0" })
	file := filepath.Join(folder, "files", "crd", "rollcall.dev_noderegistries.yaml")
	definition := &apiextensionsv1.CustomResourceDefinition{}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, definition); err != nil {
		t.Fatal(err)
	}
	version := &definition.Spec.Versions[0]
	version.AdditionalPrinterColumns = append(version.AdditionalPrinterColumns,
		apiextensionsv1.CustomResourceColumnDefinition{Name: newColumn, Type: "string", JSONPath: ".metadata.name"})
	edit(t, file, func(c map[string]any) { c["spec"] = definition.Spec })
	return folder
}

// edit changes a YAML file.
func edit(t *testing.T, file string, change func(map[string]any)) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var content map[string]any
	if err := yaml.Unmarshal(text, &content); err != nil {
		t.Fatal(err)
	}
	change(content)
	if text, err = yaml.Marshal(content); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func newClient(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, rollcallv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	api, err := client.New(env.Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// present waits until all objects are there, or none of them is.
func present(t *testing.T, api client.Client, objects objects, want bool) {
	t.Helper()
	for name, o := range objects {
		eventually(t, name+map[bool]string{true: " to be there", false: " to be gone"}[want], func() bool {
			err := api.Get(t.Context(), client.ObjectKeyFromObject(o), o.DeepCopy())
			if client.IgnoreNotFound(err) != nil {
				t.Fatal(err)
			}
			return apierrors.IsNotFound(err) != want
		})
	}
}

// stays fails unless an object is the one that it was.
func stays(t *testing.T, api client.Client, o client.Object) {
	t.Helper()
	before := o.GetUID()
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil || o.GetUID() != before || o.GetDeletionTimestamp() != nil {
		t.Fatalf("%s does not stay: %v", o.GetName(), err)
	}
}

func crd(t *testing.T, api client.Client, name string) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := api.Get(t.Context(), client.ObjectKey{Name: name}, definition); err != nil {
		t.Fatal(err)
	}
	return definition
}

func newRegistry(namespace, server string) *rollcallv1alpha1.NodeRegistry {
	registry := &rollcallv1alpha1.NodeRegistry{}
	registry.Namespace, registry.Name = namespace, "catga"
	registry.Spec.Connection.Servers = []string{server}
	return registry
}

// eventually waits until something holds. The API server takes its time to finish off a definition that was just made: what fails then
// it tries again with waits that double.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for began := time.Now(); !holds(); <-ticker.C {
		if time.Since(began) > 4*time.Minute {
			t.Fatalf("waited %s for %s", time.Since(began), what)
		}
	}
}
