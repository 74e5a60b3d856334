// Package dispute is what to do about somebody who changes back what Rollcall writes: not to fight, and to say who it is.
//
// A write is a repair if somebody's change is its only cause. The first two repairs are made at once, as edits by hand are to be, and each
// further one waits twice as long as the one before it, up to a minute. What Rollcall itself has to say is no repair and waits for nothing; it carries the rest along.
package dispute

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// Least is the shortest time that a repair of an object waits.
	Least = time.Second
	// Most is the longest.
	Most = time.Minute
	// Calm is for how long an object has to stay as Rollcall writes it until all is forgotten.
	Calm = 5 * time.Minute
	// persistent is how many repairs are no coincidence.
	persistent = 5
)

// Fight is what is known of the repairs of one object. Its zero value is that of an object that nobody changes.
type Fight struct {
	repairs     int
	next, calms time.Time
}

// Wait returns how long the next repair is to wait; zero: it is made at once.
func (f *Fight) Wait(now time.Time) time.Duration {
	if f.Over(now) {
		return 0
	}
	return max(0, f.next.Sub(now))
}

// Repaired notes that a repair was made.
func (f *Fight) Repaired(now time.Time) {
	if f.Over(now) {
		f.repairs = 0
	}
	f.repairs++
	wait := time.Duration(0)
	if f.repairs > 1 {
		wait = min(Least<<min(f.repairs-2, 6), Most)
	}
	f.next, f.calms = now.Add(wait), now.Add(Calm)
}

// Persists returns true once there were so many repairs that a person should hear of it.
func (f *Fight) Persists(now time.Time) bool { return f.repairs >= persistent && !f.Over(now) }

// Over returns true if the object has stayed as it was written for so long that the Fight can be forgotten.
func (f *Fight) Over(now time.Time) bool { return !now.Before(f.calms) }

// Left returns how long it is until the Fight is over, if nobody changes the object before.
func (f *Fight) Left(now time.Time) time.Duration { return max(0, f.calms.Sub(now)) }

// Editor returns the field manager that changed an object last and is not own; empty if there is none. What an admission policy or
// webhook changes counts as written by whoever sent the request.
func Editor(fields []metav1.ManagedFieldsEntry, own string) string {
	editor, last := "", time.Time{}
	for _, entry := range fields {
		at := time.Time{}
		if entry.Time != nil {
			at = entry.Time.Time
		}
		if name := strings.TrimSpace(entry.Manager); name != "" && name != own && !at.Before(last) {
			editor, last = name, at
		}
	}
	return editor
}
