package endpointslice

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/rollcall-dev/rollcall/controllers/endpointslice/plan"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/internal/dispute"
)

const (
	// reliefPace is the least time between two writes that take traffic from what somebody else gives it to again and again.
	reliefPace = time.Second
	// maxEditors is how many of those who change the slices of a Service are named.
	maxEditors = 3
)

// contest is what is known of those who change back what is written of one Service. Its zero value is that of slices that nobody else
// changes.
type contest struct {
	fight dispute.Brisk
	// relieved is when traffic was taken last.
	relieved time.Time
	// editors are the field managers that were seen. Who deletes a slice, or takes a label from it, is unnamed.
	editors sets.Set[string]
	// admission is true if the API server's admission changed what was sent.
	admission bool
	// told is what was said last.
	told string
}

// schedule is what may be written now, and what is left for later.
type schedule struct {
	now []plan.Operation
	// held are the operations that wait. Of those with names in partial, what takes traffic does not.
	held    []plan.Operation
	partial sets.Set[string]
	// rest is after how long to look again; zero: nothing is left.
	rest time.Duration
	// wait is for how long repairs wait, and ease for how long what takes traffic does. repaired is true if there is a repair.
	wait, ease time.Duration
	repaired   bool
}

// schedule returns which of the operations may be carried out. A repair waits for its turn, but what takes traffic for no longer than
// reliefPace. While one waits, so do those that yield: they lose nothing for good.
func (c *contest) schedule(
	operations []plan.Operation, known snapshot, waits func(*discoveryv1.EndpointSlice, *discoveryv1.Endpoint) bool, own string, now time.Time,
) schedule {
	active := c.active(now)
	if !active {
		*c = contest{told: c.told}
	}
	j := newJudge(known, operations, waits)
	s := schedule{partial: sets.New[string](), wait: c.fight.Wait(now), ease: reliefPace - now.Sub(c.relieved)}
	for _, op := range operations {
		if !j.repairs(op) {
			s.now = append(s.now, op)
			continue
		}
		c.blame(known, op.Slice.Name, own)
		relief, relieves := j.relief(op)
		s.repair(op, relief, relieves, active)
	}
	if s.repaired {
		c.fight.Repaired(now)
	}
	if s.repaired || s.partial.Len() > 0 {
		c.relieved = now
	}
	s.yield()
	return s
}

// repair has a repair carried out or wait. relief is what of it takes traffic, and relieves false if nothing does; active is true in a
// fight.
func (s *schedule) repair(op, relief plan.Operation, relieves, active bool) {
	empties := active && relieves && op.Verb == plan.Delete
	switch {
	case s.wait <= 0 && !empties:
		s.now, s.repaired = append(s.now, op), true
	case relieves && !op.Yields && s.ease <= 0:
		s.now, s.repaired = append(s.now, relief), s.repaired || s.wait <= 0
		s.partial.Insert(relief.Slice.Name)
		s.hold(op, max(s.wait, dispute.BriskLeast))
	case relieves && !op.Yields:
		s.hold(op, s.ease)
	default:
		s.hold(op, s.wait)
	}
}

// yield has those that yield wait while anything else does.
func (s *schedule) yield() {
	if s.rest == 0 {
		return
	}
	s.now = slices.DeleteFunc(s.now, func(op plan.Operation) bool {
		if op.Yields {
			s.held = append(s.held, op)
		}
		return op.Yields
	})
}

// hold has the operation wait, or a little longer, so that two who wait for each other do not meet.
func (s *schedule) hold(op plan.Operation, wait time.Duration) {
	s.held = append(s.held, op)
	wait += rand.N(wait/8 + 1) //nolint:gosec // It spreads writes: nothing depends on it being unforeseeable.
	if s.rest == 0 || wait < s.rest {
		s.rest = wait
	}
}

// active returns true from the first repair until the slices have stayed for a while as they were written.
func (c *contest) active(now time.Time) bool { return !c.fight.Over(now) }

// blame notes who has changed a slice.
func (c *contest) blame(known snapshot, name, own string) {
	slice := known.current[name]
	switch {
	case known.altered.Has(name):
		c.admission = true
	case slice == nil:
		// Nobody is named who deletes a slice.
	case len(c.editors) < maxEditors:
		if editor := editorOf(slice, own); editor != "" {
			c.editors = c.editors.Union(sets.New(editor))
		}
	}
}

// beforeFirstApply stands for all who wrote an object before its fields were tracked.
const beforeFirstApply = "before-first-apply"

// editorOf returns the field manager that has changed a slice since our last write of it; empty if the API server names none.
func editorOf(slice *discoveryv1.EndpointSlice, own string) string {
	var written time.Time
	for _, entry := range slice.ManagedFields {
		if entry.Manager == own && entry.Time != nil {
			written = entry.Time.Time
		}
	}
	later := slices.DeleteFunc(slices.Clone(slice.ManagedFields), func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Manager == beforeFirstApply || entry.Time != nil && entry.Time.Time.Before(written)
	})
	return record.Bounded(dispute.Editor(later, own))
}

// remark says who changes the slices back, once they do so again and again; empty if nobody does. Two installations that do so to each
// other say it in the same words, for they write the same condition.
func (c *contest) remark(own string, now time.Time) string {
	const admission = "the API server's admission"
	switch {
	case !c.fight.Persists(now):
		return ""
	case len(c.editors) > 0:
		var names []string
		for _, name := range sets.List(c.editors.Union(sets.New(own))) {
			names = append(names, fmt.Sprintf("%q", name))
		}
		if c.admission {
			names = append(names, admission)
		}
		return fitting("The EndpointSlices are changed back again and again: let only one of these field managers write them: ", names)
	case c.admission:
		return "The API server's admission changes the EndpointSlices that Rollcall writes: exempt those with the label " +
			"endpointslice.kubernetes.io/managed-by=rollcall.dev from the mutating webhook or policy that matches them."
	}
	return "The EndpointSlices are deleted or changed back again and again, and the API server does not name who does it: " +
		"its audit log does. Have whoever it is leave alone those with the label endpointslice.kubernetes.io/managed-by=rollcall.dev."
}

// Written fields. The API server tracks who writes which field of an object that has managed fields, and of no other. That takes a fifth
// of the time of an update, so slices have none until somebody else changes them.

// fields returns the managed fields with which a slice is to be updated, which has those now.
func (c *contest) fields(now []metav1.ManagedFieldsEntry, own string, at time.Time) []metav1.ManagedFieldsEntry {
	switch active := c.active(at); {
	case active && len(now) == 0:
		return []metav1.ManagedFieldsEntry{{
			Manager: own, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: discoveryv1.SchemeGroupVersion.String(),
			FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:endpoints":{}}`)},
		}}
	case active, len(now) == 0, slices.ContainsFunc(now, applied):
		return nil // They stay as they are.
	}
	return []metav1.ManagedFieldsEntry{{}} // They go.
}

// applied returns true if somebody applies the object, who would lose what he owns.
func applied(entry metav1.ManagedFieldsEntry) bool {
	return entry.Operation == metav1.ManagedFieldsOperationApply
}
