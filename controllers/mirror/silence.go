package mirror

import (
	"slices"
	"time"
)

// silences applies the passing of listening time to the entries of a table.
type silences struct{ *table }

// pass lets the deadlines pass that have passed by now: what is due is asked for at the stream's leader, see overdue, unless
// the guard holds it. now is for the guard's record of when it began.
func (t silences) pass(now time.Time) {
	if !t.timing.clock.Advancing() {
		return
	}
	for e := t.checks.due(t.timing.clock.Now()); e != nil; e = t.checks.due(t.timing.clock.Now()) {
		t.look(e)
	}
	t.protect(now)
}

// look looks at one entry whose check has come.
func (t silences) look(e *entry) {
	clock := t.timing.clock.Now()
	if e.silence == expired {
		if clock >= e.since+t.timing.retain {
			if e.counts() && t.timing.lately(e.since) {
				t.guard.gone = append(t.guard.gone, e.since)
			}
			t.remove(e)
			return
		}
		t.checks.by(e, t.timing.next(e))
		return
	}
	at, _ := t.timing.deadline(e)
	switch {
	case at <= clock && e.silence != held:
		e.due = true
		t.overdue = append(t.overdue, e)
		t.guard.stale = true
	case !e.superseded && t.timing.silent(e) && t.sites.superseded(e):
		t.guard.stale = true
		t.mark(e)
	}
	t.checks.by(e, t.timing.next(e))
}

// protect holds the nodes that are due, or lets go those that are held, as the guard says.
func (t silences) protect(now time.Time) {
	if len(t.overdue) == 0 && !t.guard.active {
		return
	}
	if t.guard.ripe(t.timing.clock.Now()) {
		holds := t.guard.take(t.entries, &t.timing).holds(t.policy)
		switch {
		case holds && !t.guard.active:
			t.guard.active, t.guard.since, t.out.state = true, now, true
		case !holds && t.guard.active:
			t.release()
		}
	}
	if !t.guard.active {
		return
	}
	for _, e := range t.take() {
		if e.counts() {
			e.due = false
			if e.silence == none {
				e.silence = held
			}
			t.mark(e)
			t.out.state = true
			t.checks.by(e, t.timing.clock.Now()+recheck)
			continue
		}
		t.overdue = append(t.overdue, e)
	}
}

// take returns the entries that are due, and none of which is overdue any more.
func (t silences) take() []*entry {
	all := slices.DeleteFunc(t.overdue, func(e *entry) bool { return !e.due || t.entries[e.key] != e })
	t.table.overdue = nil
	return all
}

// release ends the guard's hold. Nodes that have not come back yet get the grace that they would get after a gap, since
// those that have may only have been the first.
func (t silences) release() {
	t.guard.active, t.guard.stale = false, true
	t.out.state = true
	for _, e := range t.entries {
		if e.silence == held {
			e.silence, e.notBefore = none, t.timing.clock.Now()+t.timing.grace
			t.mark(e)
			t.checks.by(e, t.timing.next(e))
		}
	}
}

// keys returns the keys of the nodes that are about to lose their traffic by silence.
func (t silences) keys() []string {
	if len(t.overdue) == 0 || !t.timing.clock.Advancing() {
		return nil
	}
	t.table.overdue = t.take()
	keys := make([]string, 0, len(t.overdue))
	for _, e := range t.overdue {
		keys = append(keys, e.key)
	}
	return keys
}

// confirmed lets go the nodes of which the stream's leader has heard no more than is known here.
func (t silences) confirmed(keys []string, now time.Time) {
	t.protect(now)
	if !t.timing.clock.Advancing() {
		return
	}
	for _, key := range keys {
		e := t.entries[key]
		if e == nil || !e.due {
			continue
		}
		if at, _ := t.timing.deadline(e); at > t.timing.clock.Now() {
			e.due = false
			t.checks.by(e, t.timing.next(e))
			continue
		}
		t.lose(e)
	}
}

// lose makes a silent node stale or expired, whichever is its turn.
func (t silences) lose(e *entry) {
	e.due, e.since = false, t.timing.clock.Now()
	t.guard.stale = true
	if at, _ := t.timing.expiry(e); at > e.since {
		e.silence = stale
	} else if e.silence = expired; e.duplicate || t.shared(e) {
		// The node lives on under another key, so nobody misses this one.
		t.remove(e)
		return
	}
	t.mark(e)
	t.checks.by(e, t.timing.next(e))
}

// shared returns true if another entry has the same node ID.
func (t silences) shared(e *entry) bool {
	i := t.ids[e.indexed.id]
	return i != nil && len(i.all) > 1
}

// accept lets go the nodes that are silent, as a person has decided, and returns how many.
func (t silences) accept() (released int) {
	stands := !t.guard.active
	for _, e := range t.entries {
		if !e.counts() || e.silence == stale || e.silence == expired {
			continue
		}
		if stands && !t.timing.wouldBeSilent(e) || !stands && e.silence != held && !t.timing.silent(e) {
			continue
		}
		released++
		e.accepted, e.notBefore = true, 0
		if e.silence == held || stands {
			t.concede(e)
		}
	}
	t.guard = guard{stale: true, gone: t.guard.gone, counted: t.guard.counted}
	t.out.state = true
	return released
}

// concede expires a node whose silence was accepted.
func (t silences) concede(e *entry) {
	e.silence, e.due, e.since = expired, false, t.timing.clock.Now()
	if t.shared(e) {
		t.remove(e)
		return
	}
	t.mark(e)
	t.checks.by(e, t.timing.next(e))
}

// silent counts the nodes that are silent and have their traffic still, and those that they are of.
func (t silences) silent() (c census) {
	for _, e := range t.entries {
		if !e.counts() || e.silence == stale || e.silence == expired {
			continue
		}
		c.of++
		if t.guard.active && (e.silence == held || e.due || t.timing.silent(e)) || !t.guard.active && t.timing.wouldBeSilent(e) {
			c.silent++
		}
	}
	return c
}
