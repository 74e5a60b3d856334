// The manager of Rollcall: it runs all controllers. See package controllers for how they work together.
package main

import (
	"context"
	"flag"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/rollcall-dev/rollcall/internal/manager"
)

func main() {
	var options manager.Options
	var logging zap.Options
	manager.BindFlags(flag.CommandLine, &options, &logging)
	flag.Parse()
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&logging)))
	if err := run(ctrl.SetupSignalHandler(), options); err != nil {
		ctrl.Log.Error(err, "manager failed")
		os.Exit(1)
	}
}

func run(ctx context.Context, o manager.Options) error {
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
