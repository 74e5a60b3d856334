package mirror

import (
	"reflect"
	"time"

	"github.com/rollcall-dev/rollcall/controllers/record"
)

// Policy is the part of a NodeRegistry that decides what becomes of its nodes. Durations of zero mean what their field
// says.
type Policy struct {
	// Record says how entries are read.
	Record record.Policy
	// MaxNodes is how many entries are mirrored at most; zero: all of them.
	MaxNodes int
	// StaleAfter is how long after its last heartbeat a node is no longer ready for traffic; zero: never.
	StaleAfter time.Duration
	// RetainExpired is how long an expired node stays visible.
	RetainExpired time.Duration
	// ReconnectGrace is how long nodes have to heartbeat again after a gap; zero: the TTL.
	ReconnectGrace time.Duration
	// FallbackTTL is the TTL wished for, in force only for keys that are absent from a bucket which has none; zero: the default.
	FallbackTTL time.Duration
	// Partial is true if not every node has a DiscoveredNode: a Mirror that begins with those that there are does not know all
	// that there was to know.
	Partial bool
	// MaxSilentPercent and MinNodes are the disruption guard's; see guard.
	MaxSilentPercent, MinNodes int
}

// equal returns true if two policies are the same.
func (p Policy) equal(o Policy) bool {
	same := p.Record.Equal(o.Record)
	p.Record, o.Record = record.Policy{}, record.Policy{}
	return same && reflect.DeepEqual(p, o)
}
