// Package discovery is a registry of nodes in a NATS JetStream Key-Value bucket. It needs no Kubernetes.
//
// A node registers by writing a record, see [Node] and [Encode], under its own key, and heartbeats by writing it again.
// If it falls silent, the entry expires after the bucket's TTL. [Open] gives a [Registry], with which a program registers
// nodes, keeps them alive, and finds those of others; [Registry.KeepAlive] is all that most nodes need. A connection for
// it is best made with [ConnectOptions].
//
// # Watching without gaps
//
// A [Watcher] shows a [Sink] what happens in a bucket. It does not use the client's own KeyWatcher, which may be blind for
// many seconds after a restart of the server, loses the deletions of that time, and says that it has delivered everything
// before it has. Instead:
//
//   - It owns a consumer on the server, which sends a heartbeat every half second. A lost connection is noticed at once, a
//     silent consumer within a second, a lost message with the next one.
//   - After any gap it lists the bucket anew, in full: the last message of every key. It says why, see [Cause].
//   - A listing is complete when the consumer has come past what the stream held at a moment after it began, and no message
//     on the way was missing. Only then is it [Sink.Synced].
//   - A key that the listing didn't hold is asked for at the stream's leader before it is told [Sink.Absent]. A read that
//     fails confirms nothing.
//   - If the cluster has no leader who could create a consumer, the stream's leader creates one by itself, so that the bucket is
//     followed again as soon as it takes writes. A leader that hears from too few replicas for that counts as no answer.
//   - Every few seconds the stream's state is compared with what was seen, because recreating or purging a bucket sends no
//     message. Now and then the bucket is listed without need, by a second consumer, while the first goes on delivering.
//
// # Deadlines
//
// A node's deadline is the server's timestamp of its last message plus the TTL, on the server's clock, which the local
// monotonic clock carries on; neither the node's clock nor the local wall clock matters. The server's own markers of expiry
// are hints: a server that was away expires on its return whatever couldn't be refreshed meanwhile. While the bucket can't be
// read, no deadline passes, and after a gap every node gets a whole TTL to be heard again.
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
package discovery
