// Package plan decides which writes make the EndpointSlices of a Service show its nodes:
//
//	(the view of the Service, its slices as they stand, its nodes) → operations
//
// It does nothing else. It sees no client, cache, context, clock, atomic or mutex, and what it is given it does not change: slices
// and nodes are shared with whoever else reads them.
//
// # Which state, and who owns it
//
//	state                       owner                       what plan knows of it
//	a node                      mirror.Store                a pointer to the one mirror.Node, which never changes
//	a slice's content           the tracker of the Service  Slices.Current, by name, for as long as a step takes
//	a slice's name and version  the tracker of the Service  the name; versions do not get in here
//	View                        whoever plans               all of the Service that decides what slices look like
//	Placement                   plan, for its Service       where each endpoint is, and who claims its address
//	census                      the Placement               what there is to say of each node; none of one of which that is nothing
//
// Endpoints do not say whose they are: in its slice an endpoint is found by its address, and a slice by its ports. So two candidates
// may share an address, with different ports in different slices. An endpoint that is kept has a candidate too: of a node that is
// gone or remembered, or of nobody.
//
//	candidate has           it is                                      its endpoint
//	a node                  a node that was heard of                   follows from the node
//	a node and what is kept a node that is remembered, and was found   stays as it was found
//	what is kept            a node that left, or nobody                stays as it was found
//
// A Placement is used by one goroutine at a time. It has a candidate for each node and address family: a few pointers, since what
// the endpoint looks like is in the slice, and what it should look like follows from the node. A candidate shares its ports with
// all that have the same, and the slices with those ports, as a group. Claims are written down only for an address that several
// candidates give, which is a conflict.
//
// # One step
//
// Whatever has happened, a step brings the slices about. Build adopts the slices as they stand and marks every node selected and every
// endpoint that is kept; Revise marks the nodes that changed. Then, in each family,
//
//  1. resolve: in each disputed address the first by rank wins a claim; whoever shows other ports than before is marked too
//  2. decide: the desired endpoint of each marked candidate, and its group
//  3. revise: each slice that holds a marked candidate is compared with that, endpoint by endpoint
//  4. convert, fill, merge: the unplaced find a place, with as few slices written as can be
//  5. emit: what became of each slice that was touched is an operation
//
// A Placement is changed as if all operations succeeded. After one that failed another is built, from
// the slices as they stand and from this one: what was to be shown is known, and need not be guessed from the slices.
package plan
