// Package controllers is the architecture of Rollcall in one page.
//
//	NATS bucket ──kv.Watcher─────────▶ mirror.Mirror ──▶ endpointslice   (traffic first)
//	                                        │       └──▶ discoverednode  (the view that follows)
//	        noderegistry: one session per NodeRegistry
//
// There is one state and there are two projections of it. The state is a Mirror per NodeRegistry, kept in memory by
// package mirror: the last known record, revision and phase of every key. Package natsconn connects to NATS, and is
// the one place where what a server or a Secret says is turned into a reason. Package noderegistry opens the bucket of a
// NodeRegistry on such a connection and lets a kv.Watcher fill the Mirror. The Mirror decides what becomes of a node, from
// messages and from silence. The projections ask the mirror.Store what has changed since they last did, read it by name,
// compare with the informer's cache, and write the difference, if there is one.
//
// Package record makes facts of an entry's bytes: Rollcall's own records, others with CEL expressions, and go-micro's. Package
// metrics has what all of this counts.
//
// # From an event to a slice
//
//  1. The Watcher delivers a kv.Entry to Mirror.Entry, on its own goroutine. That the node lives, or that its key was deleted,
//     counts at once; the record waits to be read, unless a look at its text tells that it repeats what is known.
//  2. Mirror.Read, on a goroutine of the registry's session, makes a record.Reading of it, without the Mirror's lock. The Mirror
//     compares it with what it knows. If only the heartbeat is new, that is all. Else it applies the change to one entry and
//     marks what depends on it.
//  3. It settles what the marked nodes are now, and publishes those that differ with a revision of the Store: a mirror.Change has
//     the mirror.Node before and after.
//  4. endpointslice takes the changes from its mirror.Cursor, marks each node in every Service whose selector matches the old or
//     the new labels, and enqueues the Service; its Reconcile places the marked nodes and writes the slices that this touches.
//  5. discoverednode takes them from a Cursor of its own and enqueues the names; its Reconcile waits, for two seconds at most, until
//     the slices have come as far, and writes the DiscoveredNode. With the view Problems it chooses from the changes which
//     nodes have one.
//
// Silence comes the same way: with each batch the Watcher calls Mirror.Arrived, which advances the listening clock; it asks the
// stream's leader for the keys of Mirror.Overdue, and names to Mirror.Silent those that it confirms.
//
// # The other direction
//
//	Pods ──▶ podregistration ──▶ roster.Roster ──kv.Writer──▶ NATS bucket
//
// podregistration decides which pods are to be registered, and as what; the Roster of a registry holds their entries in the
// bucket, heartbeats for them, and guards every write with the revision that it wrote last. It watches the bucket through
// the same Watcher as the Mirror, and so notices an entry that is gone or somebody else's.
//
// # Who owns which state
//
//   - The bucket owns the records, the Mirror the phases. DiscoveredNodes are a view, and the Mirror's seed after a start.
//   - spec.cordoned of a DiscoveredNode belongs to people. A watch handler of package noderegistry brings it into the Mirror,
//     which outlives the object, and keeps it for a node that is to come.
//   - EndpointSlices with the managed-by label rollcall.dev are endpointslice's alone, but for the labels, annotations and owner
//     references that others add. Who changes the rest back is named, and not fought.
//
// # What happens on a failure
//
//   - NATS is away: the Mirror stands still, no deadline passes, and both projections go on serving the last known state.
//   - The API server is away: the Mirror goes on; one request a resource is tried at a time until one is answered, and then all
//     of them (package outage).
//   - The bucket takes no writes: nobody can heartbeat, so silence takes no traffic, and the NodeRegistry says why.
//   - A record is refused, or an expression fails: the node keeps its last good facts for as long as it heartbeats.
//   - Another prefix, server or mapping: what is known stays until the new listing is complete, and changes in one step.
//   - A NodeRegistry is deleted: for 10 seconds everything stays as it is, for one that is created again under its name.
//   - Rollcall starts again: the Mirror is seeded from the DiscoveredNodes; until the bucket has been listed completely,
//     endpoints are added and updated, never removed. Where not every node had an object, that may take longer: mirror.memory.
package controllers
