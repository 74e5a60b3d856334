// Package testenv runs a real Kubernetes API server, with the custom resources of Rollcall, for tests and the demo.
//
// There is an API server and an etcd, but nothing else of a cluster: no scheduler, no kubelet and no controllers, so
// pods never run, and owned objects are not garbage collected.
package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// Env is a running API server.
type Env struct {
	// Config connects to the API server as an administrator, with no limit on the rate of requests.
	Config *rest.Config

	// Kubectl is the path of a kubectl of the API server's version.
	Kubectl string

	// AuditLog is the path of the API server's audit log; empty: it keeps none.
	AuditLog string

	environment *envtest.Environment
	directory   string // of the audit log
	processes   []*Process
}

// Start starts an API server and installs the custom resources in config/crd/bases. The binaries come from the folder
// that $KUBEBUILDER_ASSETS names; if it is not set, hack/controlplane builds them, which takes minutes the first time.
// The caller must call Stop, also to be rid of the processes.
func Start(ctx context.Context, options ...Option) (*Env, error) {
	root, err := repositoryRoot()
	if err != nil {
		return nil, err
	}
	binaries, err := binaries(ctx, root)
	if err != nil {
		return nil, err
	}
	environment := &envtest.Environment{
		BinaryAssetsDirectory:    binaries,
		CRDDirectoryPaths:        []string{filepath.Join(root, "config", "crd", "bases")},
		ErrorIfCRDPathMissing:    true,
		UseExistingCluster:       new(false),
		ControlPlaneStartTimeout: time.Minute,
		ControlPlaneStopTimeout:  20 * time.Second,
	}
	// Without this the API server waits a minute for open watches when it is stopped, with it two seconds.
	environment.ControlPlane.GetAPIServer().Configure().Set("shutdown-send-retry-after", "true")
	env := &Env{Kubectl: filepath.Join(binaries, "kubectl"), environment: environment}
	for _, option := range options {
		if err := option(env); err != nil {
			return nil, errors.Join(err, env.clean())
		}
	}
	env.Config, err = environment.Start()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the control plane of %s: %w", binaries, err), environment.Stop(), env.clean())
	}
	env.Config.QPS = -1
	env.Config.Burst = -1
	return env, nil
}

// WriteKubeconfig writes a kubeconfig with the access of Config to a file, which only its owner can read.
func (e *Env) WriteKubeconfig(path string) error {
	if err := os.WriteFile(path, e.environment.KubeConfig, 0o600); err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	return nil
}

// Stop stops the API server and removes its data.
func (e *Env) Stop() error {
	if err := errors.Join(e.endProcesses(), e.environment.Stop(), e.clean()); err != nil {
		return fmt.Errorf("stop the control plane: %w", err)
	}
	return nil
}

// repositoryRoot returns the root of the checkout that this file was compiled from.
func repositoryRoot() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return "", errors.New("the path of the checkout is not compiled in: build without -trimpath")
	}
	return filepath.Join(filepath.Dir(file), "..", ".."), nil
}

// binaries returns the folder with kube-apiserver, etcd and kubectl, and builds them if need be.
func binaries(ctx context.Context, root string) (string, error) {
	command := exec.CommandContext(ctx, filepath.Join(root, "hack", "controlplane", "build.sh")) //nolint:gosec // The path is a part of the checkout.
	var stdout bytes.Buffer
	command.Stdout, command.Stderr = &stdout, os.Stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("find or build the control plane with %s: %w", command.Path, err)
	}
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	return lines[len(lines)-1], nil
}
