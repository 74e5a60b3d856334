package faults

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a program that can be killed and paused.
type process struct {
	name    string
	command *exec.Cmd
	exited  chan struct{}
}

// running are all processes, to be killed should the tests be interrupted.
var running = struct {
	sync.Mutex
	all map[*process]struct{}
}{all: map[*process]struct{}{}}

// killAll kills all processes.
func killAll() {
	running.Lock()
	defer running.Unlock()
	for p := range running.all {
		_ = p.command.Process.Kill()
	}
}

// spawn starts a program whose output goes to the end of a file. It is killed when the test ends, at the latest.
func spawn(t *testing.T, log string, env []string, program string, args ...string) *process {
	t.Helper()
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := &process{name: filepath.Base(log), command: exec.Command(program, args...), exited: make(chan struct{})}
	p.command.Env = append(os.Environ(), env...)
	p.command.Stdout, p.command.Stderr = file, file
	// A child of this program's own ends with its standard input, however this one ends.
	if _, err := p.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	running.Lock()
	running.all[p] = struct{}{}
	running.Unlock()
	go func() {
		_ = p.command.Wait()
		running.Lock()
		delete(running.all, p)
		running.Unlock()
		close(p.exited)
	}()
	t.Cleanup(func() { _ = p.kill() })
	return p
}

// signal sends a signal.
func (p *process) signal(s syscall.Signal) error {
	if err := p.command.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// pause stops the process where it is, resume lets it go on.
func (p *process) pause() error { return p.signal(syscall.SIGSTOP) }

func (p *process) resume() error { return p.signal(syscall.SIGCONT) }

// kill kills the process, as kill -9 does, and waits until it is gone.
func (p *process) kill() error {
	err := p.signal(syscall.SIGKILL)
	<-p.exited
	return err
}

// stop asks the process to end and waits until it has.
func (p *process) stop() error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(30 * time.Second):
		return fmt.Errorf("%s does not end", p.name)
	}
}

// alive says whether the process has not ended.
func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// endWithParent ends this process when its standard input ends, which is when its parent does.
func endWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}
