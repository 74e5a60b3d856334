package mirror

import (
	"slices"
	"time"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// silences applies the passing of listening time to the entries of a table.
type silences struct{ *table }

// pass lets the deadlines pass that have passed by now. A moment before, the stream's leader is asked, see keys; what it has
// confirmed goes, unless the guard holds it. now is for the guard's record of when it began.
func (t silences) pass(now time.Time) {
	if !t.timing.clock.Advancing() {
		return
	}
	var over []*entry
	for e, due := t.checks.due(t.timing.clock.Now()); due; e, due = t.checks.due(t.timing.clock.Now()) {
		if t.look(e) {
			over = append(over, e)
		}
	}
	t.protect(now, len(over) > 0)
	for _, e := range over {
		if e.due() && !t.hold(e) { // The guard may just have let it go, with another grace.
			to := expired
			if at, _ := t.timing.expiry(e); at > t.timing.clock.Now() {
				to = stale
			}
			t.lose(e, to)
		}
	}
}

// look looks at one entry whose check has come, and returns true if its silence is over its deadline and confirmed.
func (t silences) look(e *entry) (over bool) {
	switch {
	case e.silence == expired:
		t.retain(e)
		return false
	case e.silence == held && !e.counts():
		e.silence = none // The guard protects it no longer.
		t.mark(e)
	case t.timing.over(e):
		return true
	}
	clock := t.timing.clock.Now()
	at, takes := t.timing.deadline(e)
	// A gap moves deadlines and makes answers old.
	e.answer = never
	if t.shade(e) { // The guard may count before this is settled.
		t.mark(e)
		t.guard.stale = true
	}
	if at-lead(takes) <= clock && e.silence != held {
		e.answer = pending
		if e.foreign {
			e.answer = clock // Whatever the leader has under another prefix says nothing here.
		} else {
			t.overdue = append(t.overdue, e)
		}
		t.guard.stale = true
	}
	t.checks.by(e, t.timing.next(e))
	return false
}

// retain forgets an expired node once it was visible for long enough.
func (t silences) retain(e *entry) {
	if at, _ := t.timing.expiry(e); e.back && t.timing.clock.Now() < at {
		t.checks.by(e, t.timing.clock.Now()+recheck) // Its record is being read.
		return
	}
	if t.timing.clock.Now() < e.since+t.policy.RetainExpired {
		t.checks.by(e, t.timing.next(e))
		return
	}
	if e.counts() && t.timing.lately(e.since) {
		t.guard.gone = append(t.guard.gone, e.since)
	}
	t.remove(e)
}

// protect begins to hold nodes, or lets go those that are held, as the guard says; over is true if some are about to lose
// their traffic.
func (t silences) protect(now time.Time, over bool) {
	if len(t.overdue) == 0 && !over && !t.guard.active {
		return
	}
	t.guard.stale = t.guard.stale || over
	if t.guard.ripe(t.timing.clock.Now()) {
		switch holds := t.guard.take(t.entries, &t.timing).holds(t.policy); {
		case holds && !t.guard.active:
			t.guard.active, t.guard.since, t.out.state = true, now, true
		case !holds && t.guard.active:
			t.release()
		}
	}
	t.overdue = slices.DeleteFunc(t.overdue, func(e *entry) bool { return !t.asks(e) || t.hold(e) })
}

// asks returns true if the leader is to be asked for the entry.
func (t silences) asks(e *entry) bool { return e.answer == pending && e.table == t.table }

// hold has the guard hold the node, and returns false if it does not.
func (t silences) hold(e *entry) bool {
	if !t.guard.active || !e.counts() {
		return false
	}
	e.answer = never
	if e.silence == none {
		e.silence = held
		t.mark(e)
	}
	t.out.state = true
	t.checks.by(e, t.timing.clock.Now()+recheck)
	return true
}

// release ends the guard's hold. Nodes that have not come back yet get the grace that they would get after a gap, since
// those that have may only have been the first.
func (t silences) release() {
	t.guard.active, t.guard.stale = false, true
	t.out.state = true
	for _, e := range t.entries {
		if e.silence == held || e.silence == none && e.counts() && t.timing.silent(e) {
			e.silence, e.answer, e.notBefore = none, never, t.timing.clock.Now()+t.timing.grace()
			t.mark(e)
			t.checks.by(e, t.timing.next(e))
		}
	}
}

// keys returns the keys of the nodes that are about to lose their traffic by silence.
func (t silences) keys() (keys []string) {
	if !t.timing.clock.Advancing() {
		return nil
	}
	for _, e := range t.overdue {
		if t.asks(e) {
			keys = append(keys, e.key)
		}
	}
	return keys
}

// confirm notes the nodes of which the stream's leader has heard no more than is known here. Those whose deadline has passed
// go at once.
func (t silences) confirm(keys []string, now time.Time) {
	for _, key := range keys {
		if e := t.entries[key]; e != nil && e.due() {
			clock := t.timing.clock.Now()
			e.answer = clock
			if at, takes := t.timing.deadline(e); at-lead(takes) > clock {
				e.answer = never // The deadline has moved away; the answer will be old when it passes.
			}
			t.checks.by(e, t.timing.next(e))
		}
	}
	t.pass(now)
}

// store applies whether the bucket takes writes.
func (t silences) store(s kv.Store) {
	refuses := s.Refusal != kv.TakesWrites
	t.timing.clock.Refuse(refuses && s.Partial)
	t.timing.clock.Hold(refuses && !s.Partial)
}

// withhold notes the nodes whose heartbeats the store may refuse.
func (t silences) withhold(keys []string) {
	for _, key := range keys {
		if e := t.entries[key]; e != nil && e.due() {
			e.answer, e.heard.Withheld = never, true
			// Its deadline goes on with the clock, so it may be due again at once.
			t.checks.by(e, max(t.timing.next(e), t.timing.clock.Now()+recheck))
		}
	}
}

// lose makes a silent node stale or expired.
func (t silences) lose(e *entry, to silence) {
	e.silence, e.answer, e.since, e.back = to, never, t.timing.clock.Now(), false
	t.guard.stale = true
	if i := t.ids[e.indexed.id]; to == expired && i != nil && len(i.all) > 1 {
		t.remove(e) // The node lives on under another key, so nobody misses this one.
		return
	}
	t.mark(e)
	t.checks.by(e, t.timing.next(e))
}

// accept lets go the nodes that are silent, as a person has decided, and returns how many. Those whose deadline is near go
// when it has passed.
func (t silences) accept() (released int) {
	for _, e := range t.entries {
		if !t.kept(e) {
			continue
		}
		released++
		e.accepted, e.notBefore = true, 0
		if e.silence == held || t.timing.wouldBeSilent(e) {
			to := expired
			if _, takes := t.timing.expiry(e); t.policy.StaleAfter > 0 && (takes == 0 || !t.timing.lasted(e, takes)) {
				to = stale
			}
			t.lose(e, to)
		}
	}
	t.guard = guard{stale: true, gone: t.guard.gone, counted: t.guard.counted}
	t.out.state = true
	return released
}

// kept returns true for a node that is silent and has its traffic still.
func (t silences) kept(e *entry) bool {
	return e.counts() && !e.back && e.silence != stale && e.silence != expired &&
		(e.silence == held || e.due() || t.timing.wouldBeSilent(e) || t.guard.active && t.timing.silent(e))
}

// silent counts the nodes that are silent and have their traffic still, and those that they are of.
func (t silences) silent() (c census) {
	for _, e := range t.entries {
		if e.counts() && e.silence != stale && e.silence != expired {
			c.of++
		}
		if t.kept(e) {
			c.silent++
		}
	}
	return c
}
