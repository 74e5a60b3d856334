// Package endpointslice writes the EndpointSlices of Services that carry the annotation rollcall.dev/node-selector, from
// the nodes that the Mirror knows.
//
// # Cost
//
// What a Service's slices hold is kept in memory, as a placement. The controller takes the changes of nodes from its
// mirror.Cursor, a batch at a time: a single change at once, and a storm when it is over or has gone on for a moment, since slices
// that are written halfway through it are written twice. A changed node makes its name dirty in every Service that selects it, and
// a reconcile looks at dirty nodes only: its cost does not depend on how many nodes the Service has. A full pass, over all nodes
// and slices, happens when a Service is new or changed, when somebody else changed a slice, when a write failed, and when a
// registry has been listed for the first time. Progress knows how far the slices have come, so that the view of the fleet can let
// them go first.
//
// # Whose slice, which version
//
// The ledger of a Service holds the newest version known of each of its slices, from the answers to our writes as well as
// from the watch. An event that is not newer than the ledger is the echo of our own write and costs nothing; anything
// newer is somebody else's doing and leads to a full pass, which puts back what was changed.
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
// # What is never removed
//
// An endpoint whose node the Mirror does not know stays as it is until the node's registry has been listed completely. A
// node that is known takes the address and port of such an endpoint over.
package endpointslice
