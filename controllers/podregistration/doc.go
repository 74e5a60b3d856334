// Package podregistration registers pods in the bucket of a NodeRegistry and heartbeats for them while they are Ready.
//
//	Pods ──podController──▶ claims ──▶ roster.Roster (one per NodeRegistry) ──guarded writes──▶ bucket
//	              ▲                        │     ▲                                               │
//	PodRegistration ──Controller──▶ plans  │     └───────────── the registry's Watcher ◀─────────┘
//	              status ◀─────────────────┘
//
// # Who owns which state
//
//   - A plan is a PodRegistration with its expressions compiled. Controller makes it, and has every pod of the namespace
//     looked at anew when it changes. A spec that can't be compiled changes nothing: the last good plan stays in force.
//   - podController compares one pod with the plans of its namespace, purely (desired), and tells the Roster which claims
//     follow. It also sets the pod's readiness gate and reports Events about it.
//   - The ledger remembers which claims each pod has, so that those of a pod that is gone can be taken back, and knows when
//     every pod has been looked at: until then a Roster removes nothing that another process wrote.
//   - The Roster owns what is in the bucket; package roster says how. It lives as long as the manager, and is attached to
//     the session of its registry while there is one: package noderegistry calls Follow, Unfollow and Leave.
//
// # What happens on a failure
//
//   - NATS is away: nothing is decided, readiness gates stay as they are, and every pod heartbeats once it is back.
//   - A manager ends, or is killed: the entries stay, and the next leader goes on heartbeating where it finds them.
//   - One pod's expression fails, its key is taken, or its record is refused: an Event on that pod, a count and a message
//     in the status; the others go on.
//
// Pods are watched once there is a PodRegistration, and cached without what no expression is to see: Strip.
package podregistration
