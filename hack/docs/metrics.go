package main

import (
	"fmt"
	"strings"

	"github.com/rollcall-dev/rollcall/controllers/metrics"
)

func metricsPage() string {
	b := page("Metrics", "controllers/metrics/definitions.go",
		"The manager serves them at `/metrics` on `--metrics-bind-address`, to those who [may read them](../security.md#metrics).\n"+
			"Those of a registry are served by the replica that leads, and vanish with the NodeRegistry; none has a label that a node\n"+
			"could fill with values of its own.\n\n"+
			"Beside them there are those of controller-runtime. The ones to look at: `controller_runtime_reconcile_errors_total`\n"+
			"(writes that fail and are tried again), `workqueue_depth` (what waits to be written), `leader_election_master_status` (who\n"+
			"leads) and `rest_client_requests_total` (every request to the API server by its code).")
	for _, d := range metrics.Definitions() {
		fmt.Fprintf(b, "\n## `%s`\n\nA %s. %s\n", d.Name, d.Type, d.Help)
		rows := make([][]string, 0, len(d.Labels))
		for _, label := range d.Labels {
			rows = append(rows, []string{"`" + label.Name + "`", label.Values})
		}
		if len(rows) > 0 {
			table(b, []string{"Label", "Values"}, rows)
		}
		fmt.Fprintf(b, "\n**What to do:** %s\n", names(d.Action))
	}
	return b.String()
}

// names returns the text with the names of metrics in it as code.
func names(text string) string {
	words := strings.Fields(text)
	for i, word := range words {
		if bare := strings.TrimRight(word, ".,:;"); strings.HasPrefix(bare, "rollcall") || strings.Contains(bare, "_") {
			words[i] = "`" + bare + "`" + word[len(bare):]
		}
	}
	return strings.Join(words, " ")
}
