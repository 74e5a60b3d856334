//go:build e2e && linux

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rollcall-dev/rollcall/test/e2e/machine"
)

// callPods shows the other direction: every machine outside of the cluster finds the pods, and no others, in the bucket and
// reaches each.
func (s *stage) callPods() {
	s.kubectl("--namespace", fleet, "apply", "-f", "manifests/pods.yaml")
	s.kubectl("--namespace", fleet, "rollout", "status", "deployment/api", "--timeout", patience.String())
	for _, node := range s.nodes() {
		s.within(patience, "calls from "+node, func(ctx context.Context) error { return s.findsPods(ctx, node) })
	}
	s.kubectl("--namespace", fleet, "scale", "deployment/api", "--replicas=1")
	s.kubectl("--namespace", fleet, "rollout", "status", "deployment/api", "--timeout", patience.String())
	s.within(patience, "calls from edge-1", func(ctx context.Context) error { return s.findsPods(ctx, "edge-1") })
}

// findsPods returns an error unless a machine finds exactly the pods that there are, and each answers with its name.
func (s *stage) findsPods(ctx context.Context, node string) error {
	list := &corev1.PodList{}
	if err := s.client.List(ctx, list, client.InNamespace(fleet), client.MatchingLabels{"app": "api"}); err != nil {
		return err
	}
	var want []string
	for _, pod := range list.Items {
		want = append(want, fmt.Sprintf("%s.%s %s", fleet, pod.Name, pod.Name))
	}
	out, err := s.hosts[node].Command(ctx, filepath.Join(machine.Dir(), "finder"), "--servers="+natsOutside, "--role=api").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	found := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(want)
	slices.Sort(found)
	if !slices.Equal(found, want) {
		return fmt.Errorf("found %q, want %q", found, want)
	}
	s.Logf("%s found and called %q", node, found)
	return nil
}
