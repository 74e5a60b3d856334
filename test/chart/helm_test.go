package chart

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const (
	release   = "rollcall"
	namespace = "rollcall-system"
)

// buildHelm builds Helm, unless Go has it in its cache, and returns its path.
func buildHelm() (string, error) {
	command := exec.Command("go", "tool", "-n", "-modfile="+root+"/hack/chart/go.mod", "helm")
	command.Stderr = os.Stderr
	path, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("build helm: %w", err)
	}
	return strings.TrimSpace(string(path)), nil
}

// helm runs Helm and returns what it printed.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), helmPath, args...)
	home := t.TempDir()
	command.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return "", errors.New(stderr.String())
	}
	return stdout.String(), nil
}

// template renders the chart with values, which are YAML; later ones win.
func template(t *testing.T, values ...string) (string, error) {
	t.Helper()
	args := []string{"template", release, chart, "--namespace", namespace}
	folder := t.TempDir()
	for i, text := range values {
		file := filepath.Join(folder, strconv.Itoa(i)+".yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--values", file)
	}
	return helm(t, args...)
}

// objects are the objects of some manifests by "Kind/name", or "Kind/namespace/name" outside of the release's namespace.
type objects map[string]*unstructured.Unstructured

// render returns what the chart makes of values.
func render(t *testing.T, values ...string) objects {
	t.Helper()
	text, err := template(t, values...)
	if err != nil {
		t.Fatalf("with the values\n%s\n%v", strings.Join(values, "\n"), err)
	}
	return parse(t, text)
}

func parse(t *testing.T, text string) objects {
	t.Helper()
	all := objects{}
	for document := range strings.SplitSeq("\n"+text, "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict([]byte(document), &o.Object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if o.Object == nil {
			continue
		}
		name := o.GetKind() + "/" + o.GetName()
		if ns := o.GetNamespace(); ns != "" && ns != namespace {
			name = o.GetKind() + "/" + ns + "/" + o.GetName()
		}
		if all[name] != nil {
			t.Fatalf("%s is there twice", name)
		}
		all[name] = o
	}
	return all
}

// only returns the objects of a kind.
func (o objects) only(kind string) objects { return o.filter(kind, true) }

// without returns the objects of other kinds.
func (o objects) without(kind string) objects { return o.filter(kind, false) }

func (o objects) filter(kind string, want bool) objects {
	filtered := objects{}
	for name, object := range o {
		if (object.GetKind() == kind) == want {
			filtered[name] = object
		}
	}
	return filtered
}

// lines returns the leaves of the objects, each as "Kind/name path: value".
func (o objects) lines() map[string]bool {
	lines := map[string]bool{}
	for name, object := range o {
		flatten(lines, name+" ", object.Object)
	}
	return lines
}

// flatten adds the leaves of a value to lines. What is in a list goes by its name, and else by its value, so that an
// element that others make way for does not count as another one.
func flatten(lines map[string]bool, path string, value any) {
	switch v := value.(type) {
	case map[string]any:
		for key, member := range v {
			if strings.ContainsAny(key, "./") {
				key = "[" + key + "]"
			}
			flatten(lines, path+"."+key, member)
		}
		if len(v) == 0 {
			lines[path+": {}"] = true
		}
	case []any:
		for i, element := range v {
			index := ""
			if object, is := element.(map[string]any); is {
				if index, is = object["name"].(string); !is {
					index = strconv.Itoa(i)
				}
			}
			flatten(lines, path+"["+index+"]", element)
		}
		if len(v) == 0 {
			lines[path+": []"] = true
		}
	default:
		lines[fmt.Sprintf("%s: %v", path, v)] = true
	}
}
