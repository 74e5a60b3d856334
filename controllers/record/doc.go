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
// # What is odd
//
// A needed part that can't be read refuses the record, one that informs is left out with a remark; the other parts are read
// in either case, so that a refused record still says what it can.
//
// # Limits
//
// An evaluation is bound in cost, not in time, so that the same entry always fares alike, on a busy machine too. The cost of
// a call follows from its arguments and is charged before it runs: meter.go counts, price.go and regex.go know what each
// function may cost. A function of a library that reads or makes more than its arguments weigh needs a price there. JSON is
// bound in depth, and what an expression sees of it in length. What ends up in an error is bound in length and never holds a
// whole value.
package record
