package agent

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// The exit codes; docs/agent.md tells them to users. A good end, and the help, are 0.
const (
	exitFailure   = 1
	exitBadConfig = 2
)

// commandStop is the argument that makes the program ask another agent to end.
const commandStop = "stop"

// Main is the program: it runs an agent until a signal ends it, and returns the exit code. The arguments exclude the
// program's name. A second signal ends the process at once.
func Main(arguments []string, environment Environment, stdout, stderr io.Writer) int {
	err := run(arguments, environment, stdout, stderr)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	// Without a place to say why, the exit code remains.
	_, _ = fmt.Fprintln(stderr, "rollcall-agent:", err)
	if _, wrong := errors.AsType[*ConfigError](err); wrong {
		return exitBadConfig
	}
	return exitFailure
}

func run(arguments []string, environment Environment, stdout, stderr io.Writer) error {
	if len(arguments) > 0 && arguments[0] == commandStop {
		return stop(arguments[1:])
	}
	config, err := Parse(arguments, environment, stdout)
	if err != nil {
		return err
	}
	ctx, end := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer end()
	context.AfterFunc(ctx, endOnNextSignal)
	return Run(ctx, config, newLogger(stderr, config))
}

// endOnNextSignal ends the process with the next signal, whatever it is doing.
func endOnNextSignal() {
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	<-again
	os.Exit(exitFailure)
}
