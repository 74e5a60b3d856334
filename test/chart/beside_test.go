package chart

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// installed is one release of the chart.
type installed struct{ release, namespace, values string }

// render returns the objects of the release by "Kind/namespace/name", and its manager.
func (i installed) render(t *testing.T) (names map[string]bool, manager *unstructured.Unstructured) {
	t.Helper()
	text, err := helm(t, "template", i.release, chart, "--namespace", i.namespace, "--set", i.values)
	if err != nil {
		t.Fatal(err)
	}
	names = map[string]bool{}
	for _, o := range parse(t, text) {
		names[fmt.Sprintf("%s/%s/%s", o.GetKind(), o.GetNamespace(), o.GetName())] = true
		if o.GetKind() == "Deployment" {
			manager = o
		}
	}
	return names, manager
}

// lease returns the name of the release's Lease, with its namespace.
func (i installed) lease(t *testing.T, manager *unstructured.Unstructured) string {
	t.Helper()
	options := optionsOf(t, expanded(t, &podSpecOf(t, manager).Containers[0]))
	if !options.LeaderElect || options.LeaderElectionNamespace != "" {
		t.Errorf("the manager has the options %+v", options)
	}
	return i.namespace + "/" + options.LeaderElectionID
}

const (
	east = "namespaces={fleet-east},clusterName=east"
	west = "namespaces={fleet-west},clusterName=west,crds.enabled=false"
)

// TestReleasesBesideEachOther: two releases over namespaces of their own have no object in common and a Lease each.
func TestReleasesBesideEachOther(t *testing.T) {
	for name, test := range map[string]struct{ a, b installed }{
		"one namespace":                {installed{"east", namespace, east}, installed{"west", namespace, west}},
		"names with the chart's in it": {installed{"rollcall", namespace, east}, installed{"rollcall-west", namespace, west}},
		"one name":                     {installed{"rollcall", "east", east}, installed{"rollcall", "west", west}},
		"with a NATS server each": {
			installed{"east", namespace, east + ",embeddedNATS.enabled=true"}, installed{"west", namespace, west + ",embeddedNATS.enabled=true"},
		},
		"with metrics": {
			installed{"east", namespace, east + ",metrics.secure=false,metrics.serviceMonitor.enabled=true"},
			installed{"west", namespace, west + ",metrics.secure=false,metrics.serviceMonitor.enabled=true"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, managerA := test.a.render(t)
			b, managerB := test.b.render(t)
			for name := range a {
				if b[name] {
					t.Errorf("both have %s", name)
				}
			}
			if a, b := test.a.lease(t, managerA), test.b.lease(t, managerB); a == b {
				t.Errorf("both have the Lease %s", a)
			}
		})
	}
}

// TestInstallBeside: a second release is installed beside a first, and stays when that goes. With the definitions that the first one
// has, Helm refuses it.
func TestInstallBeside(t *testing.T) {
	api := newClient(t)
	need(t, api, "fleet-east", "fleet-west", namespace)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := env.WriteKubeconfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) error {
		_, err := helm(t, append(args, "--kubeconfig", kubeconfig, "--namespace", namespace)...)
		return err
	}
	rendered := func(release, values string) objects {
		text, err := helm(t, "template", release, chart, "--namespace", namespace, "--set", values)
		if err != nil {
			t.Fatal(err)
		}
		return parse(t, text)
	}
	if err := run("install", "east", chart, "--set", east+",crds.keep=false"); err != nil {
		t.Fatal(err)
	}
	if err := run("install", "west", chart, "--set", strings.ReplaceAll(west, ",crds.enabled=false", "")); err == nil || !strings.Contains(err.Error(), "ownership") {
		t.Errorf("a second release with the definitions ends with %v", err)
	}
	if err := run("install", "west", chart, "--set", west); err != nil {
		t.Fatal(err)
	}
	present(t, api, rendered("east", east), true)
	present(t, api, rendered("west", west), true)
	if err := run("uninstall", "east"); err != nil {
		t.Fatal(err)
	}
	present(t, api, rendered("east", east), false)
	present(t, api, rendered("west", west), true)
	if err := run("uninstall", "west"); err != nil {
		t.Fatal(err)
	}
	present(t, api, rendered("west", west), false)
}
