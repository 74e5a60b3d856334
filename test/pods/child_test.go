package pods

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/rollcall-dev/rollcall/internal/manager"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

// The environment of a child: the kubeconfig, and the namespace to work in.
const (
	childKubeconfig = "ROLLCALL_TEST_KUBECONFIG"
	childNamespace  = "ROLLCALL_TEST_NAMESPACE"
)

// child runs a manager and never returns if this process was started for that, so that it can be killed.
func child() {
	kubeconfig := os.Getenv(childKubeconfig)
	if kubeconfig == "" {
		return
	}
	ctrl.SetLogger(logr.Discard())
	if err := runChild(kubeconfig, os.Getenv(childNamespace)); err != nil {
		fmt.Fprintln(os.Stderr, "manager:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runChild(kubeconfig, namespace string) error {
	conf, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	m, err := manager.New(context.Background(), conf, manager.Options{
		Namespaces: []string{namespace}, MetricsAddress: "0", ProbeAddress: "0", ClusterName: here,
		LeaderElect: true, LeaderElectionNamespace: namespace, AllowedServers: testrig.Loopback(),
	})
	if err != nil {
		return err
	}
	return m.Start(ctrl.SetupSignalHandler())
}

// spawn starts a manager with leader election in a process of its own, and returns what kills it.
func (r *rig) spawn() (kill func()) {
	r.Helper()
	kubeconfig := filepath.Join(r.TempDir(), "kubeconfig")
	if err := env.WriteKubeconfig(kubeconfig); err != nil {
		r.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		r.Fatal(err)
	}
	command := exec.Command(program)
	command.Env = append(os.Environ(), childKubeconfig+"="+kubeconfig, childNamespace+"="+r.Namespace)
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		r.Fatal(err)
	}
	done := false
	kill = func() {
		if !done {
			done = true
			_ = command.Process.Kill()
			_ = command.Wait()
		}
	}
	r.Cleanup(kill)
	return kill
}

// leases is how long it takes at most until a replica takes over from a leader that died without a word.
const leases = 25 * time.Second
