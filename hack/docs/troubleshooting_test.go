package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryReasonHasAParagraph: whatever reason a condition carries, docs/troubleshooting.md says what to do.
func TestEveryReasonHasAParagraph(t *testing.T) {
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, "docs", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	groups, err := parse(filepath.Join(root, "api", "v1alpha1", "conditions.go"))
	if err != nil {
		t.Fatal(err)
	}
	reasons := 0
	for _, g := range groups {
		for _, c := range g.constants {
			if !strings.HasPrefix(c.name, "Reason") {
				continue
			}
			reasons++
			if !strings.Contains(string(page), "**`"+c.value+"`**") {
				t.Errorf("docs/troubleshooting.md has no paragraph on **`%s`**", c.value)
			}
		}
	}
	if reasons == 0 {
		t.Error("no reasons found")
	}
}
