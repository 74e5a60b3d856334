package expression

import (
	"fmt"

	"github.com/google/cel-go/common/functions"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/interpreter"
)

const (
	// maxCost is the greatest cost of one evaluation. Every step costs 1, a call its price besides. What a mapping usually
	// does costs less than 100.
	maxCost = 20_000
	// MaxText is the greatest length of a string that an evaluation makes, in bytes, maxItems that of a list and a map.
	MaxText  = 64 << 10
	maxItems = 10_000

	// variableMeter holds the meter of an evaluation. No expression can name it.
	variableMeter = "@meter"
)

// meter counts what an evaluation may still cost. CEL's own tracker is no substitute: it counts a call after it ran, does
// not count constants and conditionals, and searches a stack that grows with every step.
type meter struct{ left int }

// charge ends the evaluation of these variables if it costs more than it may. The interpreter recovers the panic.
func charge(variables interpreter.Activation, cost int) {
	found, _ := variables.ResolveName(variableMeter)
	m, ok := found.(*meter)
	if !ok {
		panic("an expression is evaluated without a meter")
	}
	if m.left -= cost; m.left < 0 {
		panic(interpreter.EvalCancelledError{Cause: interpreter.CostLimitExceeded, Message: fmt.Sprintf("cost limit exceeded: it costs more than %d units", maxCost)})
	}
}

// metered returns the decorator that makes every step of a program count. Calls are counted before they run.
func metered(bindings map[string]*functions.Overload) interpreter.InterpretableDecoratorV2 {
	return func(step interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
		switch s := step.(type) {
		case *meteredAttribute:
			return s, nil
		case interpreter.InterpretableConst:
			return &meteredConst{InterpretableConst: s}, nil
		case interpreter.InterpretableAttribute:
			return &meteredAttribute{InterpretableAttribute: s, qualifiers: 1}, nil
		case interpreter.InterpretableCall:
			return newMeteredCall(s, bindings)
		}
		return &meteredStep{InterpretableV2: step}, nil
	}
}

// taken charges for looking at a value, and bounds it. Within these bounds is also how many lists + has chained: a chain of n
// costs more than n*n/2.
func taken(variables interpreter.Activation, v ref.Val) ref.Val {
	switch v := v.(type) {
	case types.String:
		charge(variables, len(v)/64)
		if len(v) > MaxText {
			return types.NewErr("a string of more than %d bytes", MaxText)
		}
	case types.Bytes:
		if len(v) > MaxText {
			return types.NewErr("more than %d bytes", MaxText)
		}
	case traits.MutableMapper, traits.MutableLister:
		// It is the result of a macro in the making, which grows by what was charged already.
	case traits.Mapper:
		size := SizeOf(v)
		charge(variables, size/8)
		if size > maxItems {
			return types.NewErr("a map of more than %d members", maxItems)
		}
	case traits.Lister:
		if SizeOf(v) > maxItems {
			return types.NewErr("a list of more than %d items", maxItems)
		}
	}
	return v
}

// meteredStep is a step that is none of the others: a literal list or map, a macro, && or ||.
type meteredStep struct{ interpreter.InterpretableV2 }

// Exec implements interpreter.InterpretableV2.
func (s *meteredStep) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	charge(frame, 1)
	return taken(frame, s.InterpretableV2.Exec(frame))
}

// Eval implements interpreter.Interpretable.
func (s *meteredStep) Eval(variables interpreter.Activation) ref.Val {
	return s.Exec(interpreter.AsFrame(variables))
}

type meteredConst struct{ interpreter.InterpretableConst }

// Exec implements interpreter.InterpretableV2.
func (s *meteredConst) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	charge(frame, 1)
	return s.Value()
}

// Eval implements interpreter.Interpretable.
func (s *meteredConst) Eval(variables interpreter.Activation) ref.Val {
	return s.Exec(interpreter.AsFrame(variables))
}

// meteredAttribute is a variable with its qualifiers, such as value.a[0].b, or a conditional. Another attribute resolves
// it without executing it.
type meteredAttribute struct {
	interpreter.InterpretableAttribute
	qualifiers int
}

// AddQualifier implements interpreter.InterpretableAttribute.
func (s *meteredAttribute) AddQualifier(q interpreter.Qualifier) (interpreter.Attribute, error) {
	s.qualifiers++
	return s.InterpretableAttribute.AddQualifier(q)
}

// Attr implements interpreter.InterpretableAttribute.
func (s *meteredAttribute) Attr() interpreter.Attribute { return s }

// Resolve implements interpreter.InterpretableAttribute.
func (s *meteredAttribute) Resolve(variables interpreter.Activation) (any, error) {
	charge(variables, s.qualifiers)
	v, err := s.InterpretableAttribute.Resolve(variables)
	if text, ok := v.(string); ok {
		charge(variables, len(text)/64)
	} else if text, ok := v.(types.String); ok {
		charge(variables, len(text)/64)
	}
	return v, err
}

// Exec implements interpreter.InterpretableV2.
func (s *meteredAttribute) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	charge(frame, s.qualifiers)
	return taken(frame, s.InterpretableAttribute.Exec(frame))
}

// Eval implements interpreter.Interpretable.
func (s *meteredAttribute) Eval(variables interpreter.Activation) ref.Val {
	return s.Exec(interpreter.AsFrame(variables))
}

// meteredCall calls a function as the interpreter does, after it has charged for it. It is no InterpretableCall, so that no
// library's decorator takes it apart again.
type meteredCall struct {
	id        int64
	function  string
	args      []interpreter.InterpretableV2
	run       functions.FunctionOp
	trait     int
	nonStrict bool
}

func newMeteredCall(call interpreter.InterpretableCall, bindings map[string]*functions.Overload) (interpreter.InterpretableV2, error) {
	c := &meteredCall{id: call.ID(), function: call.Function(), args: call.Args(), run: replaced(call)}
	if c.run != nil {
		return c, nil
	}
	binding := bindings[call.OverloadID()]
	if binding == nil {
		binding = bindings[call.Function()]
	}
	if binding == nil {
		return nil, fmt.Errorf("the function %s has no implementation", call.Function())
	}
	c.trait, c.nonStrict = binding.OperandTrait, binding.NonStrict
	switch {
	case len(c.args) == 1 && binding.Unary != nil:
		c.run = func(args ...ref.Val) ref.Val { return binding.Unary(args[0]) }
	case len(c.args) == 2 && binding.Binary != nil:
		c.run = func(args ...ref.Val) ref.Val { return binding.Binary(args[0], args[1]) }
	case binding.Function != nil:
		c.run = binding.Function
	default:
		return nil, fmt.Errorf("the function %s has no implementation for %d arguments", call.Function(), len(c.args))
	}
	return c, nil
}

// replaced returns what runs instead of the library's function; nil for the library's.
func replaced(call interpreter.InterpretableCall) functions.FunctionOp {
	switch call.Function() {
	case operators.Equals:
		return func(args ...ref.Val) ref.Val { return types.Equal(args[0], args[1]) }
	case operators.NotEquals:
		return func(args ...ref.Val) ref.Val { return types.Bool(types.Equal(args[0], args[1]) != types.True) }
	case overloads.Matches, functionFind, functionFindAll:
		return patternCall(call)
	}
	return nil
}

// ID implements interpreter.Interpretable.
func (c *meteredCall) ID() int64 { return c.id }

// Exec implements interpreter.InterpretableV2.
func (c *meteredCall) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	args := make([]ref.Val, len(c.args))
	for i, arg := range c.args {
		if args[i] = arg.Exec(frame); !c.nonStrict && types.IsUnknownOrError(args[i]) {
			return args[i]
		}
	}
	charge(frame, 1+price(c.function, args))
	if len(args) > 0 && c.trait != 0 && !types.IsUnknownOrError(args[0]) && !args[0].Type().HasTrait(c.trait) {
		return types.NewErr("no such overload: %s", c.function)
	}
	return taken(frame, c.run(args...))
}

// Eval implements interpreter.Interpretable.
func (c *meteredCall) Eval(variables interpreter.Activation) ref.Val {
	return c.Exec(interpreter.AsFrame(variables))
}
