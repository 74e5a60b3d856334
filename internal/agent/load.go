package agent

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// load reads the machine's load. A failure is said in the log once, until the next success.
type load struct {
	source  func(context.Context) (float64, error) // nil: there is none
	log     *slog.Logger
	failing bool
}

func newLoad(l Load, log *slog.Logger) load {
	switch {
	case l.Command != "":
		return load{log: log, source: func(ctx context.Context) (float64, error) { return loadOfCommand(ctx, l) }}
	case l.Source == loadAverage:
		return load{log: log, source: func(context.Context) (float64, error) { return averageLoad(procfs.DefaultMountPoint) }}
	}
	return load{}
}

// read returns the load, and false if there is none. It belongs to one goroutine.
func (l *load) read(ctx context.Context) (float64, bool) {
	if l.source == nil {
		return 0, false
	}
	value, err := l.source(ctx)
	switch {
	case ctx.Err() != nil:
		return 0, false
	case err != nil && !l.failing:
		l.log.Warn("the load can't be read, heartbeats go on with the last one", "error", err)
	case err == nil && l.failing:
		l.log.Info("the load can be read again")
	}
	l.failing = err != nil
	return value, err == nil
}

// averageLoad returns the load average of the last minute, divided by the number of processors.
func averageLoad(proc string) (float64, error) {
	fs, err := procfs.NewFS(proc)
	if err != nil {
		return 0, err
	}
	average, err := fs.LoadAvg()
	if err != nil {
		return 0, err
	}
	return average.Load1 / float64(runtime.NumCPU()), nil
}

func loadOfCommand(ctx context.Context, l Load) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	output, err := runCommand(ctx, l.Command)
	if err != nil {
		return 0, fmt.Errorf("--load-command: %w", err)
	}
	text := strings.TrimSpace(output)
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
		return 0, fmt.Errorf("--load-command printed %.100q, a number is expected", text)
	}
	return value, nil
}
