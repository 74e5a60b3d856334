package discovery

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// Options are the settings of a Registry. The zero value is that of the fleets that exist.
type Options struct {
	// Bucket is the bucket's name; empty: DefaultBucket.
	Bucket string
	// KeyPrefix is what the keys of nodes start with; nil: DefaultKeyPrefix. It may point to an empty string.
	KeyPrefix *string
	// TTL is how long a node stays without a heartbeat, in a bucket that is created; 0: DefaultTTL, negative: for ever.
	TTL time.Duration
	// History is how many revisions of a node a bucket that is created keeps, up to 64; 0: DefaultHistory.
	History int
	// Storage is where a bucket that is created is kept.
	Storage jetstream.StorageType
	// Replicas is on how many servers a bucket that is created is kept; 0: on one.
	Replicas int
	// NoCreate says that a missing bucket is an error.
	NoCreate bool
	// WriteOnly says that the registry does not follow the bucket: no node is known, and nothing is watched. It is for
	// programs that only keep themselves alive, of which there may be thousands: each would receive the heartbeats of all.
	WriteOnly bool
	// Domain is the JetStream domain; empty for the connection's own.
	Domain string
	// APITimeout bounds one request; 0: 2 s.
	APITimeout time.Duration
	// Logger receives what a person may want to know; nil: nothing is logged.
	Logger *slog.Logger
}

func (o Options) bucketConfig() kv.BucketConfig {
	c := kv.BucketConfig{
		Name: cmp.Or(o.Bucket, DefaultBucket), TTL: cmp.Or(o.TTL, DefaultTTL), History: cmp.Or(o.History, DefaultHistory),
		Storage: &o.Storage, Replicas: cmp.Or(o.Replicas, 1), MarkerTTL: maxMarkerTTL, Create: !o.NoCreate, Domain: o.Domain,
	}
	if c.TTL > 0 {
		// A marker that outlived the TTL would serve nobody, and the server refuses less than a second.
		c.MarkerTTL = max(min(c.TTL, maxMarkerTTL), time.Second)
	}
	return c
}

// maxMarkerTTL bounds how long a marker lives. It has to outlive a few relists, so that a watcher that missed the live
// marker finds it in a listing.
const maxMarkerTTL = 5 * time.Minute

func (o Options) keyPrefix() string {
	if o.KeyPrefix == nil {
		return DefaultKeyPrefix
	}
	return *o.KeyPrefix
}

// ConnectOptions returns what a connection of a [Registry] should be made with, before options of one's own; see
// [kv.ConnectOptions].
func ConnectOptions() []nats.Option { return kv.ConnectOptions() }
