package agent

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/rollcall-dev/rollcall/internal/agent"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

// The manifest of the sidecar is what the API server takes, in a namespace that admits no more than restricted pods, and
// its environment is what the agent takes.
func TestTheManifestOfTheSidecar(t *testing.T) {
	cluster := testrig.New(t, env)
	text, err := os.ReadFile("../../config/samples/agent_sidecar.yaml")
	if err != nil {
		t.Fatal(err)
	}
	deployment := &appsv1.Deployment{}
	if err := yaml.UnmarshalStrict(text, deployment); err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{}
	if err := cluster.API.Get(t.Context(), client.ObjectKey{Name: cluster.Namespace}, namespace); err != nil {
		t.Fatal(err)
	}
	namespace.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
	if err := cluster.API.Update(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{Spec: *deployment.Spec.Template.Spec.DeepCopy()}
	pod.Name, pod.Namespace, deployment.Namespace = "api", cluster.Namespace, cluster.Namespace
	for _, o := range []client.Object{deployment, pod} {
		if err := cluster.API.Create(t.Context(), o, client.DryRunAll, client.FieldValidation("Strict")); err != nil {
			t.Error(err)
		}
	}
	privileged := pod.DeepCopy()
	privileged.Name, privileged.ResourceVersion = "privileged", ""
	privileged.Spec.InitContainers[0].SecurityContext = nil
	if err := cluster.API.Create(t.Context(), privileged, client.DryRunAll); err == nil {
		t.Error("the namespace admits every pod, so this test shows nothing")
	}

	sidecar := pod.Spec.InitContainers[0]
	if *sidecar.RestartPolicy != corev1.ContainerRestartPolicyAlways {
		t.Error("the init container is no sidecar")
	}
	fields := map[string]string{"metadata.name": "api-0", "metadata.namespace": "fleet", "metadata.uid": "uid", "status.podIPs": "10.0.0.1", "spec.nodeName": "worker"}
	values := map[string]string{}
	for _, variable := range sidecar.Env {
		values[variable.Name] = variable.Value
		if variable.ValueFrom != nil {
			values[variable.Name] = fields[variable.ValueFrom.FieldRef.FieldPath]
		}
	}
	config, err := agent.Parse(nil, func(name string) (string, bool) {
		value, ok := values[name]
		return value, ok
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if config.NodeID != "fleet.api-0" || config.Owner != "uid" || config.Metadata["node"] != "worker" || config.Metadata["role"] != "api" {
		t.Errorf("the agent understands %+v", config)
	}
	// A variable with a typing error would be of no effect.
	flags, err := os.ReadFile("../../docs/reference/agent-flags.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range values {
		if strings.HasPrefix(name, "ROLLCALL_") && !bytes.Contains(flags, []byte("`"+name+"`")) {
			t.Errorf("the agent knows no %s", name)
		}
	}
}
