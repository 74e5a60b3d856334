// Package chartvalues reads what the values of the chart are from its values.yaml: for the page that documents them, and
// for the tests that try every one.
package chartvalues

import (
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Value is one value of the chart.
type Value struct {
	// Path is where it is, as --set takes it: image.tag.
	Path string
	// Comment says what it is for.
	Comment string
	// Default is its default as YAML.
	Default any
}

// Read returns the values in a values.yaml, in its order. A value is what has a comment; a map without one only groups
// others. Anything else without a comment is an error.
func Read(path string) ([]Value, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s is no map", path)
	}
	values, err := read(nil, document.Content[0], "")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return values, nil
}

func read(values []Value, group *yaml.Node, prefix string) ([]Value, error) {
	for i := 0; i+1 < len(group.Content); i += 2 {
		key, node := group.Content[i], group.Content[i+1]
		v := Value{Path: prefix + key.Value, Comment: comment(key)}
		if v.Comment == "" {
			if node.Kind != yaml.MappingNode || len(node.Content) == 0 {
				return nil, fmt.Errorf("%s has no comment", v.Path)
			}
			var err error
			if values, err = read(values, node, v.Path+"."); err != nil {
				return nil, err
			}
			continue
		}
		if err := node.Decode(&v.Default); err != nil {
			return nil, fmt.Errorf("%s: %w", v.Path, err)
		}
		values = append(values, v)
	}
	return values, nil
}

// comment returns the comment right above a key as one line.
func comment(key *yaml.Node) string {
	blocks := strings.Split(key.HeadComment, "\n\n")
	lines := strings.Split(blocks[len(blocks)-1], "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(strings.TrimPrefix(line, "#"))
	}
	return strings.TrimSpace(strings.Join(lines, " "))
}
