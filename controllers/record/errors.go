package record

import (
	"errors"
	"fmt"
	"slices"

	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/internal/expression"
)

// ReasonTooDeep is a reason of Mapping.Read, besides expression.ReasonFailed and those of discovery.Decode: the JSON is nested
// more than maxDepth deep.
const ReasonTooDeep discovery.Reason = "TooDeep"

// unread returns true for an error after which nothing was read at all.
func unread(err error) bool {
	wrong, ok := errors.AsType[*discovery.RecordError](err)
	return ok && slices.Contains([]discovery.Reason{discovery.ReasonEmpty, discovery.ReasonNotJSON, discovery.ReasonNotObject, ReasonTooDeep}, wrong.Reason)
}

// broken returns the error for an entry that can't be read.
func broken(reason discovery.Reason, format string, args ...any) error {
	return &discovery.RecordError{Reason: reason, Detail: expression.Plain(fmt.Sprintf(format, args...), expression.MaxDetail)}
}
