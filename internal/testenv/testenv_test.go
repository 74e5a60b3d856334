package testenv_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rollcall-dev/rollcall/internal/testenv"
)

func TestLifecycle(t *testing.T) {
	begin := time.Now()
	env, err := testenv.Start(t.Context())
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			_ = env.Stop()
		}
	})
	t.Logf("started after %s", time.Since(begin))

	client, err := kubernetes.NewForConfig(env.Config)
	if err != nil {
		t.Fatalf("make a client: %v", err)
	}
	namespace := env.Namespace(t)
	if _, err := client.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{}); err != nil {
		t.Errorf("the namespace does not exist: %v", err)
	}
	if other := env.Namespace(t); other == namespace {
		t.Errorf("two namespaces have the name %s", namespace)
	}

	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := env.WriteKubeconfig(kubeconfig); err != nil {
		t.Fatalf("write the kubeconfig: %v", err)
	}
	output, err := exec.Command(env.Kubectl, "--kubeconfig", kubeconfig, "get", "crd", "-o", "name").CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl: %v\n%s", err, output)
	}
	for _, crd := range []string{"noderegistries", "discoverednodes", "podregistrations"} {
		if !strings.Contains(string(output), crd+".rollcall.dev") {
			t.Errorf("the API server does not know %s:\n%s", crd, output)
		}
	}

	watch, err := client.CoreV1().Namespaces().Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatalf("watch: %v", err)
	}
	defer watch.Stop()
	begin = time.Now()
	stopped = true
	if err := env.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	t.Logf("stopped after %s", time.Since(begin))
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("stopping took %s in spite of an open watch, want a few seconds", took)
	}
}
