// Package expression compiles and evaluates the CEL expressions of Rollcall's resources, which anybody who may write such an
// object, and anybody who writes what is looked at, has a hand in.
//
// Every evaluation is bound before it runs, not after: each step has a cost, and a call is priced from its arguments (see
// price). The cost is the same on any machine, however busy. What an evaluation makes is bound in size, and so is what it sees
// (see Visible). No function is unbounded in its input.
package expression
