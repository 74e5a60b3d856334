package chart

import (
	"context"
	"flag"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/manager"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

// worksAs runs the manager with the arguments of the rendered Deployment, and the rights that the chart gave to its service
// account, until a NodeRegistry is ready.
func worksAs(t *testing.T, api client.Client, rendered objects, registry *rollcallv1alpha1.NodeRegistry) {
	t.Helper()
	pod := podSpecOf(t, rendered["Deployment/rollcall-manager"])
	options := optionsOf(t, expanded(t, &pod.Containers[0]))
	limit := pod.Containers[0].Resources.Limits.Memory().Value()
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1)) // It holds for the whole process.
	// What a pod has of its own: the name of its namespace, and ports that nobody else has.
	options.LeaderElectionNamespace = namespace
	options.ProbeAddress = "127.0.0.1:0"
	if options.MetricsAddress != "0" {
		options.MetricsAddress = "127.0.0.1:0"
	}
	options.Controller.SkipNameValidation = new(true)
	// The server is on this machine.
	options.AllowedServers = append(options.AllowedServers, testrig.Loopback()...)

	config := rest.CopyConfig(env.Config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + namespace + ":" + pod.ServiceAccountName,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	m, err := manager.New(ctx, config, options)
	if err != nil {
		t.Fatal(err)
	}
	if kept := debug.SetMemoryLimit(-1); kept < limit*8/10 || kept >= limit {
		t.Errorf("of a limit of %d bytes, the garbage collector keeps to %d", limit, kept)
	}
	ended := make(chan error, 1)
	go func() { ended <- m.Start(ctx) }()
	eventually(t, "the NodeRegistry to be ready", func() bool {
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(registry), registry); err != nil {
			t.Fatal(err)
		}
		return meta.IsStatusConditionTrue(registry.Status.Conditions, rollcallv1alpha1.ConditionReady)
	})
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the manager ended: %v", err)
	}
}

// podSpecOf returns the spec of the pods of a rendered Deployment.
func podSpecOf(t *testing.T, deployment *unstructured.Unstructured) *corev1.PodSpec {
	t.Helper()
	d := &appsv1.Deployment{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(deployment.Object, d); err != nil {
		t.Fatal(err)
	}
	return &d.Spec.Template.Spec
}

// expanded returns the arguments of a container as a kubelet passes them.
func expanded(t *testing.T, container *corev1.Container) []string {
	t.Helper()
	var variables []string
	for _, variable := range container.Env {
		value := variable.Value
		if from := variable.ValueFrom; from != nil {
			if from.ResourceFieldRef == nil || from.ResourceFieldRef.Resource != "limits.memory" {
				t.Fatalf("the variable %s comes from %v", variable.Name, from)
			}
			value = strconv.FormatInt(container.Resources.Limits.Memory().Value(), 10)
		}
		variables = append(variables, "$("+variable.Name+")", value)
	}
	args := make([]string, 0, len(container.Args))
	for _, arg := range container.Args {
		args = append(args, strings.NewReplacer(variables...).Replace(arg))
	}
	return args
}

// kubeconfig is held by who binds the flag of that name, whose variable is the process's.
var kubeconfig sync.Mutex

func optionsOf(t *testing.T, args []string) manager.Options {
	t.Helper()
	kubeconfig.Lock()
	defer kubeconfig.Unlock()
	var options manager.Options
	flags := flag.NewFlagSet("manager", flag.ContinueOnError)
	manager.BindFlags(flags, &options, &zap.Options{})
	if err := flags.Parse(args); err != nil {
		t.Fatalf("the manager does not take the arguments %q: %v", args, err)
	}
	return options
}
