// Package discovery is a registry of nodes in a NATS JetStream Key-Value bucket. It needs no Kubernetes.
//
// A node registers by writing a record, see [Node] and [Encode], under its own key, and heartbeats by writing it again.
// If it falls silent, the entry expires after the bucket's TTL. [Open] gives a [Registry], with which a program registers
// nodes, keeps them alive, and finds those of others; [Registry.KeepAlive] is all that most nodes need. A connection for
// it is best made with [ConnectOptions].
//
// # Silence
//
// A node leaves when it has been silent for the TTL, on a clock that advances only while the registry hears from the server
// and the bucket takes writes; package liveness explains it. Neither the clock of the node, nor the local one, nor a step of
// the server's matters. A process that was frozen or cut off finds a gap: every node then gets a whole TTL to be heard again,
// and a dead one leaves after twice the TTL at most. Before a node leaves, the stream's leader is asked whether it has
// something newer. The server's own markers of expiry are hints: a server that was away expires on its return whatever
// couldn't be refreshed meanwhile.
//
// While nobody leaves, [Registry.Err] says why: the bucket can't be read, is full, sealed, cut off from its origin, or has
// lost its subjects. Package kv explains how a bucket is followed without gaps.
//
// # Writing
//
// Every write says which revision it replaces, so that a late heartbeat can't raise the dead and nobody's entry is
// overwritten unseen. If the answer to a write gets lost, the stream's leader is asked what became of it.
//
// # Permissions
//
// For bucket B a watcher publishes to $JS.API.STREAM.INFO.KV_B, $JS.API.CONSUMER.CREATE.KV_B.>,
// $JS.API.CONSUMER.DELETE.KV_B.>, $JS.API.STREAM.MSG.GET.KV_B and $JS.FC.KV_B.>, and subscribes below its inbox prefix.
// Writing takes $KV.B.<key prefix>> besides, and creating the bucket $JS.API.INFO and $JS.API.STREAM.CREATE.KV_B. A program
// that does no more than keep one node alive, with Options.WriteOnly, publishes to $JS.API.STREAM.INFO.KV_B,
// $JS.API.STREAM.MSG.GET.KV_B and its own $KV.B.<key>. With a JetStream domain D, $JS.D.API takes the place of $JS.API, and
// $JS.D.API.$KV.B that of $KV.B.
//
// Without $JS.API.STREAM.MSG.GET the leader can't be asked before a node leaves, so the clock alone decides. Without $JS.API.INFO
// an account that is full shows only once a write is refused.
package discovery
