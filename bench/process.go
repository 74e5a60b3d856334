package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// patience is how long anything may take that is no figure.
	patience = 2 * time.Minute
	// poll is how often a condition is looked at while nothing is measured.
	poll = 100 * time.Millisecond
)

// process is a child at work; it answers on a loopback address.
type process struct {
	command *exec.Cmd
	stdin   io.Closer
	url     string
	exited  chan error
}

// spawn starts a child. It is stopped with the rig, at the latest, and ends by itself should this process go.
func (g *rig) spawn(ctx context.Context, child string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, stdout, err := g.launch(ctx, child, self, append([]string{child}, args...)...)
	if err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("%s said nothing: %w", child, err)
	}
	p.url = "http://" + strings.TrimSpace(line)
	err = until(ctx, child+" to be ready", func(ctx context.Context) (bool, error) {
		s, err := p.status(ctx)
		return s.Ready, err
	})
	return p, err
}

// launch starts a program with its log in a file of the rig.
func (g *rig) launch(ctx context.Context, name, binary string, args ...string) (*process, io.Reader, error) {
	log, err := os.Create(filepath.Join(g.logs(), fmt.Sprintf("%s-%d.log", name, len(g.closing))))
	if err != nil {
		return nil, nil, err
	}
	p := &process{command: exec.CommandContext(ctx, binary, args...), exited: make(chan error, 1)} //nolint:gosec // Itself, or a binary of the control plane.
	p.command.Stderr = log
	p.command.Cancel = func() error { return p.command.Process.Signal(syscall.SIGTERM) }
	p.command.WaitDelay = 10 * time.Second
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if p.stdin, err = p.command.StdinPipe(); err != nil {
		return nil, nil, err
	}
	if err := errors.Join(p.command.Start(), log.Close()); err != nil {
		return nil, nil, err
	}
	go func() { p.exited <- p.command.Wait() }()
	g.closing = append(g.closing, p.stop)
	return p, stdout, nil
}

// stop ends the process and waits for it. Stopping it again does nothing.
func (p *process) stop() error {
	err := p.command.Process.Signal(syscall.SIGTERM)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	err = <-p.exited
	p.exited <- nil
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && !exit.Exited() {
		return nil // By the signal.
	}
	return err
}

// status asks the child how it is.
func (p *process) status(ctx context.Context) (status, error) { return p.ask(ctx, "/status") }

// settled asks the child how it is after a garbage collection.
func (p *process) settled(ctx context.Context) (status, error) {
	return p.ask(ctx, "/status?collect=1")
}

func (p *process) ask(ctx context.Context, path string) (s status, err error) {
	body, err := p.get(ctx, path)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(body, &s)
}

func (p *process) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, response.Status)
	}
	return io.ReadAll(response.Body)
}

// metrics returns the metrics that a manager serves.
func (p *process) metrics(ctx context.Context) (series, error) {
	body, err := p.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	return parseMetrics(body)
}

// quiet is how long a manager must have had nothing to do to count as idle.
const quiet = time.Second

// idle waits until the manager has had nothing to do for a while; if controllers are given, until these have.
func (p *process) idle(ctx context.Context, controllers ...string) error {
	since := time.Now()
	return until(ctx, "the manager to be idle", func(ctx context.Context) (bool, error) {
		m, err := p.metrics(ctx)
		if m.work(controllers...) > 0 {
			since = time.Now()
		}
		return time.Since(since) > quiet, err
	})
}

// until polls until the condition holds; not for what is measured.
func until(ctx context.Context, what string, holds func(context.Context) (bool, error)) error {
	if err := wait.PollUntilContextTimeout(ctx, poll, patience, true, holds); err != nil {
		return fmt.Errorf("waited for %s: %w", what, err)
	}
	return nil
}

// pause waits for a while, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
