package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

const (
	// maxOutput bounds what is kept of a command's output; the rest is dropped.
	maxOutput = 4096
	// pipeDelay bounds the wait for the output of what a command has left running.
	pipeDelay = 500 * time.Millisecond
)

// runCommand runs a line of the shell and returns what it prints. At the end of ctx the shell is ended, with all that it has
// started.
func runCommand(ctx context.Context, line string) (string, error) {
	cmd := shell(ctx, line)
	var stdout, stderr head
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &stdout, &stderr, pipeDelay
	err := cmd.Run()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return stdout.String(), nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("the command did not end in time: %w", ctx.Err())
	}
	if said := strings.TrimSpace(stderr.String()); said != "" {
		return "", fmt.Errorf("%w: %s", err, said)
	}
	return "", err
}

// head keeps the beginning of what is written to it.
type head struct{ bytes.Buffer }

// Write implements io.Writer.
func (h *head) Write(p []byte) (int, error) {
	h.Buffer.Write(p[:min(len(p), maxOutput-h.Len())])
	return len(p), nil
}
