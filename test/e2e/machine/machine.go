//go:build linux

package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

const (
	// roleVariable tells a copy of this program which of the three it is: unset outside, see the constants below.
	roleVariable = "ROLLCALL_E2E_ROLE"
	// dirVariable is the folder of the machine.
	dirVariable = "ROLLCALL_E2E_DIR"
	// roleInit is the first process of the machine.
	roleInit = "init"
	// roleInside runs the test in the machine.
	roleInside = "inside"
)

// prefix starts the names of the folder in the temporary folder and of the control group.
const prefix = "rollcall-e2e-"

// The kernel sends the death signal of a child when the thread that started it ends, so that must be the main thread.
func init() {
	if os.Getenv(roleVariable) == "" {
		runtime.LockOSThread()
	}
}

// Options are the two halves of a test.
type Options struct {
	// Prepare runs outside, with the host's network, before the machine is made; it leaves in dir what Run needs.
	Prepare func(ctx context.Context, dir string) error
	// Run runs the test in the machine and returns its exit code.
	Run func() int
}

// Main runs a test in a machine of its own, and returns the exit code for the program: that of o.Run, or 1 if the machine
// could not be made or left something on the host. It starts copies of this program with the same arguments, so it
// must be called before anything else is done; only the innermost copy calls o.Run. It needs root.
func Main(o Options) int {
	switch os.Getenv(roleVariable) {
	case roleInit:
		return first()
	case roleInside:
		return o.Run()
	}
	code, err := outside(o.Prepare)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return code
}

// Dir is the folder of the machine, which is removed when the machine ends. It is only known to Options.Run.
func Dir() string { return os.Getenv(dirVariable) }

// Cgroup is the path of the control group, in every hierarchy, under which the machine makes its own. It is only known to
// Options.Run.
func Cgroup() string { return "/" + filepath.Base(Dir()) }

// outside prepares, makes the machine, waits until it ends, and clears up.
func outside(prepare func(context.Context, string) error) (int, error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("run it as root: it makes namespaces and control groups")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	if err := sweep(); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return 1, err
	}
	unlock, err := lock(dir)
	if err != nil {
		return 1, err
	}
	defer unlock()
	if err := prepare(ctx, dir); err != nil {
		return 1, errors.Join(err, os.RemoveAll(dir))
	}
	before, err := survey()
	if err != nil {
		return 1, errors.Join(err, os.RemoveAll(dir))
	}
	code, err := boot(ctx, dir)
	return code, errors.Join(err, tidy(dir), leftovers(before))
}

// sweep removes what is left of machines whose process outside was killed: they have ended with it.
func sweep() error {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		unlock, err := lock(dir)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			continue // It is another test's, which runs.
		}
		if err != nil {
			return err
		}
		err = tidy(dir)
		unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// lock locks a machine's folder, for as long as this process lives or until the function that it returns is called. The
// error is EWOULDBLOCK if another process has locked it.
func lock(dir string) (func(), error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), folder.Close())
	}
	return func() { _ = folder.Close() }, nil
}

// boot starts the first process of the machine and waits until it ends, or kills it when ctx does.
func boot(ctx context.Context, dir string) (int, error) {
	if err := makeCgroups(filepath.Base(dir)); err != nil {
		return 1, err
	}
	command := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...) //nolint:gosec // It is this program.
	command.Env = append(os.Environ(), roleVariable+"="+roleInit, dirVariable+"="+dir)
	command.Stdin, command.Stdout, command.Stderr = nil, os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
		// A terminal sends its interrupt to the group: only the process outside is to act on it.
		Setpgid: true,
	}
	err := command.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return 1, errors.New("interrupted")
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// tidyTimeout bounds how long the kernel may take to let go of control groups whose processes have ended.
const tidyTimeout = 20 * time.Second

// tidy removes what is not in a namespace.
func tidy(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), tidyTimeout)
	defer cancel()
	return errors.Join(removeCgroups(ctx, filepath.Base(dir)), os.RemoveAll(dir))
}
