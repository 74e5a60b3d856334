// Docs writes the pages of docs/reference that are made from the code: conditions, metrics, flags, labels and annotations,
// and the values of the chart.
// Run it at the root of the checkout; `make docs` does.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	pages, err := pages(root)
	if err != nil {
		return err
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(root, "docs", "reference", name), []byte(text), 0o644); err != nil { //nolint:gosec // Everybody may read it.
			return err
		}
	}
	return nil
}

// pages returns the text of every generated page by its file name.
func pages(root string) (map[string]string, error) {
	api := filepath.Join(root, "api", "v1alpha1")
	conditions, err := parse(filepath.Join(api, "conditions.go"))
	if err != nil {
		return nil, err
	}
	names, err := parse(filepath.Join(api, "labels.go"))
	if err != nil {
		return nil, err
	}
	conditionsPage, err := conditionsPage(conditions, append(conditions, names...))
	if err != nil {
		return nil, err
	}
	valuesPage, err := valuesPage(root)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"conditions.md":  conditionsPage,
		"annotations.md": namesPage(names),
		"flags.md":       flagsPage(),
		"agent-flags.md": agentFlagsPage(),
		"metrics.md":     metricsPage(),
		"values.md":      valuesPage,
	}, nil
}
