package main

import (
	"fmt"
	"strings"
)

func namesPage(groups []group) string {
	b := page("Labels, annotations and other names", "api/v1alpha1/labels.go",
		"These names are a part of the API: they change as seldom as its fields do.")
	for _, section := range []struct {
		title string
		has   func(name string) bool
	}{
		{"Labels", func(name string) bool { return strings.HasPrefix(name, "Label") }},
		{"Annotations", func(name string) bool { return strings.HasPrefix(name, "Annotation") }},
		{"Values and other names", func(name string) bool {
			return !strings.HasPrefix(name, "Label") && !strings.HasPrefix(name, "Annotation")
		}},
	} {
		var rows [][]string
		for _, g := range groups {
			for _, c := range g.constants {
				if section.has(c.name) {
					rows = append(rows, []string{"`" + c.value + "`", "`" + c.name + "`", prose(about(c), groups)})
				}
			}
		}
		fmt.Fprintf(b, "\n## %s\n", section.title)
		table(b, []string{"Name", "In Go", "Meaning"}, rows)
	}
	return b.String()
}
