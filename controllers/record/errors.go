package record

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/rollcall-dev/rollcall/discovery"
)

// The reasons of Mapping.Read, besides those of discovery.Decode.
const (
	// ReasonExpression: an expression of spec.record can't be evaluated over this entry, or gives what is no such part of a
	// node.
	ReasonExpression discovery.Reason = "Expression"
	// ReasonTooDeep: the JSON is nested more than maxDepth deep.
	ReasonTooDeep discovery.Reason = "TooDeep"
)

// unread returns true for an error after which nothing was read at all.
func unread(err error) bool {
	wrong, ok := errors.AsType[*discovery.RecordError](err)
	return ok && slices.Contains([]discovery.Reason{discovery.ReasonEmpty, discovery.ReasonNotJSON, discovery.ReasonNotObject, ReasonTooDeep}, wrong.Reason)
}

// maxDetail is the greatest length of the detail of an error, in characters, and maxQuote that of a quotation in it.
const (
	maxDetail = 240
	maxQuote  = 80
)

// ExpressionError says which expression of spec.record is wrong, where, and why.
type ExpressionError struct {
	// Field is the field of the NodeRegistry, such as spec.record.nodeID.
	Field string
	// Expression is the expression as it stands there.
	Expression string
	// Line and Column, from 1, are where in it the problem is.
	Line, Column int
	// Problem says what is wrong.
	Problem string
}

// Error says everything in one line of bound length. A long expression is cut down to where the problem is.
func (e *ExpressionError) Error() string {
	return fmt.Sprintf("%s is invalid at line %d, column %d of %q: %s", e.Field, e.Line, e.Column, e.excerpt(), plain(e.Problem, maxDetail))
}

// excerpt returns the part of the expression's line that the problem is in.
func (e *ExpressionError) excerpt() string {
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

// broken returns the error for an entry that can't be read.
func broken(reason discovery.Reason, format string, args ...any) error {
	return &discovery.RecordError{Reason: reason, Detail: plain(fmt.Sprintf(format, args...), maxDetail)}
}

// changing matches what an error of CEL quotes of a value, which may be another one at the next heartbeat.
var changing = regexp.MustCompile(`(: )-?[0-9][0-9.e+]*|"(?:[^"\\]|\\.)*"`)

// steady returns why an expression fails, in the same words as long as it fails for the same reason.
func steady(err error) string {
	if own, ok := errors.AsType[partError](err); ok {
		return string(own)
	}
	return changing.ReplaceAllString(err.Error(), "${1}…")
}

// partError says that an expression gives what is no such part of a node.
type partError string

func (e partError) Error() string { return string(e) }

func wrongPart(format string, args ...any) error { return partError(fmt.Sprintf(format, args...)) }

// plain returns the text in one line, without control characters, and cut to a length.
func plain(text string, length int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > length {
		return string(runes[:length-1]) + "…"
	}
	return text
}
