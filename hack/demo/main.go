// The demo shows the main job of Rollcall on this machine: a real API server, a real NATS server, the manager as a process
// of its own, and a small fleet that registers and heartbeats. It checks everything that it says.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rollcall-dev/rollcall/internal/natstest"
	"github.com/rollcall-dev/rollcall/internal/testenv"
)

func main() {
	once := flag.Bool("once", false, "End after the demonstration; the exit code says whether everything came out as said.")
	manager := flag.String("manager", "bin/manager", "The manager's binary.")
	flag.Parse()
	if err := demonstrate(*manager, *once); err != nil {
		fmt.Fprintln(os.Stderr, "demo: failed:", err)
		os.Exit(1)
	}
}

// demonstrate runs the demo until it is over or interrupted.
func demonstrate(manager string, once bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, manager, once)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // Ctrl-C is how a demo ends.
	}
	return err
}

func say(format string, args ...any) { fmt.Printf("\n==> "+format+"\n", args...) }

func run(ctx context.Context, manager string, once bool) (err error) {
	dir, err := os.MkdirTemp("", "rollcall-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	say("starting the API server")
	env, err := testenv.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, env.Stop()) }()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := env.WriteKubeconfig(kubeconfig); err != nil {
		return err
	}

	say("starting NATS with JetStream")
	nats, err := natstest.Run(natstest.Options{Dir: filepath.Join(dir, "jetstream")})
	if err != nil {
		return err
	}
	defer nats.Stop()

	say("starting the manager: %s", manager)
	process, err := startManager(manager, kubeconfig)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, process.stop()) }()

	d := &demo{kubeconfig: kubeconfig, kubectl: env.Kubectl, nats: nats.URL()}
	if err := d.connect(env.Config); err != nil {
		return err
	}
	defer d.fleet.stop()
	began := time.Now()
	if err := d.show(ctx); err != nil {
		return errors.Join(err, process.explain())
	}
	say("everything came out as said, in %s", time.Since(began).Round(time.Second))
	if once {
		return nil
	}
	say("it stays up until Ctrl-C. In another terminal:\n\n    export KUBECONFIG=%s\n    %s -n %s get discoverednodes --watch\n\n    NATS is at %s", kubeconfig, env.Kubectl, namespace, nats.URL())
	<-ctx.Done()
	return nil
}
