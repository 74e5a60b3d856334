// Package controllers is the architecture of Rollcall in one page.
//
//	NATS bucket ──discovery.Watcher──▶ mirror.Mirror ──▶ endpointslice   (traffic first)
//	                                        │       └──▶ discoverednode  (the view that follows)
//	            registry: one session per NodeRegistry
//
// There is one state and there are two projections of it. The state is a Mirror per NodeRegistry, kept in memory by
// package mirror: the last known record, revision and phase of every key. Package registry connects a NodeRegistry to its
// bucket and lets a discovery.Watcher fill the Mirror; it is the only one here that knows NATS. The Mirror decides what
// becomes of a node, from messages and from the passing of deadlines, and tells the projections which names to look at.
// They read the Mirror by name, compare with the informer's cache, and write the difference, if there is one.
//
// Package record reads records that are not Rollcall's own, with CEL expressions or as go-micro writes them. Package metrics
// has what all of this counts.
//
// # From an event to a slice
//
//  1. The Watcher delivers a discovery.Entry to Mirror.Entry, on its own goroutine.
//  2. The Mirror reads the record and compares it with what it knows. If only the heartbeat is new, that is all.
//  3. Else it hands out a new mirror.Node, and tells endpointslice and discoverednode of the mirror.Change.
//  4. endpointslice marks the node in every Service whose selector matches the old or the new labels, and enqueues the
//     Service; its Reconcile places the marked nodes and writes the slices that this touches.
//  5. discoverednode enqueues the name; its Reconcile writes the DiscoveredNode.
//
// # The other direction
//
//	Pods ──▶ podregistration ──▶ roster.Roster ──discovery.Writer──▶ NATS bucket
//
// podregistration decides which pods are to be registered, and as what; the Roster of a registry holds their entries in the
// bucket, heartbeats for them, and guards every write with the revision that it wrote last. It watches the bucket through
// the same Watcher as the Mirror, and so notices an entry that is gone or somebody else's.
//
// # Who owns which state
//
//   - The bucket owns the records, the Mirror the phases. DiscoveredNodes are a view, and the Mirror's seed after a start.
//   - spec.cordoned of a DiscoveredNode belongs to people, and goes from there into the Mirror.
//   - EndpointSlices with the managed-by label rollcall.dev are endpointslice's alone.
//
// # What happens on a failure
//
//   - NATS is away: the Mirror stands still, no deadline passes, and both projections go on serving the last known state.
//   - The API server is away: the Mirror goes on; each projection tries one name that differs after the other until a write
//     is answered, and then all of them (package outage).
//   - Rollcall starts anew: the Mirror is seeded from the DiscoveredNodes; until the bucket has been listed completely,
//     endpoints are added and updated, never removed.
package controllers
