// Package kv follows a NATS JetStream Key-Value bucket and writes to it. Package discovery builds the registry of nodes on it.
// It is public without a promise of stability.
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
package kv
