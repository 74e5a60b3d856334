package main

import (
	"fmt"
	"regexp"
	"strings"
)

func conditionsPage(groups, known []group) (string, error) {
	b := page("Conditions and their reasons", "api/v1alpha1/conditions.go",
		"Every condition carries one of these reasons, and the Events of an object have the same ones. The message says what it is\n"+
			"about in the particular case. `kubectl wait --for=condition=Ready` works on all kinds.")
	for _, g := range groups {
		fmt.Fprintf(b, "\n## %s\n", title(g.doc))
		if rest := afterFirstSentence(g.doc); rest != "" {
			fmt.Fprintf(b, "\n%s\n", prose(rest, known))
		}
		rows := make([][]string, 0, len(g.constants))
		if strings.HasPrefix(g.constants[0].name, "Condition") {
			for _, c := range g.constants {
				rows = append(rows, []string{"`" + c.value + "`", prose(about(c), known)})
			}
			table(b, []string{"Type", "Meaning"}, rows)
			continue
		}
		for _, c := range g.constants {
			meaning, action := explain(c)
			if meaning == "" || action == "" {
				return "", fmt.Errorf("the comment of %s does not say what to do", c.name)
			}
			rows = append(rows, []string{"`" + c.value + "`", prose(meaning, known), prose(action, known)})
		}
		table(b, []string{"Reason", "Meaning", "What to do"}, rows)
	}
	return b.String(), nil
}

// explain splits the comment of a reason into what it means and what to do about it: what follows on the first sentence,
// or on its first semicolon where it is the only one.
func explain(c constant) (meaning, action string) {
	text := sentence(strings.TrimPrefix(about(c), "Means that "))
	action = afterFirstSentence(text)
	meaning = strings.TrimSpace(strings.TrimSuffix(text, action))
	if action == "" {
		meaning, action, _ = strings.Cut(meaning, "; ")
		meaning += "."
	}
	return meaning, sentence(action)
}

// title returns the first sentence of a comment as the title of a section.
func title(doc string) string {
	return strings.TrimSuffix(strings.TrimSpace(strings.TrimSuffix(doc, afterFirstSentence(doc))), ".")
}

func afterFirstSentence(text string) string {
	end := regexp.MustCompile(`\. [A-Z]`).FindStringIndex(text)
	if end == nil {
		return ""
	}
	return text[end[0]+2:]
}
