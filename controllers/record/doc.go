// Package record reads entries of a bucket that are not, or not in everything, Rollcall's own record.
//
// A Mapping is made once from spec.record of a NodeRegistry: Compile checks its CEL expressions and says which of them is
// wrong, and where. After that each entry is read on its own, and an entry that can't be read fails alone.
//
// A Mapping reads in two steps. The format gives what it can: for Rollcall the members of the record, for GoMicro the node
// in the service's entry. Then each expression replaces one part of that with what it makes of the variables key and
// value. A part that an expression replaces is not even looked at in the first step, so that foreign JSON may use the
// members of the record for something else.
//
// # Limits
//
// Expressions are bound in cost, not only in time, so that the same entry always fares alike, on a busy machine too. JSON
// is bound in depth. What ends up in an error is bound in length and never holds a whole value.
package record
