package faults

import (
	"fmt"
	"slices"
	"time"
)

// bounds are how late a change may show where nothing is broken.
type bounds struct {
	// arrive is after the acknowledgement of a registration, leave after that of an unregistration, and expire after the
	// end of the TTL.
	arrive, leave, expire time.Duration
}

// verdict counts what must not be.
type verdict struct {
	// removed are removals of nodes that had neither unregistered nor died, missed lives that did not show in time or not
	// all the time, stale those that still showed after the bound.
	removed, missed, stale int
	// stalled are what would count among those, had the node not fallen silent because the machine that plays it stalled.
	stalled int
	// notes tell of each.
	notes []string
}

func (v *verdict) add(o verdict) {
	v.removed += o.removed
	v.missed += o.missed
	v.stale += o.stale
	v.stalled += o.stalled
	v.notes = append(v.notes, o.notes...)
}

// judge says what of a history must not have been.
func judge(h *history, b bounds) verdict {
	j := &judgement{history: h, bounds: b, windows: h.sorted()}
	all := h.byEntity()
	entities := make([]string, 0, len(all))
	for entity := range all {
		entities = append(entities, entity)
	}
	slices.Sort(entities)
	for _, entity := range entities {
		j.removals(entity, all[entity])
		j.absences(entity, all[entity])
		j.remains(entity, all[entity])
	}
	return j.verdict
}

type judgement struct {
	*history
	bounds
	windows []window
	verdict verdict
}

// mayLeave returns the earliest time at which the life's endpoint may be gone.
func (j *judgement) mayLeave(l *life) time.Time {
	switch l.end {
	case stays:
		return forever
	case unregistered:
		return l.endSent
	}
	at := l.beatSent.Add(j.ttl)
	// Gaps do not add up: beside them, a silence of the TTL and one grace is enough.
	most, grace := at, time.Duration(0)
	for _, w := range j.windows {
		if !l.sent.Before(w.from) && at.Before(w.late()) {
			continue // It came and died while nobody looked, so nobody need have seen it.
		}
		if w.holds && !w.might && w.from.Before(at) && w.mending().After(l.beatSent) {
			at = later(at, w.mending().Add(w.grace))
			most, grace = most.Add(w.mending().Sub(later(w.from, l.beatSent))), max(grace, w.grace)
		}
	}
	if most = most.Add(grace); most.Before(at) {
		return most
	}
	return at
}

// mustLeave returns the latest time at which the life's endpoint may still be there.
func (j *judgement) mustLeave(l *life) time.Time {
	switch l.end {
	case stays:
		return forever
	case unregistered:
		return j.forget(l)
	}
	at := l.beatAcked.Add(j.ttl + j.expire)
	graced := false
	for _, w := range j.windows {
		switch {
		case !w.from.Before(at) || !w.late().After(l.beatSent):
		case w.listening:
			if !graced {
				at = at.Add(w.grace)
			}
			graced = true
			at = at.Add(w.late().Sub(later(w.from, l.beatSent)))
		case w.holds:
			at = later(at, w.late().Add(w.grace+j.expire))
		default:
			at = later(at, w.late())
		}
	}
	return at
}

// mustBeGone returns the latest time at which something may still be there after the last of the lives. Where an entity is an
// address, a node that died there before has a time of its own, which ends with no other node.
func (j *judgement) mustBeGone(lives []life) time.Time {
	last := &lives[len(lives)-1]
	at := j.mustLeave(last)
	for i := range lives {
		if before := &lives[i]; before.id != last.id {
			at = later(at, j.mustLeave(before))
		}
	}
	return at
}

// forget is mustLeave of a life that unregistered. That it did is in the bucket for one TTL: if nobody could read it in that
// time, its key is just missing, and missing keys have their grace.
func (j *judgement) forget(l *life) time.Time {
	at := j.postpone(l.endSent, l.endAcked.Add(j.leave))
	for _, w := range j.windows {
		// It may take until the end of the settling to read the bucket.
		if w.holds && w.from.Before(at) && w.late().After(l.endAcked.Add(j.ttl)) {
			at = later(at, w.late().Add(w.grace+j.expire))
		}
	}
	return at
}

// mustArrive returns the latest time at which the life's endpoint may still be missing.
func (j *judgement) mustArrive(l *life) time.Time {
	return j.postpone(l.sent, l.acked.Add(j.arrive))
}

// postpone moves a deadline for what began at a time behind the windows that lie between.
func (j *judgement) postpone(began, at time.Time) time.Time {
	for _, w := range j.windows {
		if w.from.Before(at) && w.late().After(began) {
			at = later(at, w.late())
		}
	}
	return at
}

// removals finds the removals that had no reason.
func (j *judgement) removals(entity string, lives []life) {
	for _, p := range j.presence(entity, true) {
		if p.to.Equal(j.until) || j.excused(p.to) {
			continue
		}
		n := slices.IndexFunc(lives, func(l life) bool { return l.sent.After(p.to) })
		if n < 0 {
			n = len(lives)
		}
		if n == 0 || j.reason(lives[:n], p.to) {
			continue
		}
		j.verdict.removed++
		j.note("%s was removed at %s without a reason: %s", entity, clock(p.to), tell(&lives[n-1]))
	}
}

// reason says whether the last of the lives had ended when the removal came, or the one before it just had.
func (j *judgement) reason(lives []life, at time.Time) bool {
	last := &lives[len(lives)-1]
	if !at.Before(j.mayLeave(last)) || j.unheard(last, at).After(at) {
		return true
	}
	if len(lives) == 1 {
		return false
	}
	before := &lives[len(lives)-2]
	return !at.Before(j.mayLeave(before)) && !at.After(j.mustLeave(before))
}

// absences finds the lives that did not show when they had to.
func (j *judgement) absences(entity string, lives []life) {
	for i := range lives {
		l := &lives[i]
		must := span{j.mustArrive(l), earlier(j.mayLeave(l), j.until)}
		for _, a := range j.presence(entity, false) {
			gap := a.overlap(must)
			if gap.from = j.pardon(gap.from); gap.lasts() {
				gap.from = j.unheard(l, gap.from)
			}
			if gap.lasts() {
				j.verdict.missed++
				j.note("%s was missing from %s to %s: %s", entity, clock(gap.from), clock(gap.to), tell(l))
				break
			}
		}
	}
}

// remains finds what showed longer than it may.
func (j *judgement) remains(entity string, lives []life) {
	for i := range lives {
		l := &lives[i]
		gone := span{j.mustBeGone(lives[:i+1]), j.until}
		if i+1 < len(lives) {
			gone.to = lives[i+1].sent
		}
		for _, p := range j.presence(entity, true) {
			if left := p.overlap(gone); left.lasts() {
				j.verdict.stale++
				j.note("%s was still there from %s to %s: %s", entity, clock(left.from), clock(left.to), tell(l))
				break
			}
		}
	}
	if len(lives) == 0 && len(j.presence(entity, true)) > 0 {
		j.verdict.stale++
		j.note("%s was there and had never registered", entity)
	}
}

// excused says whether endpoints were taken away by hand at that time.
func (j *judgement) excused(at time.Time) bool { return j.pardon(at).After(at) }

// pardon returns when an endpoint has to be back that is missing at that time: later only if it was taken away by hand.
func (j *judgement) pardon(at time.Time) time.Time {
	for _, w := range j.windows {
		if w.excused && !at.Before(w.from) && at.Before(w.late()) {
			at = w.late()
		}
	}
	return at
}

// unheard returns when a life has to show again that is missing at that time: later only if nothing was heard of it for longer than
// the TTL, beside all windows.
func (j *judgement) unheard(l *life, at time.Time) time.Time {
	for _, s := range append(slices.Clone(l.silences), span{l.beatSent, earlier(l.left(), j.until)}) {
		from := j.mayLeave(&life{sent: l.sent, beatSent: s.from, end: died})
		for _, w := range j.windows {
			if w.from.Before(s.to) && w.late().After(s.from) {
				from = later(from, w.late())
			}
		}
		to := s.to.Add(j.arrive)
		if from.Before(s.to) && !at.Before(from) && at.Before(to) {
			j.verdict.stalled++
			at = to
		}
	}
	return at
}

func (j *judgement) note(format string, args ...any) {
	j.verdict.notes = append(j.verdict.notes, fmt.Sprintf(format, args...))
}

func (s span) overlap(o span) span { return span{later(s.from, o.from), earlier(s.to, o.to)} }

func (s span) lasts() bool { return s.from.Before(s.to) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func tell(l *life) string {
	text := fmt.Sprintf("registered at %s, last heartbeat at %s", clock(l.acked), clock(l.beatAcked))
	switch l.end {
	case unregistered:
		return text + ", unregistered at " + clock(l.endAcked)
	case died:
		return text + ", died at " + clock(l.endSent)
	default:
		return text + ", alive"
	}
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }
