package v1alpha1_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestDependencies: whoever imports the API gets apimachinery along, and neither NATS nor a client.
func TestDependencies(t *testing.T) {
	output, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, output)
	}
	packages := strings.Fields(string(output))
	for _, path := range packages {
		for _, module := range []string{
			"github.com/nats-io/", "k8s.io/client-go/", "k8s.io/api/", "sigs.k8s.io/controller-runtime/", "github.com/prometheus/",
		} {
			if strings.HasPrefix(path, module) {
				t.Errorf("the API pulls in %s", path)
			}
		}
		if rest, ours := strings.CutPrefix(path, "github.com/rollcall-dev/rollcall/"); ours && rest != "api/v1alpha1" {
			t.Errorf("the API pulls in %s", path)
		}
	}
	if len(packages) < 10 {
		t.Errorf("the packages are only %v", packages)
	}
}
