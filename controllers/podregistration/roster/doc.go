// Package roster keeps the entries of pods in the bucket of one NodeRegistry: it writes them, heartbeats for them, and
// removes them, each write guarded by the key's revision.
//
// # Who owns which state
//
// What is wanted comes from outside as claims, one for each pod and PodRegistration. What is known of a key comes from the
// answers to the Roster's own writes and from the bucket's Watcher, to which the Roster listens as a discovery.Sink. The
// Roster compares the two key by key and does one thing at a time for each key:
//
//	wanted     known                                    so
//	claim      nothing, a removal, or the pod's entry   write, and again at every heartbeat
//	claim      another owner's entry                    conflict: leave it alone, look again with backoff
//	no claim   an entry of this registry                remove
//	no claim   anything else                            forget
//
// An entry is this registry's if this process has written it, or if a PodRegistration that exists here registered it, or
// if its owner's UID is that of a pod that exists here: Options.Standing. The cluster's name alone proves nothing: two
// clusters may have the same. An entry with this cluster's name that is proven in neither way is left to its TTL.
//
// # Start
//
// Nothing is written before the bucket has been listed completely. Nothing that this process has not written is removed
// or taken over before, besides, every pod has been looked at: Options.Settled.
//
// # Failures
//
// A write that is overtaken, or whose answer is unclear, makes the key unknown; it is read from the stream's leader. While
// the connection is down nothing is decided: claims stay what they are. While the stream takes nothing, because it has no
// leader, one slot tries again at short intervals for all of them, and the others back off; when it gets through, all go
// on at once. Closing the Roster unregisters nothing.
//
// # Cost
//
// A heartbeat costs one step in a heap and one message. The answer and the message that the Watcher delivers are
// recognised by their revision, without decoding anything.
package roster
