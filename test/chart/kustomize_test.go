package chart

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// TestKustomizeInstallsTheSame: config/default makes what the chart makes with its defaults, but for the marks that Helm
// sets and the namespace, which Helm makes by --create-namespace.
func TestKustomizeInstallsTheSame(t *testing.T) {
	kustomized := parse(t, kustomize(t))
	if kustomized["Namespace/"+namespace] == nil {
		t.Error("config/default makes no namespace")
	}
	delete(kustomized, "Namespace/"+namespace)

	rendered := render(t)
	for _, o := range rendered {
		labels := o.GetLabels()
		for _, label := range []string{"app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart"} {
			if labels[label] == "" {
				t.Errorf("%s %s has no label %s", o.GetKind(), o.GetName(), label)
			}
			delete(labels, label)
		}
		// Of the components, config/default marks the manager only.
		if component := labels[componentLabel]; kustomized[o.GetKind()+"/"+o.GetName()].GetLabels()[componentLabel] == "" && component != "" {
			delete(labels, componentLabel)
		}
		o.SetLabels(labels)
		annotations := o.GetAnnotations()
		delete(annotations, "helm.sh/resource-policy")
		o.SetAnnotations(annotations)
	}
	if diff := gocmp.Diff(rendered.lines(), kustomized.lines()); diff != "" {
		t.Errorf("config/default differs from the chart (-chart +config):\n%s", diff)
	}
}

const componentLabel = "app.kubernetes.io/component"

// TestFlatFileIsUpToDate: `make dist` would change nothing.
func TestFlatFileIsUpToDate(t *testing.T) {
	file, err := os.ReadFile(root + "/dist/install.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if string(file) != kustomize(t) {
		t.Error("dist/install.yaml is out of date: run make dist")
	}
}

// kustomize returns the manifests of config/default.
func kustomize(t *testing.T) string {
	t.Helper()
	var stderr strings.Builder
	command := exec.CommandContext(t.Context(), env.Kubectl, "kustomize", root+"/config/default")
	command.Stderr = &stderr
	text, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return string(text)
}
