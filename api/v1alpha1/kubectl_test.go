package v1alpha1_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// kubectl runs kubectl in a namespace and returns what it prints. It fails the test if kubectl fails or warns.
func kubectl(t *testing.T, namespace string, args ...string) string {
	t.Helper()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := env.WriteKubeconfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"--kubeconfig", kubeconfig, "--namespace", namespace}, args...)
	output, err := exec.Command(env.Kubectl, args...).CombinedOutput()
	if err != nil || strings.Contains(string(output), "Warning:") {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return string(output)
}

func TestColumns(t *testing.T) {
	namespace := env.Namespace(t)
	c := strictClient(t)
	for _, text := range full {
		object := parse(t, text)
		status := object.Object["status"]
		object.SetNamespace(namespace)
		if err := c.Create(t.Context(), object); err != nil {
			t.Fatalf("create: %v", err)
		}
		object.Object["status"] = status
		if err := c.Status().Update(t.Context(), object); client.IgnoreNotFound(err) != nil {
			t.Fatalf("update the status: %v", err)
		}
	}
	for _, test := range []struct {
		resource     string
		header, cell []string
	}{
		{"nreg", []string{"NAME", "BUCKET", "NODES", "READYNODES", "READY", "REASON", "AGE", "DEGRADED", "HELD", "PROBLEMS", "MESSAGE"}, []string{"catga", "catga_nodes", "3", "3", "True", "Ready"}},
		{"dn", []string{"NAME", "NODE", "ADDRESS", "PHASE", "CORDONED", "LOAD", "LAST HEARTBEAT", "REGISTRY", "AGE", "REASON", "ZONE", "PORTS", "KEY"}, []string{"catga.web-1", "web-1", "10.0.0.5", "Ready", "true", "0.42"}},
		{"podreg", []string{"NAME", "MATCHED", "REGISTERED", "CONFLICTS", "READY", "AGE", "REGISTRY", "MESSAGE"}, []string{"web", "3", "3", "0", "True"}},
	} {
		t.Run(test.resource, func(t *testing.T) {
			lines := strings.Split(kubectl(t, namespace, "get", test.resource, "-o", "wide"), "\n")
			if got := strings.Join(columns(lines[0]), "|"); got != strings.Join(test.header, "|") {
				t.Errorf("the columns are\n%s\nwant\n%s", got, strings.Join(test.header, "|"))
			}
			if got := columns(lines[1]); !slices.Equal(got[:len(test.cell)], test.cell) {
				t.Errorf("the row is\n%v\nwant it to begin with\n%v", got, test.cell)
			}
		})
	}
}

// columns splits a line of a table whose columns are at least two blanks apart.
func columns(line string) []string {
	var cells []string
	for cell := range strings.SplitSeq(line, "  ") {
		if cell = strings.TrimSpace(cell); cell != "" {
			cells = append(cells, cell)
		}
	}
	return cells
}

func TestCategory(t *testing.T) {
	namespace := env.Namespace(t)
	for _, text := range minimal {
		object := parse(t, text)
		object.SetNamespace(namespace)
		if err := strictClient(t).Create(t.Context(), object); err != nil {
			t.Fatalf("create: %v", err)
		}
	}
	got := strings.Fields(kubectl(t, namespace, "get", "rollcall", "-o", "name"))
	slices.Sort(got)
	want := []string{"discoverednode.rollcall.dev/catga.web-1", "noderegistry.rollcall.dev/catga", "podregistration.rollcall.dev/web"}
	if !slices.Equal(got, want) {
		t.Errorf("kubectl get rollcall shows %v, want %v", got, want)
	}
}

func TestSamples(t *testing.T) {
	output := kubectl(t, env.Namespace(t), "apply", "--dry-run=server", "--validate=strict", "-k", "../../config/samples")
	for _, sample := range []string{"noderegistry.rollcall.dev/catga", "service/web", "podregistration.rollcall.dev/api"} {
		if !strings.Contains(output, sample+" created") {
			t.Errorf("the sample %s is missing:\n%s", sample, output)
		}
	}
}

func TestDefaultInstallation(t *testing.T) {
	output := kubectl(t, "rollcall-system", "apply", "--server-side", "--force-conflicts", "--validate=strict", "-k", "../../config/default")
	for _, object := range []string{
		"namespace/rollcall-system",
		"customresourcedefinition.apiextensions.k8s.io/noderegistries.rollcall.dev",
		"clusterrole.rbac.authorization.k8s.io/rollcall-manager-role",
		"deployment.apps/rollcall-manager",
	} {
		if !strings.Contains(output, object+" serverside-applied") {
			t.Errorf("%s is missing:\n%s", object, output)
		}
	}
}
