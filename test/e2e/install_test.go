//go:build e2e && linux

package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rollcall-dev/rollcall/test/e2e/tally"
)

const chart = "../../charts/rollcall"

// byHand shows that the cluster itself works: a pod reaches a machine outside of it through a Service.
func (s *stage) byHand() {
	s.addHost("edge-1", 11)
	s.addHost("edge-2", 12)
	s.addHost("edge-3", 13)
	s.kubectl("create", "namespace", fleet)
	s.kubectl("--namespace", fleet, "wait", "serviceaccount/default", "--for=create", "--timeout", patience.String())
	s.kubectl("--namespace", fleet, "apply", "-f", "manifests/by-hand.yaml")
	s.startCaller(caller)
	s.within(patience, "answers", func(context.Context) error { return someAnswer(s.calls(), "edge-1") })
	s.kubectl("--namespace", fleet, "delete", "-f", "manifests/by-hand.yaml", "-f", "manifests/caller.yaml", "--now")
}

// someAnswer returns an error unless a node answered and no call failed.
func someAnswer(calls *tally.Tally, node string) error {
	switch {
	case len(calls.Failures) > 0:
		return fmt.Errorf("%d of %d calls failed: %s", len(calls.Failures), calls.Requests, calls.Failures[0].Reason)
	case calls.By[node].Count == 0:
		return fmt.Errorf("%s answered none of %d calls", node, calls.Requests)
	}
	return nil
}

// install installs Rollcall with the chart's defaults.
func (s *stage) install() {
	s.before = s.objects()
	s.helm("install", "rollcall", chart, "--namespace", system, "--create-namespace", "--wait", "--timeout", patience.String())
	s.Log("\n" + s.kubectl("get", "pods", "--all-namespaces", "--output=wide"))
}

// upgrade upgrades the release to values that replace all of its pods, in a namespace that now takes none but those of
// the Pod Security Standard `restricted`.
func (s *stage) upgrade() {
	s.kubectl("label", "namespace", system, "pod-security.kubernetes.io/enforce=restricted")
	pods := s.managers()
	s.undisturbed(func() {
		s.helm("upgrade", "rollcall", chart, "--namespace", system, "--set", "log.level=debug", "--wait", "--timeout", patience.String())
		s.within(patience, "all pods are new", func(context.Context) error {
			for _, pod := range s.managers() {
				if slices.Contains(pods, pod) {
					return fmt.Errorf("%s is still there", pod)
				}
			}
			return nil
		})
	})
}

// managers returns the names of the operator's pods.
func (s *stage) managers() []string {
	s.Helper()
	list := &corev1.PodList{}
	if err := s.client.List(s.Context(), list, client.InNamespace(system)); err != nil {
		s.Fatal(err)
	}
	var names []string
	for _, pod := range list.Items {
		names = append(names, pod.Name)
	}
	return names
}

// uninstall shows that of what came with the chart only that stays which is meant to: the resource definitions, so that
// the team's objects stay. What the machines serve is reached as before.
func (s *stage) uninstall() {
	s.calls()
	s.helm("uninstall", "rollcall", "--namespace", system, "--wait", "--timeout", patience.String())
	// Helm made the namespace for the chart, and leaves it with what Kubernetes and the managers put into it: this is how
	// docs/install.md says to remove it.
	s.stays(append(definitions, "namespaces /"+system,
		"configmaps "+system+"/kube-root-ca.crt", "serviceaccounts "+system+"/default", "leases.coordination.k8s.io "+system+"/rollcall-manager")...)
	s.kubectl("delete", "namespace", system, "--timeout", patience.String())
	s.stays(definitions...)
	s.answeredBy(s.calls(), s.nodes()...)
}

// definitions are the resource definitions, and what the API server makes of them.
var definitions = []string{
	"apiservices.apiregistration.k8s.io /v1alpha1.rollcall.dev",
	"customresourcedefinitions.apiextensions.k8s.io /discoverednodes.rollcall.dev",
	"customresourcedefinitions.apiextensions.k8s.io /noderegistries.rollcall.dev",
	"customresourcedefinitions.apiextensions.k8s.io /podregistrations.rollcall.dev",
}

// stays fails the test unless, in time, only these objects are there that were not before Rollcall was installed.
func (s *stage) stays(meant ...string) {
	s.Helper()
	slices.Sort(meant)
	s.within(patience, "nothing stays but what is meant to", func(context.Context) error {
		left := slices.DeleteFunc(slices.Sorted(maps.Keys(s.objects())), func(object string) bool { return s.before[object] })
		if !slices.Equal(left, meant) {
			return fmt.Errorf("what stays is\n%s\nand is meant to be\n%s", strings.Join(left, "\n"), strings.Join(meant, "\n"))
		}
		return nil
	})
}

// unlisted are kinds of objects that come and go with others: the IP addresses of Services, and events.
var unlisted = []string{"ipaddresses", "events"}

// objects returns all objects of the cluster but those of the team and of NATS.
func (s *stage) objects() map[string]bool {
	s.Helper()
	lists, err := discovery.NewDiscoveryClientForConfigOrDie(s.Config).ServerPreferredResources()
	if err != nil {
		s.Fatal(err)
	}
	objects := metadata.NewForConfigOrDie(s.Config)
	found := map[string]bool{}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			s.Fatal(err)
		}
		for _, resource := range list.APIResources {
			if !slices.Contains(resource.Verbs, "list") || slices.Contains(unlisted, resource.Name) {
				continue
			}
			kind := version.WithResource(resource.Name)
			items, err := objects.Resource(kind).List(s.Context(), metav1.ListOptions{})
			if apierrors.IsNotFound(err) {
				continue
			}
			if err != nil {
				s.Fatal(err)
			}
			for _, item := range items.Items {
				if item.Namespace != fleet && item.Namespace != "nats" && item.Name != "nats" {
					found[kind.GroupResource().String()+" "+item.Namespace+"/"+item.Name] = true
				}
			}
		}
	}
	return found
}
