package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPagesAreUpToDate: `make docs` would change nothing.
func TestPagesAreUpToDate(t *testing.T) {
	root := filepath.Join("..", "..")
	pages, err := pages(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range pages {
		got, err := os.ReadFile(filepath.Join(root, "docs", "reference", name))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("docs/reference/%s is out of date: run make docs", name)
		}
	}
}

func TestIndexNamesEveryPage(t *testing.T) {
	folder := filepath.Join("..", "..", "docs", "reference")
	index, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if file.Name() != "README.md" && !strings.Contains(string(index), "("+file.Name()+")") {
			t.Errorf("docs/reference/README.md does not name %s", file.Name())
		}
	}
}

func TestExplain(t *testing.T) {
	for _, test := range []struct{ doc, meaning, action string }{
		{"ReasonX means that it is so. Do that. And this.", "It is so.", "Do that. And this."},
		{"ReasonX means that a.b is so; see there.", "A.b is so.", "See there."},
		{"ReasonX means that spec.x is so. Do that.", "spec.x is so.", "Do that."},
		{"ReasonX is the reason of that. Do that.", "The reason of that.", "Do that."},
	} {
		meaning, action := explain(constant{name: "ReasonX", doc: test.doc})
		if meaning != test.meaning || action != test.action {
			t.Errorf("%q means %q, to do: %q", test.doc, meaning, action)
		}
	}
}

func TestProse(t *testing.T) {
	known := []group{{constants: []constant{{name: "ReasonStale", value: "Stale"}}}}
	got := prose("See ReasonStale, spec.bucket.name, the stream KV_<bucket> and rollcall.dev/origin, or `this`; see docs/x.md.", known)
	if want := "See `Stale`, `spec.bucket.name`, the stream `KV_<bucket>` and `rollcall.dev/origin`, or `this`; see [x.md](../x.md)."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAReasonThatDoesNotSayWhatToDoIsAnError(t *testing.T) {
	groups := []group{{doc: "Reasons.", constants: []constant{{name: "ReasonX", value: "X", doc: "ReasonX means that it is so."}}}}
	if _, err := conditionsPage(groups, groups); err == nil || !strings.Contains(err.Error(), "ReasonX") {
		t.Errorf("got %v", err)
	}
}

func TestAConstantWithoutACommentIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.go")
	if err := os.WriteFile(path, []byte("package x\n\nconst (\n\tReasonX = \"X\"\n)\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := parse(path); err == nil || !strings.Contains(err.Error(), "ReasonX") {
		t.Errorf("got %v", err)
	}
}
