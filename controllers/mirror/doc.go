// Package mirror holds the last known state of every node, and decides what becomes of it.
//
// A Mirror belongs to one NodeRegistry. The bucket's Watcher writes into it (it is a discovery.Sink), the projections read
// from it, and it tells them which names to look at. It is seeded with the DiscoveredNodes that exist, so that a start
// while NATS is down goes on from the last known state.
//
// # Keys and nodes
//
// A key is an entry, whatever its value says. Rollcall's own records repeat the node ID of their key; those that a Reader
// reads name it themselves. The DiscoveredNode is named after the ID, or after the key while the ID is unknown. Of two
// keys with one ID the older has the name until it expires; the other one is Invalid meanwhile.
//
// Of more than MaxNodes keys, those beyond wait, in the order in which they came, for a place to become free. None that is
// in is ever taken out for another.
//
// What is bad about an entry is said at its node and stays there: nothing that somebody wrote to the bucket is decoded,
// kept or shown beyond a bound, and nothing is shown that the API server would refuse.
//
// # Phases
//
// Every message of a key is a heartbeat. From its server timestamp run two deadlines, staleAfter and the TTL, on the
// server's clock. A node that lets one pass is Stale, then Expired, and stays so until its next message: neither a gap nor
// a restart brings it back. An Expired node takes no traffic, stays visible for retainExpired, and is forgotten. A node
// whose deletion is seen is forgotten at once; one whose key is merely missing goes at its deadline.
//
// # Gaps
//
// While the bucket can't be read, no deadline passes. Once a listing is complete after a gap, every node that has not
// been heard from since has at least reconnectGrace left: it may have been cut off as well.
//
// # The disruption guard
//
// If more than maxSilentPercent of the nodes would expire within one TTL, none does: the cause is more likely a network
// than the nodes. A node is counted as overdue once it has been silent for two thirds of its TTL, so that all nodes that
// stopped together are counted when the first of them is due. The guard lets go when heartbeats come back and those that
// did not are few enough (they get another grace), or when a person accepts the expiry.
//
// # Cost
//
// A heartbeat costs the decoding of its record and one small allocation, whatever the number of nodes; it moves no timer.
// Only the passing of a TTL counts the nodes, at most once in 50 ms.
package mirror
