package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// stop asks an agent to end, as SIGTERM does: the one with the process ID that is the argument, or 1, which an agent has
// in a container of its own. It is for the preStop hook of an image that has no kill in it. A process that is no agent is
// left alone.
func stop(arguments []string) error {
	pid := 1
	if len(arguments) > 0 {
		var err error
		if pid, err = strconv.Atoi(arguments[0]); err != nil || pid < 1 || len(arguments) > 1 {
			return refuse("stop takes the process ID of an agent; without one it is 1")
		}
	}
	own, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("stop needs /proc: %w", err)
	}
	other, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
	if err != nil {
		return fmt.Errorf("looking at process %d: %w", pid, err)
	}
	if own != other {
		return refuse("process %d is %s and no agent: give the process ID of the agent", pid, other)
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return process.Signal(syscall.SIGTERM)
}
