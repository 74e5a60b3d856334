package expression

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/functions"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
)

const (
	// maxPattern bounds a regular expression in bytes, and maxProgram what it is compiled to, in instructions: x{1000} is
	// short and has a thousand.
	maxPattern = 1024
	maxProgram = 4096
	// matchedPerUnit is how many instructions are tried at a character for one unit.
	matchedPerUnit = 25

	functionFind, functionFindAll = "find", "findAll"
)

// checkPattern returns how large a regular expression becomes, or why it may not be used.
func checkPattern(pattern string) (size int, err error) {
	if len(pattern) > maxPattern {
		return 0, fmt.Errorf("a regular expression of more than %d bytes", maxPattern)
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0, err
	}
	if size = instructions(parsed); size > maxProgram {
		return 0, fmt.Errorf("a regular expression that repeats too much: it has more than %d instructions", maxProgram)
	}
	return size, nil
}

// instructions returns about how many instructions a part of a regular expression is compiled to, and at most a little
// over maxProgram.
func instructions(part *syntax.Regexp) int {
	size := 1
	switch part.Op {
	case syntax.OpLiteral:
		size = len(part.Rune)
	case syntax.OpCharClass:
		size = 1 + len(part.Rune)/16
	}
	for _, sub := range part.Sub {
		if size += instructions(sub); size > maxProgram {
			return size
		}
	}
	if part.Op == syntax.OpRepeat {
		size *= max(1, part.Min, part.Max)
	}
	return size
}

// priceOfRegex is the price of compiling the pattern and of trying every instruction of it at every character, so many
// times.
func priceOfRegex(args []ref.Val, times int) int {
	size, err := checkPattern(textOf(args[1]))
	if err != nil {
		return 0 // the call fails
	}
	return 1 + size/4 + size*(1+len(textOf(args[0])))/matchedPerUnit*times
}

// priceOfFindAll is as if the rest of the text were read for each of the matches: a.*b|a does that.
func priceOfFindAll(args []ref.Val) int {
	times := 1 + len(textOf(args[0]))
	if most := matches(args); most >= 0 {
		times = min(times, most)
	}
	return priceOfRegex(args, 1+times/2)
}

// patternCall returns what runs for the functions over regular expressions. One that is a literal is compiled once.
func patternCall(call interpreter.InterpretableCall) functions.FunctionOp {
	var literal *regexp.Regexp
	if pattern, ok := call.Args()[1].(interpreter.InterpretableConst); ok {
		literal, _ = compilePattern(pattern.Value())
	}
	function := call.Function()
	return func(args ...ref.Val) ref.Val {
		text, ok := args[0].(types.String)
		if !ok {
			return types.MaybeNoSuchOverloadErr(args[0])
		}
		pattern := literal
		if pattern == nil {
			var err error
			if pattern, err = compilePattern(args[1]); err != nil {
				return types.WrapErr(err)
			}
		}
		switch function {
		case overloads.Matches:
			return types.Bool(pattern.MatchString(string(text)))
		case functionFind:
			return types.String(pattern.FindString(string(text)))
		}
		return types.NewStringList(types.DefaultTypeAdapter, pattern.FindAllString(string(text), matches(args)))
	}
}

func compilePattern(v ref.Val) (*regexp.Regexp, error) {
	pattern, ok := v.(types.String)
	if !ok {
		return nil, errors.New("the regular expression is no string")
	}
	if _, err := checkPattern(string(pattern)); err != nil {
		return nil, err
	}
	return regexp.Compile(string(pattern))
}

// matches returns how many matches findAll is asked for; -1 for all.
func matches(args []ref.Val) int {
	if len(args) == 3 {
		if most, ok := args[2].(types.Int); ok && most >= 0 {
			return int(min(most, MaxText))
		}
	}
	return -1
}

// literalPatterns is a cel.ASTValidator that compiles the regular expressions that are literals.
type literalPatterns struct{}

// Name implements cel.ASTValidator.
func (literalPatterns) Name() string { return "rollcall.validator.patterns" }

// Validate implements cel.ASTValidator.
func (literalPatterns) Validate(_ *cel.Env, _ cel.ValidatorConfig, a *ast.AST, issues *cel.Issues) {
	root := ast.NavigateAST(a)
	for _, function := range []string{overloads.Matches, functionFind, functionFindAll} {
		for _, found := range ast.MatchDescendants(root, ast.FunctionMatcher(function)) {
			call := found.AsCall()
			args := call.Args()
			if !call.IsMemberFunction() && len(args) > 1 {
				args = args[1:]
			}
			if len(args) == 0 || args[0].Kind() != ast.LiteralKind {
				continue
			}
			pattern, ok := args[0].AsLiteral().(types.String)
			if !ok {
				continue
			}
			if _, err := checkPattern(string(pattern)); err != nil {
				issues.ReportErrorAtID(args[0].ID(), "invalid %s argument: %v", function, err)
			}
		}
	}
}
