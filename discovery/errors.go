package discovery

import (
	"errors"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// The errors of a Registry.
var (
	// ErrNotRegistered: the node isn't in the registry, or not any more.
	ErrNotRegistered = kv.ErrNotRegistered
	// ErrConflict: the entry belongs to somebody else, or others overtake every attempt to change it.
	ErrConflict = errors.New("conflict with another writer")
	// ErrReadOnly: the bucket is a mirror, which can't be written to.
	ErrReadOnly = kv.ErrReadOnly
)

// The errors of the bucket that a Registry meets; package kv explains each.
var (
	ErrBucketFull     = kv.ErrBucketFull
	ErrBucketNotFound = kv.ErrBucketNotFound
	ErrBusy           = kv.ErrBusy
	ErrConnectionLost = kv.ErrConnectionLost
	ErrInvalidBucket  = kv.ErrInvalidBucket
	ErrMirrorCut      = kv.ErrMirrorCut
	ErrNobodyWrites   = kv.ErrNobodyWrites
	ErrNoAnswer       = kv.ErrNoAnswer
	ErrNoHeartbeat    = kv.ErrNoHeartbeat
	ErrSealed         = kv.ErrSealed
	ErrStalled        = kv.ErrStalled
	ErrUnavailable    = kv.ErrUnavailable
)

// The defaults of the fleets that exist.
const (
	// DefaultBucket is the name of the bucket.
	DefaultBucket = kv.DefaultBucket
	// DefaultKeyPrefix is what the key of a node starts with.
	DefaultKeyPrefix = kv.DefaultKeyPrefix
	// DefaultTTL is how long a node stays without a heartbeat.
	DefaultTTL = kv.DefaultTTL
	// DefaultHistory is how many revisions of a node are kept.
	DefaultHistory = kv.DefaultHistory
)
