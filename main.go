// The manager of Rollcall: it runs all controllers. See package controllers for how they work together.
package main

import (
	"context"
	"flag"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/rollcall-dev/rollcall/internal/manager"
	"github.com/rollcall-dev/rollcall/internal/natsserver"
)

func main() {
	run := runManager
	if len(os.Args) > 1 && os.Args[1] == natsserver.Command {
		run = runNATSServer
	}
	if err := run(ctrl.SetupSignalHandler()); err != nil {
		ctrl.Log.Error(err, "manager failed")
		os.Exit(1)
	}
}

func runManager(ctx context.Context) error {
	var o manager.Options
	var logging zap.Options
	manager.BindFlags(flag.CommandLine, &o, &logging)
	flag.Parse()
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&logging)))
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	mgr, err := manager.New(ctx, config, o)
	if err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// runNATSServer runs the NATS server for trying Rollcall out instead of the manager.
func runNATSServer(ctx context.Context) error {
	var o natsserver.Options
	flags := flag.NewFlagSet(natsserver.Command, flag.ExitOnError)
	natsserver.BindFlags(flags, &o)
	ctrl.SetLogger(zap.New())
	if err := flags.Parse(os.Args[2:]); err != nil {
		return err
	}
	return natsserver.Run(ctx, o)
}
