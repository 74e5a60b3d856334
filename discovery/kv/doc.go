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
//   - After any gap it lists the bucket again, in full: the last message of every key. It says why, see [Cause].
//   - A listing is complete when the consumer has come past what the stream held at a moment after it began, and no message
//     on the way was missing. Only then is it [Sink.Synced].
//   - A key that the listing didn't hold is asked for at the stream's leader before it is told [Sink.Absent]. A read that
//     fails confirms nothing.
//   - If the cluster has no leader who could create a consumer, the stream's leader creates one by itself, so that the bucket is
//     followed again as soon as it takes writes. A leader that hears from too few replicas for that counts as no answer.
//   - Every few seconds the stream's state is compared with what was seen, because recreating or purging a bucket sends no
//     message. Now and then the bucket is listed without need, by a second consumer, while the first goes on delivering.
//
// # When silence counts
//
// A [Sink] hears of every arrival, so that it can tell how long a node has been silent from how long nobody listened. It names
// the keys that it takes for silent, and the Watcher asks first: STREAM.INFO, whether nodes could have written at all, then
// the stream's leader for the last message of each key, 256 at a time. A newer message is delivered. No answer confirms
// nothing, and the question is put again.
//
// What a [Store] takes follows from the stream's and the account's state, and from what the caller's own Writer is refused:
//
//	refusal       when                                                                      concerns
//	Sealed        the stream is sealed; its TTL stays the one that it had                    all keys
//	NobodyWrites  the stream has none of the keys' subjects                                  all keys
//	StoreFull     under DiscardNew, another record of the largest size would pass max_bytes  all keys
//	              the same for max_msgs: on several replicas                                 all keys
//	              on one replica                                  keys with fewer messages than the history
//	              with discard_new_per_subject                     keys with as many messages as the history
//	              the account has no room, or the Writer is refused for want of room         all keys
//	MirrorCut     the mirror's origin was silent for 3 s, or has not been caught up with     all keys
//	              the same for a source                            keys that come through it
//
// A replicated store refuses earlier than its state shows, since its leader counts what it has proposed, so there is to be room
// for 16 records. What can't be seen is a cut further away than the origin, and a disk that is full while nobody writes by the
// Writer.
//
// # Renewed credentials
//
// [Watcher.Rebind] and [Writer.Rebind] change to another connection without a gap.
//
// # Permissions
//
// Besides those that package discovery lists, $JS.API.INFO shows whether the account is full. Where the login may not use it, the
// server reports a violation every 5 minutes. Where it may not use $JS.API.STREAM.MSG.GET, [Sink.Silent] is called without the
// leader's word, and Bucket.Denied names the subject.
package kv
