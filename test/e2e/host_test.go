//go:build e2e && linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rollcall-dev/rollcall/test/e2e/cluster"
	"github.com/rollcall-dev/rollcall/test/e2e/machine"
)

// natsOutside is the NATS server for machines outside of the cluster, see manifests/nats.yaml.
const natsOutside = "nats://" + cluster.NodeAddress + ":30422"

// host is a machine outside of the cluster.
type host struct {
	cluster.Host
	server, agent *exec.Cmd
}

// addHost makes a machine outside of the cluster that serves HTTP on port 8080.
func (s *stage) addHost(name string, number int) {
	s.Helper()
	added, err := cluster.AddHost(s.Context(), name, number)
	if err != nil {
		s.Fatal(err)
	}
	h := &host{Host: added}
	s.hosts[name] = h
	h.serve(s.T)
}

// serve starts the host's HTTP server, which answers with the host's name.
func (h *host) serve(t *testing.T) {
	t.Helper()
	h.server = h.start(t, "web", "--name="+h.Name, "--listen=:8080")
}

// register starts the host's agent, as docs/agent.md says. It finds out by itself the address at which the host is reached.
func (h *host) register(t *testing.T) {
	t.Helper()
	h.agent = h.start(t, "rollcall-agent", "--servers="+natsOutside, "--node-id="+h.Name, "--ports=http:8080", "--metadata=role=web",
		"--heartbeat-interval=2s")
}

// start starts a program on the host; it lives until it is told to end, or the machine of the test does.
func (h *host) start(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	command := h.Command(context.WithoutCancel(t.Context()), filepath.Join(machine.Dir(), program), args...)
	log, err := os.OpenFile(filepath.Join(machine.Dir(), "cluster", "logs", fmt.Sprintf("%s-%s.log", h.Name, program)), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	command.Stdout, command.Stderr = log, log
	if err := errors.Join(command.Start(), log.Close()); err != nil {
		t.Fatal(err)
	}
	return command
}

// unregister ends the agent in good order.
func (h *host) unregister(t *testing.T) {
	t.Helper()
	if err := h.agent.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := h.agent.Wait(); err != nil {
		t.Fatalf("the agent of %s: %v", h.Name, err)
	}
}

// die ends all that runs on the host without a warning.
func (h *host) die(t *testing.T) {
	t.Helper()
	for _, process := range []*exec.Cmd{h.agent, h.server} {
		if err := process.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	// That they were killed is what Wait says.
	_, _ = h.agent.Wait(), h.server.Wait()
}
