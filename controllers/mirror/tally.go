package mirror

import "github.com/rollcall-dev/rollcall/discovery/kv"

// Tally is what a Mirror has counted since it was made.
type Tally struct {
	// Events counts the messages of the bucket that came in, those of listings among them, by what they did.
	Events map[kv.Operation]uint64
	// Listings counts the listings that have begun, by their cause.
	Listings map[kv.Cause]uint64
}

// newTally returns one with every operation and cause, so that a metric begins at zero.
func newTally() Tally {
	return Tally{
		Events: map[kv.Operation]uint64{kv.Put: 0, kv.Unregister: 0, kv.Expire: 0},
		Listings: map[kv.Cause]uint64{
			kv.CauseStart: 0, kv.CauseReconnect: 0, kv.CauseMissedHeartbeat: 0, kv.CauseSequenceGap: 0,
			kv.CauseRecreated: 0, kv.CausePurged: 0, kv.CauseError: 0, kv.CausePeriodic: 0, kv.CausePlanned: 0,
		},
	}
}
