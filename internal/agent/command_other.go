//go:build !unix

package agent

import (
	"context"
	"os/exec"
)

// shell returns the command for a line.
func shell(ctx context.Context, line string) *exec.Cmd {
	return exec.CommandContext(ctx, "cmd", "/C", line) //nolint:gosec // The line is the administrator's own.
}
