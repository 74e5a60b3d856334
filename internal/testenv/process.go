package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is the API server or its etcd, to be killed, paused and started again. It finds them in /proc, so it needs Linux,
// and there must be one Env alone in the program. Its methods are not safe for concurrent use.
type Process struct {
	name    string
	pid     int
	command []string
	// exited is closed when a process has ended that was started here, and not by envtest.
	exited chan struct{}
}

// endTimeout is how long a killed process may take to be gone.
const endTimeout = 20 * time.Second

// APIServer returns the process of the API server.
func (e *Env) APIServer() (*Process, error) { return e.process("kube-apiserver") }

// Etcd returns the process of the API server's etcd.
func (e *Env) Etcd() (*Process, error) { return e.process("etcd") }

func (e *Env) process(name string) (*Process, error) {
	for _, p := range e.processes {
		if p.name == name {
			return p, nil
		}
	}
	p, err := findChild(name)
	if err != nil {
		return nil, err
	}
	e.processes = append(e.processes, p)
	return p, nil
}

// findChild finds the child of this process that runs the program of that name.
func findChild(name string) (*Process, error) {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	parent := fmt.Sprintf("\nPPid:\t%d\n", os.Getpid())
	for _, folder := range folders {
		status, err := os.ReadFile(filepath.Join(folder, "status"))
		if err != nil || !strings.Contains(string(status), parent) {
			continue
		}
		line, err := os.ReadFile(filepath.Join(folder, "cmdline"))
		command := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
		if err != nil || filepath.Base(command[0]) != name {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(folder))
		return &Process{name: name, pid: pid, command: command}, err
	}
	return nil, fmt.Errorf("testenv: this process has no child %s", name)
}

// Flag returns the value of a flag of the process; empty: it has none.
func (p *Process) Flag(name string) string {
	for _, argument := range p.command {
		if value, found := strings.CutPrefix(argument, "--"+name+"="); found {
			return value
		}
	}
	return ""
}

// Pause stops the process where it is, as SIGSTOP does.
func (p *Process) Pause() error { return p.signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (p *Process) Resume() error { return p.signal(syscall.SIGCONT) }

func (p *Process) signal(s syscall.Signal) error {
	if err := syscall.Kill(p.pid, s); err != nil {
		return fmt.Errorf("testenv: signal %s: %w", p.name, err)
	}
	return nil
}

// Kill kills the process, as kill -9 does, and waits until it is gone.
func (p *Process) Kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	for deadline := time.Now().Add(endTimeout); syscall.Kill(p.pid, 0) == nil; <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("testenv: %s does not end", p.name)
		}
	}
	return nil
}

// Start starts a process again that was killed, with the same arguments and data. It does not wait until that answers.
func (p *Process) Start() error {
	command := exec.Command(p.command[0], p.command[1:]...) //nolint:gosec // It has run before.
	if err := command.Start(); err != nil {
		return fmt.Errorf("testenv: start %s again: %w", p.name, err)
	}
	exited := make(chan struct{})
	p.pid, p.exited = command.Process.Pid, exited
	go func() {
		_ = command.Wait()
		close(exited)
	}()
	return nil
}

// end ends the process if it was started here: envtest knows nothing of it.
func (p *Process) end() error {
	if p.exited == nil {
		// One that is paused would not hear that it is to end.
		if err := syscall.Kill(p.pid, syscall.SIGCONT); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("testenv: signal %s: %w", p.name, err)
		}
		return nil
	}
	_ = syscall.Kill(p.pid, syscall.SIGKILL)
	<-p.exited
	return nil
}

// endProcesses ends what was started again, the API server before its etcd.
func (e *Env) endProcesses() error {
	var errs []error
	for _, name := range []string{"kube-apiserver", "etcd"} {
		if i := slices.IndexFunc(e.processes, func(p *Process) bool { return p.name == name }); i >= 0 {
			errs = append(errs, e.processes[i].end())
		}
	}
	return errors.Join(errs...)
}
