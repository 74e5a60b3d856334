// Package mirror holds the last known state of every node, and decides what becomes of it.
//
// A Mirror belongs to one NodeRegistry. The bucket's Watcher writes into it (it is a kv.Sink), the projections read from it,
// and it tells them which nodes to look at. A new one goes on from the DiscoveredNodes that exist, so that a start while NATS
// is down begins with the last known state.
//
// # Apply, settle, publish
//
//	Entry, Read, Absent, Arrived, Silent, SetPolicy …            an input of the Mirror
//	      │ apply: change one entry, mark what depends on it     table, messages, silences
//	      ▼
//	   settle: what is each marked node now?                     table.settle
//	      ▼
//	   publish what differs                                      outbox, observer
//
// Who has a name, who is superseded and what a node looks like is decided in settle alone, from the marked entries and the
// indexes. No input undoes what another has done.
//
// # Heard first, read later
//
// A message is evidence when it arrives: the node lives, or its key was deleted. What its record says counts once it was read, by
// whoever calls Read, in the order in which the keys came, the latest message of each; see unread. A node that is silent is back
// once its record was read. A listing is complete once everything that it has shown was read. A heartbeat that repeats the record
// that is known, in a text that is short, has nothing to be read: it is done with when it comes, unless an earlier message of its key
// waits.
//
// A record that is refused leaves who the node is and how it is reached as it was; see record.Reading. After a change of how
// records are read, or of the bucket that they come from, everything is staged: what the listing shows is applied in one step at
// its end. Entries without the new prefix are absent from then on.
//
// # Keys and nodes
//
// A key is an entry, whatever its value says. Rollcall's own records repeat the node ID of their key; those that a Reader
// reads name it themselves. The DiscoveredNode is named after the ID, or after the key while the ID is unknown. Of two
// keys with one ID the older has the name until it expires; the other one is Invalid meanwhile, or keeps the ID that it had.
//
// Of more than MaxNodes keys, those beyond wait, in the order in which they came, for a place to become free. None that is
// in is ever taken out for another. What waits has a budget, since a server may have any number of keys: see MaxKeys, excess
// and messages.put.
//
// # A budget for changes
//
// A change of a node may be a write for each Service, and a key may change as often as the server takes messages. So a key has a
// budget of 20 changes, of which one comes back each second. Each change that is published costs one. While nothing is left, a node is
// published with no more than it had, see Node.within: what it loses is lost at once, what it gains waits until the budget has refilled,
// and a node that was not there is not published at all. Of what depends on labels the Mirror knows nothing: a node that is Flapping has
// those that it has now, and no Service gives it an endpoint that it has not. Read looks again in time. Only keys that changed lately are
// remembered.
//
//	the key                what is published                     costs
//	has some left          what the node is                      1; 0 for the first of a key
//	has none left          what it has of what it had, Flapping  1; 0 where no traffic, address or port is lost
//	unregistered           that it is gone                       1, as a debt where nothing is left
//
// # Silence
//
// Every message of a key is a heartbeat. Package liveness counts for how long a node has been silent while somebody
// listened; so time passes when something arrives from the server, and a Mirror has no timer. Half a second before a deadline
// the node is due: the Watcher asks the stream's leader, and only once it has confirmed the silence does the deadline take the
// traffic. An answer of before a gap confirms nothing.
//
//	silence   due    means                                              traffic
//	none      no     the node heartbeats, or has time left              as the record says
//	none      yes    a deadline is near, the leader is being asked      as the record says
//	held      no     a deadline has passed, the guard holds the node    as the record says; phase Stale
//	stale     no     silent for staleAfter                              not ready
//	stale     yes    the TTL has nearly passed, the leader is asked     not ready
//	expired   no     silent for the TTL; visible for retainExpired      none
//
// What others at its addresses make of a node that will not make its deadline:
//
//	shadow       means                                                      traffic
//	alone        nobody shares an address and port with it                  as above
//	hushed       another node does, and comes first                         as above, where it comes first
//	superseded   at each of them a node answers that came after it          not ready, whatever the guard says
//
// From each of them the next message leads back to none, and nothing else does: neither a gap nor a restart brings a silent
// node back. A node whose deletion is seen is forgotten at once; one whose key is merely missing goes at its deadline.
//
// # The disruption guard
//
// While all of at least three nodes are silent, or more than maxSilentPercent of at least minNodes, none loses its traffic:
// the cause is more likely a network than the nodes. A node counts as silent once two thirds of its deadline have passed, so
// that all nodes that stopped together are counted when the first of them is due. Only nodes count that have a good record
// with an address, and none that a newer node has superseded at its addresses. The guard lets go when as many heartbeat as
// satisfy the limit, whether they returned or are new, and gives the silent ones another grace; or when a person accepts.
//
// # Cost
//
// A heartbeat that repeats the last one is neither kept nor decoded, and one that changes nothing makes no new Node, whatever the number
// of nodes; it moves no timer. Reading takes a share of a processor, so that no registry slows another.
// Only a deadline that is near counts the nodes, at most once in 50 ms, and a guard that holds nodes counts once a second.
package mirror
