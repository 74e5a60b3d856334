//go:build e2e && linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rollcall-dev/rollcall/test/e2e/cluster"
	"github.com/rollcall-dev/rollcall/test/e2e/image"
)

// assetsVariable names the folder with the binaries of the cluster, for the machine inside.
const assetsVariable = "KUBEBUILDER_ASSETS"

// images are the container images that the test makes of Go programs, by the file name of their archive.
var images = map[string]struct{ name, folder, program string }{
	"pause.tar":   {cluster.PauseImage, ".", "./programs/pause"},
	"coredns.tar": {cluster.NameServerImage, "../../hack/coredns", "."},
	"web.tar":     {webImage, ".", "./programs/web"},
	"caller.tar":  {callerImage, ".", "./programs/caller"},
	"nats.tar":    {natsImage, ".", "github.com/nats-io/nats-server/v2"},
}

const (
	webImage    = "rollcall.dev/e2e/web:1"
	callerImage = "rollcall.dev/e2e/caller:1"
	natsImage   = "rollcall.dev/e2e/nats-server:1"
)

// programs are what runs outside of the cluster, by the name of the binary.
var programs = map[string]string{
	"web": "./programs/web", "finder": "./programs/finder", "rollcall-agent": "../../cmd/rollcall-agent",
}

// prepare does what needs the host and its network: it installs packages, and builds the cluster and the images.
func prepare(ctx context.Context, dir string) error {
	for _, step := range []struct {
		what string
		do   func(ctx context.Context, dir string) error
	}{
		{"the distribution's packages", packages},
		{"the cluster's binaries", binaries},
		{"Rollcall's image and agent, and helm", buildProduct},
		{"the test's programs and images", buildImages},
	} {
		start := time.Now()
		if err := step.do(ctx, dir); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		done(step.what, start)
	}
	return nil
}

// done tells how long something took.
func done(what string, start time.Time) {
	fmt.Printf("==> %-62s %6.1f s\n", what, time.Since(start).Seconds())
}

func packages(ctx context.Context, _ string) error {
	command := exec.CommandContext(ctx, "./packages.sh")
	command.Stderr = os.Stderr
	return command.Run()
}

func binaries(ctx context.Context, _ string) error {
	command := exec.CommandContext(ctx, "../../hack/controlplane/build.sh", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return os.Setenv(assetsVariable, lines[len(lines)-1])
}

// buildProduct builds what a user gets: the image, as `make image` makes it, and the agent; and the helm that is pinned.
func buildProduct(ctx context.Context, dir string) error {
	if err := run(ctx, "make", "--directory=../..", "image"); err != nil {
		return err
	}
	if err := run(ctx, "cp", "../../bin/rollcall-image.tar", filepath.Join(dir, "rollcall.tar")); err != nil {
		return err
	}
	return run(ctx, "go", "-C", "../../hack/chart", "build", "-mod=readonly", "-o", filepath.Join(dir, "helm"), "helm.sh/helm/v4/cmd/helm")
}

func buildImages(ctx context.Context, dir string) error {
	for archive, i := range images {
		if err := image.Build(ctx, filepath.Join(dir, archive), i.name, i.folder, i.program); err != nil {
			return err
		}
	}
	for name, program := range programs {
		if err := run(ctx, "go", "build", "-o", filepath.Join(dir, name), program); err != nil {
			return err
		}
	}
	return nil
}

// run runs a command whose output is only of interest if it fails.
func run(ctx context.Context, name string, args ...string) error {
	command := exec.CommandContext(ctx, name, args...)
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", command, err, out)
	}
	return nil
}
