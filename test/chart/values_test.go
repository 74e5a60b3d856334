package chart

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/rollcall-dev/rollcall/internal/chartvalues"
)

var update = flag.Bool("update", false, "write the effects into testdata/values.yaml; look at each before you commit it")

const casesFile = "testdata/values.yaml"

// valueCase says what a value of the chart changes.
type valueCase struct {
	// Given are other values that the value needs to have an effect.
	Given map[string]any `json:"given,omitempty"`
	// Set is the value.
	Set map[string]any `json:"set"`
	// Then is everything that is rendered differently, a line a leaf: "-" is gone, "+" is new. Of an object that comes or
	// goes there is one line.
	Then string `json:"then"`
}

func cases(t *testing.T) []valueCase {
	t.Helper()
	text, err := os.ReadFile(casesFile)
	if err != nil {
		t.Fatal(err)
	}
	var all []valueCase
	if err := yaml.UnmarshalStrict(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestEveryValue: each value does what testdata/values.yaml says, and nothing else.
func TestEveryValue(t *testing.T) {
	all := cases(t)
	t.Run("cases", func(t *testing.T) {
		for i := range all {
			t.Run(strings.Join(paths(all[i].Set), " "), func(t *testing.T) {
				t.Parallel()
				given := text(t, all[i].Given)
				got := effect(render(t, given), render(t, given, text(t, all[i].Set)))
				if got == "" {
					t.Error("the value has no effect")
				}
				if *update {
					all[i].Then = got
				}
				if diff := gocmp.Diff(all[i].Then, got); diff != "" {
					t.Errorf("the effect (-want +got):\n%s", diff)
				}
			})
		}
	})
	if *update {
		write(t, all)
	}
}

// TestNoValueIsUntried: every value of values.yaml has a case.
func TestNoValueIsUntried(t *testing.T) {
	var tried []string
	for _, c := range cases(t) {
		tried = append(tried, paths(c.Set)...)
	}
	for _, v := range values(t) {
		if !slices.ContainsFunc(tried, func(path string) bool { return strings.HasPrefix(path+".", v.Path+".") }) {
			t.Errorf("%s has no case in %s", v.Path, casesFile)
		}
	}
}

// TestSchemaRefusesAWrongType: values.schema.json knows every value.
func TestSchemaRefusesAWrongType(t *testing.T) {
	for _, v := range values(t) {
		t.Run(v.Path, func(t *testing.T) {
			t.Parallel()
			var wrong any = map[string]any{"of": "a wrong type"}
			if _, isMap := v.Default.(map[string]any); isMap {
				wrong = "a text"
			}
			keys := strings.Split(v.Path, ".")
			for _, key := range slices.Backward(keys) {
				wrong = map[string]any{key: wrong}
			}
			given, _ := wrong.(map[string]any)
			_, err := template(t, text(t, given))
			if want := "at '/" + strings.ReplaceAll(v.Path, ".", "/"); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}

// TestRefused: what can't work is refused with a word about it.
func TestRefused(t *testing.T) {
	for _, test := range []struct{ values, want string }{
		{"replica: 3", "additional properties 'replica' not allowed"},
		{"image: {name: x}", "additional properties 'name' not allowed"},
		{"image: {pullPolicy: Sometimes}", "at '/image/pullPolicy'"},
		{"embeddedNATS: {service: {type: ExternalName}}", "at '/embeddedNATS/service/type'"},
		{"namespaces: [fleet]", "with namespaces, give clusterName"},
		{"deniedCIDRs: [10.0.0.1]", "at '/deniedCIDRs/0'"},
		{"allowedServers: ['nats://a']", "at '/allowedServers/0'"},
	} {
		_, err := template(t, test.values)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.values, err, test.want)
		}
	}
}

func values(t *testing.T) []chartvalues.Value {
	t.Helper()
	all, err := chartvalues.Read(filepath.Join(chart, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// effect compares what was rendered without and with a value.
func effect(before, after objects) string {
	differences := missing("-", before, after) + missing("+", after, before)
	sorted := strings.SplitAfter(differences, "\n")
	slices.SortFunc(sorted, func(a, b string) int {
		return cmp.Or(strings.Compare(strings.TrimLeft(a, "+- "), strings.TrimLeft(b, "+- ")), strings.Compare(b, a))
	})
	return strings.Join(sorted, "")
}

// missing returns the objects and leaves of some that others do not have, each on a line.
func missing(sign string, some, others objects) string {
	var b strings.Builder
	for name := range some {
		if others[name] == nil {
			fmt.Fprintln(&b, sign, name)
		}
	}
	theirs := others.lines()
	for line := range some.lines() {
		name, _, _ := strings.Cut(line, " ")
		if others[name] != nil && !theirs[line] {
			fmt.Fprintln(&b, sign, line)
		}
	}
	return b.String()
}

// paths returns the paths of the leaves of some values.
func paths(values map[string]any) []string {
	lines := map[string]bool{}
	for key, value := range values {
		flatten(lines, key, value)
	}
	var all []string
	for line := range lines {
		path, _, _ := strings.Cut(line, ":")
		path, _, _ = strings.Cut(path, "[")
		all = append(all, path)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func text(t *testing.T, values map[string]any) string {
	t.Helper()
	text, err := yaml.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, all []valueCase) {
	t.Helper()
	text, err := yaml.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(casesFile, text, 0o644); err != nil {
		t.Fatal(err)
	}
}
