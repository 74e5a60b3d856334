package expression

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/rollcall-dev/rollcall/discovery"
)

// ReasonFailed is the reason of a *discovery.RecordError: an expression can't be evaluated, or gives something else than it
// should.
const ReasonFailed discovery.Reason = "Expression"

// MaxDetail is the greatest length of the detail of an error, in characters, and maxQuote that of a quotation in it.
const (
	MaxDetail = 240
	maxQuote  = 80
)

// Error says which expression is wrong, where, and why.
type Error struct {
	// Field is the field of the object, such as spec.record.nodeID.
	Field string
	// Expression is the expression as it stands there.
	Expression string
	// Line and Column, from 1, are where in it the problem is.
	Line, Column int
	// Problem says what is wrong.
	Problem string
}

// Error says everything in one line of bound length. A long expression is cut down to where the problem is.
func (e *Error) Error() string {
	return fmt.Sprintf("%s is invalid at line %d, column %d of %q: %s", e.Field, e.Line, e.Column, e.excerpt(), Plain(e.Problem, MaxDetail))
}

// excerpt returns the part of the expression's line that the problem is in.
func (e *Error) excerpt() string {
	line := []rune(strings.Split(e.Expression, "\n")[min(e.Line-1, strings.Count(e.Expression, "\n"))])
	from := max(0, min(e.Column-1-maxQuote/2, len(line)-maxQuote))
	to := min(len(line), from+maxQuote)
	excerpt := string(line[from:to])
	if from > 0 {
		excerpt = "…" + excerpt
	}
	if to < len(line) {
		excerpt += "…"
	}
	return excerpt
}

// Failed returns the error for a field's expression that fails for that reason.
func Failed(field string, why error) error {
	return &discovery.RecordError{Reason: ReasonFailed, Detail: Plain(field+": "+why.Error(), MaxDetail)}
}

// Plain returns a text that others had a hand in as one line of at most so many characters, with a blank for each that is not
// printable: control characters, and those that turn the direction of what follows.
func Plain(text string, length int) string {
	// A character has at most four bytes, so what is cut here would be cut anyway.
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text[:min(len(text), 4*(length+1))])
	if runes := []rune(text); len(runes) > length {
		return string(runes[:length-1]) + "…"
	}
	return text
}
