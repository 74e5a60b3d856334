package main

import (
	"flag"

	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/rollcall-dev/rollcall/internal/manager"
)

func flagsPage() string {
	flags := flag.NewFlagSet("manager", flag.ContinueOnError)
	manager.BindFlags(flags, &manager.Options{}, &zap.Options{})
	b := page("Flags of the manager", "internal/manager/flags.go",
		"`manager --help` prints the same. Those that begin with `--zap` set the log.")
	var rows [][]string
	flags.VisitAll(func(f *flag.Flag) {
		kind, usage := flag.UnquoteUsage(f)
		if kind == "" {
			kind = "bool"
		}
		byDefault := ""
		if f.DefValue != "" {
			byDefault = "`" + f.DefValue + "`"
		}
		rows = append(rows, []string{"`--" + f.Name + "`", kind, byDefault, usage})
	})
	table(b, []string{"Flag", "Type", "Default", "Meaning"}, rows)
	return b.String()
}
