package roster

import (
	"errors"

	"github.com/rollcall-dev/rollcall/discovery"
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

// beaten counts a heartbeat.
func (r *Roster) beaten(b Beat) {
	switch {
	case b.Err == nil:
		r.tally.Stored++
	case errors.Is(b.Err, discovery.ErrOvertaken):
		r.tally.Overtaken++
	default:
		r.tally.Failed++
	}
	if r.o.Beaten != nil {
		r.o.Beaten(b)
	}
}
