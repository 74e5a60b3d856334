package main

import (
	"flag"

	"github.com/rollcall-dev/rollcall/internal/agent"
)

func agentFlagsPage() string {
	flags := flag.NewFlagSet("rollcall-agent", flag.ContinueOnError)
	agent.BindFlags(flags, &agent.Config{})
	b := page("Flags of the agent", "internal/agent/flags.go",
		"`rollcall-agent --help` prints the same; [the agent](../agent.md) says how they go together. Each can be given in the\n"+
			"environment instead; a flag goes before a variable.")
	var rows [][]string
	flags.VisitAll(func(f *flag.Flag) {
		rows = append(rows, append([]string{"`--" + f.Name + "`", "`" + agent.Variable(f.Name) + "`"}, flagMeaning(f)...))
	})
	table(b, append([]string{"Flag", "Variable"}, flagHeader...), rows)
	return b.String()
}
