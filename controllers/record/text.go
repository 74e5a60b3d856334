package record

import (
	"fmt"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
)

const variablePod = "pod"

var podEnvironment = sync.OnceValues(func() (*environment, error) {
	return newEnvironment(cel.Variable(variablePod, cel.DynType))
})

// PodText is a compiled expression over `pod` that gives a text. It has the libraries and the limits of the expressions
// of spec.record, and is safe for concurrent use.
type PodText struct {
	field   string
	program cel.Program
}

// CompilePodText compiles the expression of a field. Its error is an *ExpressionError.
func CompilePodText(field, source string) (*PodText, error) {
	env, err := podEnvironment()
	if err != nil {
		return nil, fmt.Errorf("make the environment of CEL expressions over pods: %w", err)
	}
	program, err := env.compile(field, source, "a string", givesText)
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
	var seen visible
	seen.value(pod)
	value, err := evaluate(t.program, map[string]any{variablePod: pod})
	if err != nil {
		return "", false, broken(ReasonExpression, "%s: %s", t.field, steady(err))
	}
	if value == nil {
		return "", false, nil
	}
	s, ok := value.(types.String)
	if !ok {
		return "", false, broken(ReasonExpression, "%s gives %s, a string is expected", t.field, value.Type().TypeName())
	}
	return string(s), true, nil
}
