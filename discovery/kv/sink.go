package kv

import "time"

// Cause is why a watcher lists a bucket in full.
type Cause string

// The causes of a listing.
const (
	// CauseStart: the watcher has just begun.
	CauseStart Cause = "Start"
	// CauseReconnect: the connection to NATS was lost and is back.
	CauseReconnect Cause = "Reconnect"
	// CauseMissedHeartbeat: the connection stood, but the server's consumer fell silent.
	CauseMissedHeartbeat Cause = "MissedHeartbeat"
	// CauseSequenceGap: a message of the consumer got lost on the way.
	CauseSequenceGap Cause = "SequenceGap"
	// CauseRecreated: the bucket is another one than before, of the same name.
	CauseRecreated Cause = "Recreated"
	// CausePurged: messages were removed from the bucket without a word.
	CausePurged Cause = "Purged"
	// CauseError: the server refused to answer, or the last listing got stuck.
	CauseError Cause = "Error"
	// CausePeriodic: nothing happened; removals without an event are found this way.
	CausePeriodic Cause = "Periodic"
	// CausePlanned: the watcher changes to another connection, while the old one goes on.
	CausePlanned Cause = "Planned"
)

// Gap reports whether messages may have been missed before the listing. It is false for CausePeriodic and CausePlanned.
func (c Cause) Gap() bool { return c != CausePeriodic && c != CausePlanned }

// quiet reports whether the bucket can still be read although its consumer is of no more use, so that the next listing
// can be announced at once.
func (c Cause) quiet() bool {
	return c == CauseSequenceGap || c == CauseRecreated || c == CausePurged
}

// Observer sees what happens in a bucket. Its methods are called one at a time from one goroutine, in the order of the
// bucket's stream. They must not block: while one runs, nothing is delivered, and a server may take the watcher for gone.
type Observer interface {
	// Listing says that a listing has begun. What was known before is unconfirmed until Synced. A listing that is cut off
	// is followed by Disconnected or by another Listing, whose Synced counts for both.
	Listing(cause Cause)
	// Entry is the last message of a key. It is newer than whatever was delivered for that key before, unless the bucket
	// was recreated since. It may be a removal of a key that was never delivered.
	Entry(e Entry)
	// Synced says that every key that was live when the listing began has been delivered, now or before.
	Synced(b Bucket)
	// Absent names keys that were delivered as Put, or were in WatcherOptions.Known, and that the last complete listing
	// didn't hold; the stream's leader has confirmed each. It says nothing about why a key is gone: it may have expired or
	// been purged, or the store may have been lost.
	Absent(keys []string)
	// Bucket brings the bucket's settings and state: every WatcherOptions.InfoInterval, and at once when Bucket.Store or
	// Bucket.Denied is another than before.
	Bucket(b Bucket)
	// Disconnected says that the bucket can't be read, and why; nothing is delivered until the next Listing. It is called
	// again if the reason changes. The error matches [ErrConnectionLost], [ErrBucketNotFound], [ErrNoHeartbeat],
	// [ErrNoAnswer], [ErrUnavailable] or [ErrStalled] where it is one of those.
	Disconnected(err error)
}

// Sink is an Observer that also decides when silence is a death. The Watcher tells it for how long it has been listened, and
// asks the stream's leader before a node is taken for dead.
type Sink interface {
	Observer
	// Arrived says that something has arrived from the server: an entry, a heartbeat of the consumer, flow control, or an answer
	// about keys of Overdue. It is called once for each batch, during listings as well, before the entries of the batch; at has
	// a monotonic reading. It is not called while the stream's leader, when asked how the bucket is, does not answer for longer than
	// the limit of silence: what arrives then says that somebody listens, and not that anybody can write.
	Arrived(at time.Time)
	// Overdue returns the keys that are about to be taken for dead, or to lose traffic, because they are silent. It is called
	// after a batch while the bucket is followed and no question about an earlier answer is under way, so it must be cheap
	// when there are none. A key may be returned again and again, until it is named by Silent or heard.
	Overdue() []string
	// Silent names keys of Overdue of which the stream's leader, in a store that takes writes, has just confirmed that it
	// holds nothing newer than what was delivered. Where the login may not read from the leader, it is called without a
	// confirmation, and Bucket.Denied names the subject.
	Silent(keys []string)
	// Withheld names keys of Overdue whose heartbeats the store may refuse while it takes those of others: the time in which it
	// is Partial is no silence of theirs.
	Withheld(keys []string)
	// MaxKeys returns how many keys are followed at most, removals that have to be remembered included; 0: no bound. Once there
	// are as many, keys that are not among them are left out until there is room and they are written or listed again, and
	// [Bucket.LeftOut] says so. A key counts once more for each 128 bytes of its length. It is called for each batch.
	MaxKeys() int
}

// Observe returns a Sink for an Observer that decides nothing about silence.
func Observe(o Observer) Sink { return observer{o} }

type observer struct{ Observer }

// Arrived implements Sink.
func (observer) Arrived(time.Time) {}

// Overdue implements Sink.
func (observer) Overdue() []string { return nil }

// Silent implements Sink.
func (observer) Silent([]string) {}

// Withheld implements Sink.
func (observer) Withheld([]string) {}

// MaxKeys implements Sink.
func (observer) MaxKeys() int { return 0 }
