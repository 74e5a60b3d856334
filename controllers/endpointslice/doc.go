// Package endpointslice writes the EndpointSlices of Services that carry the annotation rollcall.dev/node-selector, from
// the nodes that the Mirror knows.
//
// # Cost
//
// The controller takes the changes of nodes from its mirror.Cursor, a batch at a time: a single change at once, and a storm when it
// is over or has gone on for a moment, since slices that are written halfway through it are written twice. A change brings its node
// with it, so that no reconcile needs the lock of a Mirror for that. Nodes with the same
// labels are matched once with each Service, and the Services that select them share the batch. A reconcile plans for the nodes
// that changed only; see package plan. A full pass, over all nodes and slices, happens when a Service is new or changed, when a
// slice was changed externally, when a write failed, and when a registry has been listed for the first time. Progress knows how far
// the slices have come, so that the view of the fleet can let them go first.
//
// # What the condition says
//
// The placement of a Service counts its nodes as they change; package plan knows what there is to say of each. That, what the Service
// itself asks for, and the slices of others make remarks, of which the gravest gives the reason. True means that the slices are
// written. Another reason is written at once, but no sooner than a second after the last patch; a text that changes alone 10 seconds
// after it did. The slices of others are listed live, a second after a full pass and every 10 minutes, and never touched.
//
// # Whose slice, which version
//
// The tracker of a Service has the newest version observed of each of its slices, from the answers to our writes as well as
// from the watch. An event that is not newer is the echo of our own write and costs nothing; anything newer was changed externally
// and leads to a full pass, which puts back what was changed. Labels, annotations and owner references of others are theirs.
//
//	phase     the slice                                        leaves it when
//	present   is there, or is being created                    the watch no longer shows it, or we delete it
//	vanished  is no longer shown by the watch                  a read says what is so, or the watch shows it again
//	deleted   was deleted by us, or is not the Service's; its  the watch shows that it is gone, or another one
//	          name is taken
//
// # Who changes what we wrote
//
// A write whose only cause is somebody's change is a repair. The tracker remembers what we wrote last of a slice that was changed
// externally; judge compares with that, and a contest says when a repair's turn is. What takes traffic does not wait for it. While there
// is a contest the API server tracks the fields of slices, so that it can be said who it is; else we have it keep none.
//
// # Who has an address
//
// Of a Service's nodes that give the same address, protocol and port one is shown: one that heartbeats and takes traffic
// before one that drains, that before one that is silent or lives on its last good record, that before a cordoned one; then
// the older. Each keeps the ports that nobody else has. A node that heartbeats and takes traffic and loses a port is told in
// the Service's condition.
//
// # What waits for what
//
// An endpoint that goes to another slice, and one that gives way to another node's, stays until the other slice is written.
// An endpoint that is gone or no longer ready waits for nothing: where one slice has both kinds it is written twice.
//
// # What the API server refuses
//
// A slice that is refused is written without what is new in it; what is refused of that is found out, put aside and tried again. See
// package refusal. Meanwhile each pass is a full one. A Service that gets no answer gives its turn to another after a second.
//
// # What is never removed
//
// Endpoints name no node, unless the Service asks for it: they are found again by address and ports. One that no node explains
// stays as it is until every registry is settled that the Service can select. A node that is heard of takes the address and port of
// such an endpoint over; one that is only remembered confirms it, and adds none, unless the Service has no slices.
package endpointslice
