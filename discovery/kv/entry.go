package kv

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Operation is what a message did to its key.
type Operation uint8

// The operations.
const (
	// Put: the message is the key's record.
	Put Operation = iota
	// Unregister: a client deleted or purged the key. The markers with which a server reports a removal by a person, whose
	// reason is Remove or Purge, count as this too.
	Unregister
	// Expire: the server's marker that the key's last message has become older than its TTL.
	Expire
)

// String returns the operation's name.
func (o Operation) String() string {
	switch o {
	case Put:
		return "Put"
	case Unregister:
		return "Unregister"
	case Expire:
		return "Expire"
	}
	return "Operation(" + strconv.Itoa(int(o)) + ")"
}

// Entry is one message of one key.
type Entry struct {
	// Key is the key, prefix included. It may be one that clients wouldn't accept.
	Key string
	// Value is the record, see discovery.Decode; empty unless the operation is Put. It must not be written to.
	Value []byte
	// Revision is the message's sequence in the bucket's stream.
	Revision uint64
	// Written is the server's timestamp.
	Written time.Time
	// Age is how old the message is at least, by the server's clock. It is 0 for a message that came in as it was written, and
	// where the server doesn't tell its time.
	Age time.Duration
	// TTL is the message's own TTL: 0 if it has none and the bucket's counts, negative if the message never expires. It is
	// to be ignored in a bucket that doesn't allow TTLs, see [Bucket.Lifetime].
	TTL time.Duration
	// Operation is what the message did.
	Operation Operation
	// Memo is the same for each message of the key, for as long as the Watcher remembers the key; nil for a message that comes another
	// way.
	Memo *Memo
}

// Memo is where a [Sink] may keep what it knows of a key, so that it need not look for it each time. The Watcher does not look at it.
type Memo struct{ Of any }

// The headers of NATS Key-Value: ADR-8 (operations), ADR-43 (TTLs) and ADR-48 (markers) of nats-architecture-and-design.
const (
	headerOperation = "KV-Operation"
	headerMarker    = "Nats-Marker-Reason"
	headerTTL       = "Nats-TTL"
	headerExpected  = "Nats-Expected-Last-Subject-Sequence"
	operationDelete = "DEL"
	operationPurge  = "PURGE"
	markerExpired   = "MaxAge"
)

func operationOf(h nats.Header) Operation {
	if reason := h.Get(headerMarker); reason != "" {
		if reason == markerExpired {
			return Expire
		}
		return Unregister
	}
	switch h.Get(headerOperation) {
	case operationDelete, operationPurge:
		return Unregister
	}
	return Put
}

// ttlOf reads the TTL as the server does: "never", a duration cut to seconds, or seconds.
func ttlOf(h nats.Header) time.Duration {
	v := h.Get(headerTTL)
	if v == "" {
		return 0
	}
	if strings.EqualFold(v, "never") {
		return -1
	}
	if d, err := time.ParseDuration(v); err == nil {
		return max(d.Truncate(time.Second), 0)
	}
	s, err := strconv.ParseUint(v, 10, 32)
	if err != nil {
		return 0
	}
	return time.Duration(s) * time.Second
}

func newEntry(key string, h nats.Header, data []byte, revision uint64, written time.Time) Entry {
	e := Entry{Key: key, Revision: revision, Written: written, Operation: operationOf(h)}
	if e.Operation == Put {
		e.Value, e.TTL = data, ttlOf(h)
	}
	return e
}

// delivered is a message of a consumer: the entry and where it stands in the consumer's own count.
type delivered struct {
	entry    Entry
	sequence uint64
}

// parseDelivered reads a message that a consumer delivered for a subject below subjectPrefix.
func parseDelivered(m *nats.Msg, subjectPrefix string) (delivered, error) {
	p, ok := parsePlace(m.Reply)
	if !ok {
		return delivered{}, fmt.Errorf("a message on %q has the reply subject %q, which is none of a consumer", m.Subject, m.Reply)
	}
	key := strings.TrimPrefix(m.Subject, subjectPrefix)
	return delivered{entry: newEntry(key, m.Header, m.Data, p.stream, time.Unix(0, int64(p.written))), sequence: p.consumer}, nil
}

// place is where a message stands, in the stream and in what its consumer has sent, and when the server got it, in Unix nanoseconds.
type place struct{ stream, consumer, written uint64 }

// The reply subjects of what a consumer delivers, by the number of their tokens:
//
//	9: $JS.ACK.<stream>.<consumer>.<deliveries>.<place in the stream>.<place in the consumer>.<time>.<pending>
//	from 11 on: $JS.ACK.<domain>.<hash of the account>.<stream>. and so on
const tokensAlone, tokensOfDomain = 9, 11

// parsePlace reads a reply subject. The client does so too, and leaves half a kilobyte of each to the garbage collector.
func parsePlace(reply string) (p place, ok bool) {
	before := 5
	if !strings.HasPrefix(reply, "$JS.ACK.") {
		return p, false
	}
	switch tokens := strings.Count(reply, ".") + 1; {
	case tokens >= tokensOfDomain:
		before += 2
	case tokens != tokensAlone:
		return p, false
	}
	for range before {
		_, reply, _ = strings.Cut(reply, ".")
	}
	for _, into := range []*uint64{&p.stream, &p.consumer, &p.written} {
		var digits string
		digits, reply, _ = strings.Cut(reply, ".")
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			return p, false
		}
		*into = n
	}
	return p, true
}
