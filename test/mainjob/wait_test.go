package mainjob

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// kubectl runs kubectl in the rig's namespace, and returns what it prints and how it ended.
func (r *rig) kubectl(args ...string) (string, error) {
	r.Helper()
	kubeconfig := filepath.Join(r.TempDir(), "kubeconfig")
	if err := env.WriteKubeconfig(kubeconfig); err != nil {
		r.Fatal(err)
	}
	args = append([]string{"--kubeconfig", kubeconfig, "--namespace", r.Namespace}, args...)
	output, err := exec.CommandContext(r.Context(), env.Kubectl, args...).CombinedOutput()
	return string(output), err
}

// TestKubectlWait: whoever deploys waits for a registry and its nodes with what kubectl has for that.
func TestKubectlWait(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bucket(time.Hour)
	r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Bucket.TTL = seconds(3600) })
	r.Start()
	wait := func(object, condition string) {
		t.Helper()
		if output, err := r.kubectl("wait", object, "--for="+condition, "--timeout", patience.String()); err != nil {
			t.Errorf("kubectl wait %s --for=%s: %v\n%s", object, condition, err, output)
		}
	}
	wait("noderegistry/catga", "condition=Ready")
	wait("noderegistry/catga", "condition=Degraded=false")
	r.beatAll(0, 2)
	r.Within(patience, "two nodes", func() bool { return len(r.nodes()) == 2 })
	wait("discoverednode/catga."+nodeID(0), "condition=Ready")
	wait("discoverednode/catga."+nodeID(1), "jsonpath={.status.phase}=Ready")

	// A new generation of the spec counts only once it has been seen.
	if output, err := r.kubectl("patch", "noderegistry/catga", "--type=merge", "-p", `{"spec":{"suspend":true}}`); err != nil {
		t.Fatal(output)
	}
	wait("noderegistry/catga", "condition=Ready=false")
	if output, err := r.kubectl("patch", "noderegistry/catga", "--type=merge", "-p", `{"spec":{"suspend":false}}`); err != nil {
		t.Fatal(output)
	}
	wait("noderegistry/catga", "condition=Ready")

	// A person cordons a node, and it says so.
	if output, err := r.kubectl("patch", "discoverednode/catga."+nodeID(0), "--type=merge", "-p", `{"spec":{"cordoned":true}}`); err != nil {
		t.Fatal(output)
	}
	wait("discoverednode/catga."+nodeID(0), "condition=Ready=false")
	r.unregister(1)
	wait("discoverednode/catga."+nodeID(1), "delete")
	if output, err := r.kubectl("wait", "discoverednode/catga."+nodeID(0), "--for=condition=Ready", "--timeout=1s"); err == nil || !strings.Contains(output, "timed out") {
		t.Errorf("a cordoned node is waited for: %v\n%s", err, output)
	}
}
