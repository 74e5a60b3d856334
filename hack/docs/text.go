package main

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// about returns what the comment of a constant says of it.
func about(c constant) string {
	return sentence(strings.TrimPrefix(strings.TrimPrefix(c.doc, c.name+" "), "is "))
}

// page returns the beginning of a page: its title, where it comes from, and what it is about.
func page(title, source, introduction string) *strings.Builder {
	b := &strings.Builder{}
	fmt.Fprintf(b, "# %s\n\n<!-- Generated from %s by `make docs`. Edit it there. -->\n\n%s\n", title, source, introduction)
	return b
}

// table adds a table to a page.
func table(b *strings.Builder, header []string, rows [][]string) {
	fmt.Fprintf(b, "\n| %s |\n|%s\n", strings.Join(header, " | "), strings.Repeat(" --- |", len(header)))
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = strings.ReplaceAll(cell, "|", `\|`)
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
	}
}

// prose turns the text of a comment into Markdown: what the API calls by name becomes code, constants their values, and
// other pages links.
func prose(text string, known []group) string {
	code := regexp.MustCompile("`[^`]*`|" + `\bdocs/[\w-]+\.md|\b(spec|status)(\.\w+)+|\b[a-z0-9.]+\.(dev|io)/[\w-]+|\w*<\w+>|\b(Label|Annotation|Origin|Condition|Reason|ReadinessGate)[A-Z]\w*`)
	values := map[string]string{}
	for _, g := range known {
		for _, c := range g.constants {
			values[c.name] = c.value
		}
	}
	return code.ReplaceAllStringFunc(text, func(name string) string {
		if file, found := strings.CutPrefix(name, "docs/"); found {
			return "[" + file + "](../" + file + ")"
		}
		if value, found := values[name]; found {
			name = value
		}
		return "`" + strings.Trim(name, "`") + "`"
	})
}

// sentence returns the text with its first letter as a capital one, unless it begins with the path of a field.
func sentence(text string) string {
	if text == "" || strings.HasPrefix(text, "spec.") || strings.HasPrefix(text, "status.") {
		return text
	}
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[size:]
}
