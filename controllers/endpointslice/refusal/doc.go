// Package refusal decides what is written of a slice that the API server refuses: admission, a quota and validation refuse a slice
// as a whole, whichever of its endpoints is the cause. It sees no client, and does not change what it is given.
//
//	Change   what a slice loses, and what is new in it
//	Search   which of the new endpoints are refused, by halves
//	Aside    the endpoints that were refused, and when each is tried again
//
// # What happens to a slice that is refused
//
//  1. It is written without what is new in it: what leaves, leaves at once. Labels, annotations and ports stay as they are.
//  2. The new endpoints are tried by halves. One that is refused costs 2·log2(n) writes at most; a Service has 32 tries at once, and
//     then 4 a second. What was not tried by then waits with what was refused.
//  3. Those that are refused are put aside: they are left out of what is written, until they are due. They are tried again after a
//     second, then after twice as long each time, at most after four minutes; at once when their node, the Service or a registry
//     changes, and when another that was put aside is taken. Where more than 16 groups are put aside, each waits longer in
//     proportion.
//
// Nothing of this is kept over a restart: all is tried once, and the same comes of it.
package refusal
