// Package record makes facts of what is in a bucket. It is pure: Read makes a Reading of one message, Reading.Onto puts it onto
// what was known of the node before, and Facts.Judge says what follows from the policy.
//
// # What is refused, and what is odd
//
// Needed is who a node is, and how it is reached. What can't be read of that refuses the record: both stay as the last good
// record had them. Everything else informs: it is read as well as can be, or left out, with a remark. What a refused record
// says besides counts.
//
// # Mappings
//
// A Reader reads the values: Rollcall's own records, or a Mapping those of others.
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
// An evaluation is bound in cost; see package expression. JSON is bound in depth, and what an expression sees of it in length.
// What ends up in an error is bound in length and never holds a whole value.
package record
