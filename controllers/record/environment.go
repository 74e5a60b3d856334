package record

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/ext"
	"k8s.io/apiserver/pkg/cel/library"
)

const (
	// maxCost is the greatest cost of one evaluation, in CEL's units. What a mapping usually does costs less than 100.
	maxCost = 20_000
	// interruptEvery is after how many steps of a comprehension the time is looked at.
	interruptEvery = 100

	variableKey, variableValue = "key", "value"
)

// variables are what an expression sees.
type variables struct {
	key   string
	value any
}

// environment returns the environment of all expressions over an entry.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return newEnvironment(cel.Variable(variableKey, cel.StringType), cel.Variable(variableValue, cel.DynType))
})

// newEnvironment returns an environment with those variables and the libraries of Kubernetes' own CEL as of 1.37, and
// base64.
//
// It is not the base environment of k8s.io/apiserver, which wants the values of a map literal to be of one type, so that
// a port could not be written as {'name': 'http', 'port': 8080}.
func newEnvironment(variables ...cel.EnvOption) (*cel.Env, error) {
	return cel.NewEnv(append([]cel.EnvOption{
		cel.EagerlyValidateDeclarations(true),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.OptionalTypes(),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals()),
		ext.Strings(ext.StringsVersion(2)),
		ext.Sets(),
		ext.Lists(ext.ListsVersion(3)),
		ext.TwoVarComprehensions(),
		ext.Encoders(ext.EncodersVersion(0)),
		library.Lists(library.ListsVersion(1)),
		library.URLs(), library.Regex(), library.Quantity(), library.IP(), library.CIDR(), library.Format(),
		library.SemverLib(library.SemverVersion(1)),
	}, variables...)...)
}

// compile returns the program of a part's expression. Its error is an *ExpressionError.
func compile(p *part, source string) (cel.Program, error) {
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("make the environment of CEL expressions: %w", err)
	}
	return compileIn(env, p.field, source, p.expected, p.gives)
}

// compileIn returns the program of a field's expression, whose type must be one that gives accepts. Its error is an
// *ExpressionError.
func compileIn(env *cel.Env, field, source, expected string, gives func(*cel.Type) bool) (cel.Program, error) {
	wrong := &ExpressionError{Field: field, Expression: source, Line: 1, Column: 1}
	ast, issues := env.Compile(source)
	if errs := issues.Errors(); len(errs) > 0 {
		wrong.Line, wrong.Column, wrong.Problem = max(1, errs[0].Location.Line()), max(1, errs[0].Location.Column()+1), errs[0].Message
		return nil, wrong
	}
	if !gives(ast.OutputType()) {
		wrong.Problem = fmt.Sprintf("it gives %s, %s is expected", ast.OutputType(), expected)
		return nil, wrong
	}
	program, err := env.Program(ast,
		cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost),
		cel.CostLimit(maxCost),
		cel.CostTracking(&costs{}),
		cel.InterruptCheckFrequency(interruptEvery),
	)
	if err != nil {
		wrong.Problem = err.Error()
		return nil, wrong
	}
	return program, nil
}

// evaluate returns what the expression gives; nil for null and for an optional value that is none. Its error is a
// *discovery.RecordError.
func (e *expression) evaluate(ctx context.Context, v variables) (ref.Val, error) {
	result, _, err := e.program.ContextEval(ctx, map[string]any{variableKey: v.key, variableValue: v.value})
	if err != nil {
		return nil, failed(e.part, err)
	}
	return unwrapped(result), nil
}

// unwrapped returns nil for null and for an optional value that is none, and else the value itself.
func unwrapped(v ref.Val) ref.Val {
	if optional, ok := v.(*types.Optional); ok {
		if !optional.HasValue() {
			return nil
		}
		v = optional.GetValue()
	}
	if v == types.NullValue {
		return nil
	}
	return v
}

// costs counts what calls cost as Kubernetes does, and base64, which is not among its libraries, by length.
type costs struct{ library.CostEstimator }

// base64Cost is the cost of a character, the same as that of looking at it.
const base64Cost = 0.1

// CallCost implements interpreter.ActualCostEstimator.
func (c *costs) CallCost(function, overload string, args []ref.Val, result ref.Val) *uint64 {
	if (function == "base64.decode" || function == "base64.encode") && len(args) == 1 {
		if sizer, ok := args[0].(traits.Sizer); ok {
			if size, ok := sizer.Size().(types.Int); ok {
				cost := 1 + uint64(math.Ceil(float64(size)*base64Cost))
				return &cost
			}
		}
	}
	return c.CostEstimator.CallCost(function, overload, args, result)
}
