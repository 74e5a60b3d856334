package expression

import (
	"fmt"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
)

const variablePod = "pod"

var podEnvironment = sync.OnceValues(func() (*Environment, error) {
	return NewEnvironment(cel.Variable(variablePod, cel.DynType))
})

// PodText is a compiled expression over `pod` that gives a text. It is safe for concurrent use.
type PodText struct {
	field   string
	program *Program
}

// CompilePodText compiles the expression of a field. Its error is an *Error.
func CompilePodText(field, source string) (*PodText, error) {
	env, err := podEnvironment()
	if err != nil {
		return nil, fmt.Errorf("make the environment of CEL expressions over pods: %w", err)
	}
	program, err := env.Compile(field, source, "a string", givesText)
	if err != nil {
		return nil, err
	}
	return &PodText{field: field, program: program}, nil
}

// givesText accepts what is or may be a text.
func givesText(t *cel.Type) bool {
	return t.IsAssignableType(cel.StringType) || t.IsAssignableType(cel.OptionalType(cel.StringType)) || t.IsExactType(cel.DynType)
}

// Evaluate returns what the expression gives for a pod in its JSON shape, and false for null and for an optional value
// that is none. A string that is too long for expressions is taken out of the pod. Its error is a *discovery.RecordError of
// one line.
func (t *PodText) Evaluate(pod map[string]any) (text string, found bool, err error) {
	seen, _ := Visible(pod)
	value, err := t.program.Evaluate(map[string]any{variablePod: seen})
	if err != nil {
		return "", false, Failed(t.field, err)
	}
	if value == nil {
		return "", false, nil
	}
	s, ok := value.(types.String)
	if !ok {
		return "", false, Failed(t.field, fmt.Errorf("it gives %s, a string is expected", value.Type().TypeName()))
	}
	return string(s), true, nil
}
