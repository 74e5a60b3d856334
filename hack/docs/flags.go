package main

import (
	"flag"
	"fmt"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/rollcall-dev/rollcall/internal/manager"
	"github.com/rollcall-dev/rollcall/internal/natsserver"
)

func flagsPage() string {
	flags := flag.NewFlagSet("manager", flag.ContinueOnError)
	manager.BindFlags(flags, &manager.Options{}, &zap.Options{})
	b := page("Flags of the manager", "internal/manager/flags.go and internal/natsserver",
		"`manager --help` prints the same. Those that begin with `--zap` set the log.")
	flagsTable(b, flags)

	fmt.Fprintf(b, "\n## `manager %s`\n\nWith this first argument the same program is a NATS server with JetStream, with no logins and no\n"+
		"encryption, for trying Rollcall out; the chart runs it with `embeddedNATS.enabled`. It is not for production.\n", natsserver.Command)
	flags = flag.NewFlagSet(natsserver.Command, flag.ContinueOnError)
	natsserver.BindFlags(flags, &natsserver.Options{})
	flagsTable(b, flags)
	return b.String()
}

func flagsTable(b *strings.Builder, flags *flag.FlagSet) {
	var rows [][]string
	flags.VisitAll(func(f *flag.Flag) {
		rows = append(rows, append([]string{"`--" + f.Name + "`"}, flagMeaning(f)...))
	})
	table(b, append([]string{"Flag"}, flagHeader...), rows)
}

var flagHeader = []string{"Type", "Default", "Meaning"}

// flagMeaning returns what flagHeader names.
func flagMeaning(f *flag.Flag) []string {
	kind, usage := flag.UnquoteUsage(f)
	if kind == "" {
		kind = "bool"
	}
	byDefault := ""
	if f.DefValue != "" {
		byDefault = "`" + f.DefValue + "`"
	}
	return []string{kind, byDefault, usage}
}
