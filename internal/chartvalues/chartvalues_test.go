package chartvalues_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-dev/rollcall/internal/chartvalues"
)

func TestRead(t *testing.T) {
	got, err := chartvalues.Read(write(t, `# About the file.

# How many.
replicas: 2
image:
  # Which
  # one.
  tag: ""
# As a Pod has them.
resources:
  limits: {memory: 1Gi}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []chartvalues.Value{
		{Path: "replicas", Comment: "How many.", Default: 2},
		{Path: "image.tag", Comment: "Which one.", Default: ""},
		{Path: "resources", Comment: "As a Pod has them.", Default: map[string]any{"limits": map[string]any{"memory": "1Gi"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"image:\n  tag: 1\n": "image.tag has no comment",
		"image: {}\n":        "image has no comment",
		"- 1\n":              "is no map",
		"a: b: c\n":          "mapping values",
	} {
		if _, err := chartvalues.Read(write(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
