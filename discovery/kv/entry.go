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
}

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
	meta, err := m.Metadata()
	if err != nil {
		return delivered{}, fmt.Errorf("reading the metadata of a message on %q: %w", m.Subject, err)
	}
	key := strings.TrimPrefix(m.Subject, subjectPrefix)
	return delivered{
		entry:    newEntry(key, m.Header, m.Data, meta.Sequence.Stream, meta.Timestamp),
		sequence: meta.Sequence.Consumer,
	}, nil
}
