package dispute

import "time"

const (
	// BriskLeast is the time between the first repair of a Brisk fight and the second.
	BriskLeast = 100 * time.Millisecond
	// briskPersistent is how many of its repairs are no coincidence: somebody may well edit several things by hand, one after the other.
	briskPersistent = 7
)

// Brisk is a Fight over what traffic depends on, such as an EndpointSlice: its first repairs follow each other fast.
type Brisk struct{ Fight }

// Repaired notes that a repair was made.
func (f *Brisk) Repaired(now time.Time) {
	if f.Over(now) {
		f.repairs = 0
	}
	f.repairs++
	f.next, f.calms = now.Add(min(BriskLeast<<min(f.repairs-1, 10), Most)), now.Add(Calm)
}

// Persists returns true once there were so many repairs that a person should hear of it.
func (f *Brisk) Persists(now time.Time) bool { return f.repairs >= briskPersistent && !f.Over(now) }
