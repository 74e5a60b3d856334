package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/rollcall-dev/rollcall/internal/chartvalues"
)

func valuesPage(root string) (string, error) {
	values, err := chartvalues.Read(filepath.Join(root, "charts", "rollcall", "values.yaml"))
	if err != nil {
		return "", err
	}
	b := page("Values of the chart", "charts/rollcall/values.yaml",
		"`helm show values charts/rollcall` prints them as a file to begin with. Helm refuses a value that does not fit\n"+
			"`values.schema.json` or that is not in this list. [install.md](../install.md) shows them in use.")
	var rows [][]string
	for _, v := range values {
		text, err := yaml.Marshal(v.Default)
		if err != nil {
			return "", fmt.Errorf("%s: %w", v.Path, err)
		}
		rows = append(rows, []string{"`" + v.Path + "`", defaultOf(string(text)), linked(v.Comment)})
	}
	table(b, []string{"Value", "Default", "Meaning"}, rows)
	return b.String(), nil
}

// defaultOf returns the YAML of a default as the text of a cell; an empty one says nothing.
func defaultOf(text string) string {
	switch text = strings.TrimSpace(text); text {
	case `""`, "{}", "[]", "null":
		return ""
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		indented := strings.TrimLeft(line, " ")
		lines[i] = strings.Repeat("&nbsp;", len(line)-len(indented)) + "`" + indented + "`"
	}
	return strings.Join(lines, "<br>")
}

// linked returns the text with the pages of docs in it as links.
func linked(text string) string {
	return prose(regexp.MustCompile(`docs/reference/([\w-]+\.md)`).ReplaceAllString(text, "[$1]($1)"), nil)
}
