//go:build linux

package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// process is a part of the cluster that runs.
type process struct {
	name, log string
	ended     chan struct{}
	err       error
}

// start starts a program whose output goes to a file.
func start(logs, name, path string, args ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(logs, name+".log"), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	command := exec.Command(path, args...) //nolint:gosec // The programs are those of the cluster.
	command.Stdout, command.Stderr = log, log
	if err := errors.Join(command.Start(), log.Close()); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = command.Wait()
		close(p.ended)
	}()
	return p, nil
}

// errEnded is why a part of the cluster ended that says that all is well.
var errEnded = errors.New("it should go on")

// pollEvery is how often something awaited is looked at.
const pollEvery = 100 * time.Millisecond

// await returns once ready returns nil. If the process ends before or ctx does, the error has the end of its log.
func (p *process) await(ctx context.Context, ready func(context.Context) error) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended: %w, its log:\n%s", p.name, cmp.Or(p.err, errEnded), tail(p.log))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w, its log:\n%s", p.name, err, tail(p.log))
		case <-ticker.C:
		}
	}
}

// tailLines is how much of a log goes into an error.
const tailLines = 30

// tail returns the last lines of a file.
func tail(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

// run runs a command that ends; what it prints is in the error.
func run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput() //nolint:gosec // The programs are those of the cluster.
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return nil
}
