package expression

import (
	"errors"
	"fmt"
	"regexp"

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
)

// Environment is what expressions are compiled in. It is safe for concurrent use.
type Environment struct {
	env *cel.Env
	// bindings are the implementations of the functions, by overload and by name.
	bindings map[string]*functions.Overload
}

// NewEnvironment returns an environment with those variables and the libraries of Kubernetes' own CEL as of 1.37, and
// base64, without quantities: one of them can take for ever to be read.
//
// It is not the base environment of k8s.io/apiserver, which wants the values of a map literal to be of one type, so that
// a port could not be written as {'name': 'http', 'port': 8080}.
func NewEnvironment(variables ...cel.EnvOption) (*Environment, error) {
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
	e := &Environment{env: env, bindings: map[string]*functions.Overload{}}
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

// Compile returns the program of a field's expression, whose type must be one that gives accepts. Its error is an *Error.
// Nothing is evaluated yet, no constant either.
func (e *Environment) Compile(field, source, expected string, gives func(*cel.Type) bool) (*Program, error) {
	wrong := &Error{Field: field, Expression: source, Line: 1, Column: 1}
	ast, issues := e.env.Compile(source)
	if errs := issues.Errors(); len(errs) > 0 {
		wrong.Line, wrong.Column, wrong.Problem = max(1, errs[0].Location.Line()), max(1, errs[0].Location.Column()+1), errs[0].Message
		return nil, wrong
	}
	if !gives(ast.OutputType()) {
		wrong.Problem = fmt.Sprintf("it gives %s, %s is expected", ast.OutputType(), expected)
		return nil, wrong
	}
	program, err := e.env.Program(ast, cel.CustomDecoratorV2(metered(e.bindings)))
	if err != nil {
		wrong.Problem = err.Error()
		return nil, wrong
	}
	return &Program{program}, nil
}

// Program is a compiled expression. It is safe for concurrent use.
type Program struct{ program cel.Program }

// Evaluate returns what the expression gives over the variables; nil for null and for an optional value that is none. The map
// must not be used again. The error's text is the same as long as the trouble is.
func (p *Program) Evaluate(variables map[string]any) (ref.Val, error) {
	variables[variableMeter] = &meter{left: maxCost}
	result, _, err := p.program.Eval(variables)
	if err != nil {
		return nil, errors.New(changing.ReplaceAllString(err.Error(), "${1}…"))
	}
	return Unwrapped(result), nil
}

// changing matches what an error of CEL quotes of a value, which may be another one at the next heartbeat.
var changing = regexp.MustCompile(`(: )-?[0-9][0-9.e+]*|"(?:[^"\\]|\\.)*"`)

// Unwrapped returns nil for null and for an optional value that is none, and else the value itself.
func Unwrapped(v ref.Val) ref.Val {
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
