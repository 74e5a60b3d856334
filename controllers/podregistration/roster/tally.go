package roster

import (
	"errors"
	"time"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// Tally is what a Roster has counted.
type Tally struct {
	// Stored, Overtaken and Failed are the heartbeats by how they ended.
	Stored, Overtaken, Failed uint64
	// Live and Conflicts are how many claims have their entry in the bucket, and how many lack it since somebody else has
	// the key.
	Live, Conflicts int
}

// Tally returns what was counted.
func (r *Roster) Tally() Tally {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tally
	for _, s := range r.slots {
		for _, c := range s.claims {
			if c.state.Live {
				t.Live++
			}
			if c.state.Phase == Conflict {
				t.Conflicts++
			}
		}
	}
	return t
}

// count counts a write that was a heartbeat; one that waits for the connection, once.
func (r *Roster) count(s *slot, f *flight, err error, now time.Time) {
	waited := s.unsent
	s.unsent = errors.Is(err, kv.ErrConnectionLost)
	if f.scheduled.IsZero() || (waited && s.unsent) {
		return
	}
	switch {
	case err == nil:
		r.tally.Stored++
	case errors.Is(err, kv.ErrOvertaken):
		r.tally.Overtaken++
	default:
		r.tally.Failed++
	}
	if r.o.Beaten != nil {
		r.o.Beaten(Beat{Err: err, Lag: now.Sub(f.scheduled)})
	}
}
