package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// process is the manager, running.
type process struct {
	command *exec.Cmd
	log     string
	exited  chan error
}

// startManager starts the manager as its user would; only what it would serve to a cluster is turned off.
func startManager(binary, kubeconfig string) (*process, error) {
	path, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	p := &process{log: filepath.Join(filepath.Dir(kubeconfig), "manager.log"), exited: make(chan error, 1)}
	file, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	p.command = exec.Command(path, "--kubeconfig", kubeconfig, //nolint:gosec // The caller names the binary.
		"--metrics-bind-address=0", "--health-probe-bind-address=0", "--allowed-server=127.0.0.0/8", "--allowed-server=::1")
	p.command.Stdout, p.command.Stderr = file, file
	// A group of its own: a terminal's Ctrl-C goes to the demo alone, which ends the manager when its time has come.
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := errors.Join(p.command.Start(), file.Close()); err != nil {
		return nil, fmt.Errorf("start the manager (make build makes it): %w", err)
	}
	go func() { p.exited <- p.command.Wait() }()
	return p, nil
}

// stop asks the manager to end, and returns how it ended if that was not as asked.
func (p *process) stop() error {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := <-p.exited; err != nil {
		return errors.Join(fmt.Errorf("the manager ended: %w", err), p.explain())
	}
	return nil
}

// explain returns the end of the manager's log as an error.
func (p *process) explain() error {
	const most = 4000
	log, err := os.ReadFile(p.log)
	if err != nil {
		return err
	}
	return fmt.Errorf("the manager's log ends with:\n%s", log[max(0, len(log)-most):])
}
