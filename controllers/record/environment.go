package record

import (
	"fmt"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/functions"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"
	"k8s.io/apiserver/pkg/cel/library"
)

const (
	// maxExpression is the greatest length of an expression, as in the resources, in characters.
	maxExpression = 4096
	// maxNesting is how deep an expression may be nested, a chain of calls included. Checking the types of a deep one takes
	// the square of that.
	maxNesting = 40
	// maxPrecision is the greatest number of decimal places that format may be asked for.
	maxPrecision = 100

	variableKey, variableValue = "key", "value"
)

// environment is what expressions are compiled in, and the implementations of its functions by overload and by name.
type environment struct {
	*cel.Env
	bindings map[string]*functions.Overload
}

// entryEnvironment returns the environment of all expressions over an entry.
var entryEnvironment = sync.OnceValues(func() (*environment, error) {
	return newEnvironment(cel.Variable(variableKey, cel.StringType), cel.Variable(variableValue, cel.DynType))
})

// newEnvironment returns an environment with those variables and the libraries of Kubernetes' own CEL as of 1.37, and
// base64, without quantities: one of them can take for ever to be read.
//
// It is not the base environment of k8s.io/apiserver, which wants the values of a map literal to be of one type, so that
// a port could not be written as {'name': 'http', 'port': 8080}.
func newEnvironment(variables ...cel.EnvOption) (*environment, error) {
	macros, err := optionalMacros()
	if err != nil {
		return nil, err
	}
	env, err := cel.NewEnv(append([]cel.EnvOption{
		cel.EagerlyValidateDeclarations(true),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.OptionalTypes(),
		cel.Macros(macros...),
		cel.ParserExpressionSizeLimit(maxExpression), cel.ParserRecursionLimit(maxNesting),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), literalPatterns{}),
		ext.Strings(ext.StringsVersion(2), ext.StringsMaxPrecision(maxPrecision)),
		ext.Sets(),
		ext.Lists(ext.ListsVersion(3)),
		ext.TwoVarComprehensions(),
		ext.Encoders(ext.EncodersVersion(0)),
		library.Lists(library.ListsVersion(1)),
		library.URLs(), library.Regex(), library.IP(), library.CIDR(), library.Format(),
		library.SemverLib(library.SemverVersion(1)),
	}, variables...)...)
	if err != nil {
		return nil, err
	}
	e := &environment{Env: env, bindings: map[string]*functions.Overload{}}
	for _, function := range env.Functions() {
		overloads, err := function.Bindings()
		if err != nil {
			return nil, err
		}
		for _, o := range overloads {
			e.bindings[o.Operator] = o
		}
	}
	return e, nil
}

// optionalMacros returns optMap and optFlatMap as CEL has them, except that they evaluate what they are called on once.
// CEL's own repeat it, so that a chain of n of them is 2^n long.
func optionalMacros() (macros []cel.Macro, err error) {
	env, err := cel.NewCustomEnv(cel.OptionalTypes())
	if err != nil {
		return nil, err
	}
	for _, macro := range env.Macros() {
		const target = "@optional"
		expand := macro.Expander()
		macros = append(macros, cel.ReceiverMacro(macro.Function(), macro.ArgCount(),
			func(f cel.MacroExprFactory, of ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
				result, err := expand(f, f.NewIdent(target), args)
				if err != nil {
					return nil, err
				}
				return f.NewComprehension(f.NewList(), "#unused", target, of, f.NewLiteral(types.False), f.NewIdent(target), result), nil
			}))
	}
	return macros, nil
}

// compile returns the program of a part's expression. Its error is an *ExpressionError.
func compile(p *part, source string) (cel.Program, error) {
	env, err := entryEnvironment()
	if err != nil {
		return nil, fmt.Errorf("make the environment of CEL expressions: %w", err)
	}
	return env.compile(p.field, source, p.expected, p.gives)
}

// compile returns the program of a field's expression, whose type must be one that gives accepts. Its error is an
// *ExpressionError. Nothing is evaluated yet, no constant either.
func (e *environment) compile(field, source, expected string, gives func(*cel.Type) bool) (cel.Program, error) {
	wrong := &ExpressionError{Field: field, Expression: source, Line: 1, Column: 1}
	ast, issues := e.Compile(source)
	if errs := issues.Errors(); len(errs) > 0 {
		wrong.Line, wrong.Column, wrong.Problem = max(1, errs[0].Location.Line()), max(1, errs[0].Location.Column()+1), errs[0].Message
		return nil, wrong
	}
	if !gives(ast.OutputType()) {
		wrong.Problem = fmt.Sprintf("it gives %s, %s is expected", ast.OutputType(), expected)
		return nil, wrong
	}
	program, err := e.Program(ast, cel.CustomDecoratorV2(metered(e.bindings)))
	if err != nil {
		wrong.Problem = err.Error()
		return nil, wrong
	}
	return program, nil
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
