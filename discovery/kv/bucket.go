package kv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bucket is what is known of a bucket at one moment.
type Bucket struct {
	// Name is the bucket's name.
	Name string
	// Created is when the bucket was created, on the server's clock; another time means another bucket.
	Created time.Time
	// Revision is the sequence of the last message, and Values counts the messages, markers included.
	Revision, Values uint64
	// TTL is how long after its last message a key expires; 0: never.
	TTL time.Duration
	// History is how many revisions of a key are kept.
	History int
	// Storage is where the bucket is kept, and Replicas on how many servers.
	Storage  jetstream.StorageType
	Replicas int
	// Markers says that the server writes a marker when a key expires, and MarkerTTL how long a marker lives.
	Markers   bool
	MarkerTTL time.Duration
	// MessageTTL says that a message may have a TTL of its own.
	MessageTTL bool
	// MaxValueSize is the greatest size of a record in bytes, headers included; 0: no limit but the server's.
	MaxValueSize int32
	// Mirror says that the bucket mirrors another one and can't be written to.
	Mirror bool
	// ServerVersion is the version of the server that the client is connected to.
	ServerVersion string
	// Store is whether the bucket takes writes.
	Store Store
	// Denied is the subject of a request about keys that the login may not make, as far as that has shown; empty: none.
	Denied string
	// LeftOut says that there are more keys than [Sink.MaxKeys].
	LeftOut bool
	// ServerTime is a time on the server's clock that had come at ReceivedAt, which is local and has a monotonic reading;
	// zero if the server doesn't tell its time, as those before 2.10. See [Bucket.ServerTimeAt].
	ServerTime, ReceivedAt time.Time

	firstRevision uint64
	subjectPrefix string
	state         *streamState // nil: not known
}

// Lifetime returns how long after its Written e expires: its own TTL if the bucket allows it and it is shorter, or the
// bucket's; at most [MaxLifetime]. It is 0 if e never expires.
func (b Bucket) Lifetime(e Entry) time.Duration {
	switch {
	case !b.MessageTTL || e.TTL == 0:
		return min(b.TTL, MaxLifetime)
	case e.TTL < 0:
		return 0
	case b.TTL == 0:
		return min(e.TTL, MaxLifetime)
	}
	return min(b.TTL, e.TTL, MaxLifetime)
}

// MaxLifetime is the longest life that is reckoned with. A server may name a TTL of 292 years, to which nothing can be added.
const MaxLifetime = 10 * 365 * 24 * time.Hour

// ServerTimeAt returns a time on the server's clock that has come at the local time at, or zero if the server doesn't tell
// its time. It relies on the monotonic clock since ReceivedAt, and is never later than the server's clock, unless that was set
// back: what is judged by it may only live longer.
func (b Bucket) ServerTimeAt(at time.Time) time.Time {
	if b.ServerTime.IsZero() {
		return time.Time{}
	}
	return b.ServerTime.Add(at.Sub(b.ReceivedAt))
}

// age returns how old a message of that time is at least at the local time at.
func (b Bucket) age(written, at time.Time) time.Duration {
	if b.ServerTime.IsZero() {
		return 0
	}
	return max(b.ServerTimeAt(at).Sub(written), 0)
}

// The defaults of the fleets that exist.
const (
	// DefaultBucket is the name of the bucket.
	DefaultBucket = "catga_nodes"
	// DefaultKeyPrefix is what the key of a node starts with.
	DefaultKeyPrefix = "node."
	// DefaultTTL is how long a node stays without a heartbeat.
	DefaultTTL = 5 * time.Minute
	// DefaultHistory is how many revisions of a node are kept.
	DefaultHistory = 5
)

// The errors of buckets.
var (
	// ErrBucketNotFound: the bucket doesn't exist.
	ErrBucketNotFound = errors.New("bucket not found")
	// ErrInvalidBucket: the bucket's name or a setting of it is invalid.
	ErrInvalidBucket = errors.New("invalid bucket")
)

// BucketConfig says which bucket is wanted. A setting that is zero is not set: it is chosen when the bucket is created, and never
// compared with that of a bucket that exists.
type BucketConfig struct {
	// Name is the bucket's name: letters, digits, - and _. Required.
	Name string
	// TTL is the wanted TTL; negative: keys never expire. Not set: [DefaultTTL].
	TTL time.Duration
	// History is the wanted number of revisions, from 1 to 64. Not set: [DefaultHistory].
	History int
	// Storage is the wanted storage. Not set: files.
	Storage *jetstream.StorageType
	// Replicas is the wanted number of replicas, from 1 to 5. Not set: 1.
	Replicas int
	// MarkerTTL is how long the marker lives that the server writes when a key expires, at least a second. Not set: no
	// markers. A server older than 2.11 writes none.
	MarkerTTL time.Duration
	// Create says that a missing bucket is to be created.
	Create bool
	// Domain is the JetStream domain; empty for the connection's own.
	Domain string
	// APIPrefix is what the subjects of the JetStream API begin with in place of $JS.API, for a bucket of another account; empty:
	// what the domain has. Entries are written to <prefix>.$KV.<bucket>.
	APIPrefix string
}

// Difference is a setting of an existing bucket that isn't as wanted.
type Difference struct {
	// Setting is the setting's name: TTL, History, Storage, Replicas or MarkerTTL.
	Setting string
	// Want and Got are its wanted and its actual value.
	Want, Got string
}

// EnsureBucket returns the bucket and creates it first if it is missing and c.Create is set. It never alters a bucket
// that exists: what isn't as wanted is returned.
//
// The error matches [ErrInvalidBucket], [ErrBucketNotFound], [ErrNoAnswer] or [ErrUnavailable] where it is one of those.
// ctx bounds the call; a request is given up after 2 s.
func EnsureBucket(ctx context.Context, nc *nats.Conn, c BucketConfig) (Bucket, []Difference, error) {
	if err := c.Validate(); err != nil {
		return Bucket{}, nil, err
	}
	a := newAPI(nc, apiPrefix(c.Domain, c.APIPrefix), c.Name, defaultAPITimeout)
	b, err := a.info(ctx)
	if errors.Is(err, ErrBucketNotFound) && c.Create {
		if err := createBucket(ctx, nc, c); err != nil {
			return Bucket{}, nil, err
		}
		b, err = a.info(ctx)
	}
	if err != nil {
		return Bucket{}, nil, err
	}
	return b, c.Differences(b), nil
}

// Validate returns an error that matches [ErrInvalidBucket] if a setting is invalid.
func (c BucketConfig) Validate() error {
	switch {
	case !validBucket(c.Name):
		return fmt.Errorf("%w: name %q: use letters, digits, - and _", ErrInvalidBucket, c.Name)
	case c.History < 0 || c.History > 64:
		return fmt.Errorf("%w: history %d: use 1 to 64", ErrInvalidBucket, c.History)
	case c.MarkerTTL < 0 || c.MarkerTTL > 0 && c.MarkerTTL < time.Second:
		return fmt.Errorf("%w: marker ttl %v: use 1s or more", ErrInvalidBucket, c.MarkerTTL)
	case c.Replicas < 0 || c.Replicas > 5:
		return fmt.Errorf("%w: replicas %d: use 1 to 5", ErrInvalidBucket, c.Replicas)
	case strings.ContainsAny(c.Domain, "*> \t\r\n"):
		return fmt.Errorf("%w: domain %q: use a name without spaces and wildcards", ErrInvalidBucket, c.Domain)
	case strings.ContainsAny(c.APIPrefix, "*> \t\r\n"):
		return fmt.Errorf("%w: API prefix %q: use a subject without spaces and wildcards", ErrInvalidBucket, c.APIPrefix)
	}
	return nil
}

func createBucket(ctx context.Context, nc *nats.Conn, c BucketConfig) error {
	js, err := newJetStream(nc, apiPrefix(c.Domain, c.APIPrefix))
	if err != nil {
		return err
	}
	cfg := jetstream.KeyValueConfig{
		Bucket: c.Name, TTL: max(cmp.Or(c.TTL, DefaultTTL), 0), History: uint8(cmp.Or(c.History, DefaultHistory)),
		Replicas: cmp.Or(c.Replicas, 1), LimitMarkerTTL: c.MarkerTTL,
	}
	if c.Storage != nil {
		cfg.Storage = *c.Storage
	}
	_, err = js.CreateKeyValue(ctx, cfg)
	if errors.Is(err, jetstream.ErrLimitMarkerTTLNotSupported) {
		cfg.LimitMarkerTTL = 0
		_, err = js.CreateKeyValue(ctx, cfg)
	}
	if err != nil && !errors.Is(err, jetstream.ErrBucketExists) {
		return fmt.Errorf("creating bucket %q: %w", c.Name, classify(err))
	}
	return nil
}

// Differences returns the settings of a bucket that are not as wanted.
func (c BucketConfig) Differences(b Bucket) []Difference {
	var diffs []Difference
	compare := func(setting string, set bool, want, got any) {
		if set && want != got {
			diffs = append(diffs, Difference{Setting: setting, Want: fmt.Sprint(want), Got: fmt.Sprint(got)})
		}
	}
	compare("TTL", c.TTL != 0, max(c.TTL, 0), b.TTL)
	compare("History", c.History != 0, c.History, b.History)
	if c.Storage != nil {
		compare("Storage", true, *c.Storage, b.Storage)
	}
	compare("Replicas", c.Replicas != 0, c.Replicas, b.Replicas)
	compare("MarkerTTL", c.MarkerTTL != 0, c.MarkerTTL, b.MarkerTTL)
	return diffs
}
