//go:build linux

package machine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// ownFolders are the folders that the parts of a cluster write to, some at paths that can't be changed. The machine has its
// own, empty at first.
var ownFolders = []string{"/run", "/var/lib", "/var/log"}

// ownSettings are the kernel's settings that the kubelet changes and that no namespace holds. The machine has files in
// their place, so that the host's stay as they are.
var ownSettings = []string{
	"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
	"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

// first is the first process of the machine: it mounts what belongs to the machine, starts the test, and waits for
// processes that lost their parent. When the test ends it ends, and with it the machine.
func first() int {
	if err := errors.Join(mounts(Dir()), network()); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: make the machine:", err)
		return 1
	}
	if err := os.Setenv(roleVariable, roleInside); err != nil {
		return 1
	}
	test, err := os.StartProcess("/proc/self/exe", os.Args, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}}) //nolint:gosec // It is this program.
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e: start the test:", err)
		return 1
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1
		case pid == test.Pid && status.Exited():
			return status.ExitStatus()
		case pid == test.Pid:
			fmt.Fprintln(os.Stderr, "e2e: the test was ended by", status.Signal())
			return 1
		}
	}
}

// mounts gives the machine its processes in /proc, its own folders and its own settings.
func mounts(dir string) error {
	// What is mounted here must not reach the host; but volumes that the kubelet mounts must reach the containers.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share the mounts within the machine: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, setting := range ownSettings {
		path := filepath.Join("/proc/sys", setting)
		value, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		own := filepath.Join(dir, "settings", strings.ReplaceAll(setting, "/", "."))
		if err := os.MkdirAll(filepath.Dir(own), 0o700); err != nil {
			return err
		}
		if err := errors.Join(os.WriteFile(own, value, 0o600), bind(own, path)); err != nil { //nolint:gosec // The paths are of ownSettings.
			return err
		}
	}
	for _, folder := range ownFolders {
		own := filepath.Join(dir, "own", folder)
		if err := errors.Join(os.MkdirAll(own, 0o755), bind(own, folder)); err != nil { //nolint:gosec // As those it stands for.
			return err
		}
	}
	return nil
}

func bind(source, target string) error {
	if err := syscall.Mount(source, target, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	return nil
}

// network names the machine and brings up its loopback interface, which is all the network it has.
func network() error {
	if err := syscall.Sethostname([]byte("rollcall-e2e")); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("bring up the loopback interface: %w: %s", err, out)
	}
	return nil
}
