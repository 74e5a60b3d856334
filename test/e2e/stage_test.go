//go:build e2e && linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/test/e2e/cluster"
	"github.com/rollcall-dev/rollcall/test/e2e/machine"
)

const (
	// fleet is the namespace of the team that has the machines.
	fleet = "fleet"
	// system is the namespace that Rollcall is installed in.
	system = "rollcall-system"
	// ttl is the bucket's, see manifests/fleet.yaml.
	ttl = 10 * time.Second
	// patience bounds the wait for what has no bound of its own to be measured.
	patience = 2 * time.Minute
)

// stage is what the acts of the test play on; an act fails through it, see in.
type stage struct {
	*testing.T
	*cluster.Cluster
	client client.Client
	// hosts are the machines outside of the cluster, by their names.
	hosts map[string]*host
	// before are the objects that were there before Rollcall was installed.
	before map[string]bool
}

// setUp brings up a cluster with the images that were built.
func setUp(t *testing.T) *stage {
	t.Helper()
	dir := machine.Dir()
	archives, err := filepath.Glob(filepath.Join(dir, "*.tar"))
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{T: t, hosts: map[string]*host{}}
	ctx, cancel := context.WithTimeout(t.Context(), bringUpLimit)
	defer cancel()
	s.Cluster, err = cluster.Start(ctx, cluster.Options{
		Dir: filepath.Join(dir, "cluster"), Binaries: os.Getenv(assetsVariable), Cgroup: machine.Cgroup(), Images: archives,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := rollcallv1alpha1.AddToScheme(scheme.Scheme); err != nil {
		t.Fatal(err)
	}
	if s.client, err = client.New(s.Config, client.Options{Scheme: scheme.Scheme}); err != nil {
		t.Fatal(err)
	}
	return s
}

// kubectl runs kubectl as an administrator, and returns what it prints.
func (s *stage) kubectl(args ...string) string {
	s.Helper()
	return s.run(s.Kubectl, args...)
}

// helm runs helm as an administrator.
func (s *stage) helm(args ...string) string {
	s.Helper()
	return s.run(filepath.Join(machine.Dir(), "helm"), args...)
}

func (s *stage) run(path string, args ...string) string {
	s.Helper()
	command := exec.CommandContext(s.Context(), path, args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+s.Kubeconfig, "HOME="+machine.Dir())
	out, err := command.CombinedOutput()
	if err != nil {
		s.Fatalf("%s %s: %v\n%s", filepath.Base(path), strings.Join(args, " "), err, out)
	}
	return string(out)
}

// in returns the stage for an act that is this test.
func (s *stage) in(t *testing.T) *stage {
	t.Helper()
	s.T = t
	return s
}

// within fails the test unless check returns nil in time.
func (s *stage) within(limit time.Duration, what string, check func(context.Context) error) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), limit)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			s.Fatalf("%s: not within %v: %v", what, limit, errors.Join(err, context.Cause(ctx)))
		case <-ticker.C:
		}
	}
}

// get reads an object.
func get[T client.Object](s *stage, namespace, name string, object T) T {
	s.Helper()
	if err := s.client.Get(s.Context(), client.ObjectKey{Namespace: namespace, Name: name}, object); err != nil {
		s.Fatal(fmt.Errorf("get %s/%s: %w", namespace, name, err))
	}
	return object
}
