//go:build linux

package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

const (
	bridge        = "fleet0"
	bridgeAddress = NodeAddress + "/24"
)

// setUpNetwork makes the bridge that the cluster's node and the external nodes are on.
func setUpNetwork(ctx context.Context) error {
	for _, args := range [][]string{
		{"link", "add", bridge, "type", "bridge"},
		{"address", "add", bridgeAddress, "dev", bridge},
		{"link", "set", bridge, "up"},
	} {
		if err := run(ctx, "ip", args...); err != nil {
			return err
		}
	}
	for path, value := range map[string]string{
		"/proc/sys/net/ipv4/ip_forward": "1",
		// An answer from one pod to another, through a Service, must pass the packet filter to be translated back.
		"/proc/sys/net/bridge/bridge-nf-call-iptables": "1",
	} {
		if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
			return fmt.Errorf("set up the machine's network: %w", err)
		}
	}
	return nil
}

// Host is a machine outside the cluster: a network namespace with an address of its own.
type Host struct {
	// Name is the name of the namespace.
	Name string
	// Address is the host's IP address.
	Address string
}

// AddHost makes a machine outside of the running cluster: number is the last part of its address, from 11 to 254.
func AddHost(ctx context.Context, name string, number int) (Host, error) {
	host := Host{Name: name, Address: fmt.Sprintf("10.77.0.%d", number)}
	outer := fmt.Sprintf("fleet-%d", number)
	for _, args := range [][]string{
		{"netns", "add", name},
		{"link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", name},
		{"link", "set", outer, "master", bridge, "up"},
		{"-n", name, "address", "add", host.Address + "/24", "dev", "eth0"},
		{"-n", name, "link", "set", "lo", "up"},
		{"-n", name, "link", "set", "eth0", "up"},
		{"-n", name, "route", "add", "default", "via", NodeAddress},
	} {
		if err := run(ctx, "ip", args...); err != nil {
			return Host{}, err
		}
	}
	return host, nil
}

// Command returns a command that runs on the host.
func (h Host) Command(ctx context.Context, path string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", h.Name, path}, args...)...) //nolint:gosec // The test says what is run.
}
