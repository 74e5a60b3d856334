package chart

import (
	"flag"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/natsserver"
)

// TestNotes: what Helm says after an install names the next commands, and the NodeRegistry in it is one.
func TestNotes(t *testing.T) {
	for _, test := range []struct {
		name               string
		set                string
		namespace, server  string
		contains, excludes string
	}{
		{"defaults", "replicas=2", "default", "nats://nats.example.com:4222",
			"kubectl -n rollcall-system rollout status deployment/rollcall-manager", "do not use it in production"},
		{"embedded NATS", "embeddedNATS.enabled=true", "default", "nats://rollcall-nats.rollcall-system.svc:4222",
			"do not use it in production", "Metrics are not served"},
		{"namespaced", "namespaces={fleet,other},clusterName=edge-1", "fleet", "nats://nats.example.com:4222",
			"Metrics are not served", "do not use it in production"},
	} {
		t.Run(test.name, func(t *testing.T) {
			output, err := helm(t, "install", release, chart, "--namespace", namespace, "--dry-run=client", "--set", test.set)
			if err != nil {
				t.Fatal(err)
			}
			_, notes, found := strings.Cut(output, "NOTES:")
			if !found || !strings.Contains(notes, test.contains) || strings.Contains(notes, test.excludes) {
				t.Errorf("without %q, or with %q:\n%s", test.contains, test.excludes, notes)
			}
			_, manifest, _ := strings.Cut(notes, "<<EOF\n")
			manifest, _, _ = strings.Cut(manifest, "  EOF\n")
			registry := &rollcallv1alpha1.NodeRegistry{}
			if err := yaml.UnmarshalStrict([]byte(manifest), registry); err != nil {
				t.Fatalf("%v in\n%s", err, manifest)
			}
			if registry.Namespace != test.namespace || registry.Spec.Connection.Servers[0] != test.server {
				t.Errorf("in %q, of %q", registry.Namespace, registry.Spec.Connection.Servers)
			}
		})
	}
}

// TestEmbeddedNATSServesWhereItsServiceLeads: the container's arguments and ports belong together.
func TestEmbeddedNATSServesWhereItsServiceLeads(t *testing.T) {
	set := &appsv1.StatefulSet{}
	rendered := render(t, "embeddedNATS: {enabled: true}")["StatefulSet/rollcall-nats"]
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(rendered.Object, set); err != nil {
		t.Fatal(err)
	}
	container := set.Spec.Template.Spec.Containers[0]
	if container.Args[0] != natsserver.Command {
		t.Fatalf("arguments %q", container.Args)
	}
	var o natsserver.Options
	flags := flag.NewFlagSet(natsserver.Command, flag.ContinueOnError)
	natsserver.BindFlags(flags, &o)
	if err := flags.Parse(container.Args[1:]); err != nil {
		t.Fatal(err)
	}
	if o.Address != ":4222" || container.Ports[0].ContainerPort != 4222 || o.MonitorAddress != ":8222" || container.Ports[1].ContainerPort != 8222 {
		t.Errorf("serves at %s and %s, ports %v", o.Address, o.MonitorAddress, container.Ports)
	}
	if o.StoreDir != container.VolumeMounts[0].MountPath {
		t.Errorf("keeps the buckets in %s, the volume is at %s", o.StoreDir, container.VolumeMounts[0].MountPath)
	}
}
