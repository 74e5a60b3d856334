package mirror

import (
	"container/heap"
	"context"
	"time"
)

// pace is the least time between two looks at the deadlines: those that pass meanwhile are handled together, so that the
// death of a whole fleet costs a few counts of it and not one for each node.
const pace = 50 * time.Millisecond

// Run calls Advance whenever a deadline passes, until the context ends.
func (m *Mirror) Run(ctx context.Context) {
	timer := m.clock.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-timer.C():
		}
		wait := m.Advance()
		select {
		case <-ctx.Done():
			return
		case <-m.clock.After(pace):
		}
		timer.Stop()
		if wait >= 0 {
			timer.Reset(max(0, wait-pace))
		}
	}
}

// Advance lets pass the deadlines that have passed by now, and returns how long it is until the next one; negative if
// there is none. While the bucket can't be read, none passes.
func (m *Mirror) Advance() time.Duration {
	m.mu.Lock()
	wait := m.advance()
	m.unlockAndTell()
	return wait
}

func (m *Mirror) advance() time.Duration {
	if !m.link.reading {
		return m.flushWait()
	}
	now := m.now()
	var dying []*entry
	for len(m.checks) > 0 && !m.checks[0].check.After(now) {
		e := m.checks[0]
		heap.Pop(&m.checks)
		if m.look(e, now) {
			dying = append(dying, e)
		}
	}
	m.decide(dying, now)
	if len(m.checks) == 0 {
		return -1
	}
	return max(0, m.checks[0].check.Sub(now))
}

// flushWait returns how long it is until the outbox opens while a listing takes its time.
func (m *Mirror) flushWait() time.Duration {
	if m.outbox.closed.IsZero() {
		return -1
	}
	if wait := m.outbox.closed.Sub(m.clock.Now()); wait > 0 {
		return wait
	}
	m.outbox.closed = time.Time{}
	return -1
}

// look handles one entry whose check has come. It returns true if the entry's TTL has passed; what becomes of it is for
// decide to say. Else the entry is queued for its next check, since heartbeats do not move checks.
func (m *Mirror) look(e *entry, now time.Time) (dying bool) {
	if !e.expired.IsZero() {
		if !now.Before(e.expired.Add(m.d.retain)) {
			m.remove(e, now)
			return false
		}
		m.queue(e)
		return false
	}
	if at, ok := m.d.expiry(e); ok && !now.Before(at) {
		return true
	}
	if at, ok := m.d.staleness(e); ok && !e.stale && !now.Before(at) {
		m.revise(e, now, func() { e.stale = true })
	}
	m.queue(e)
	return false
}

// decide lets the dying entries expire, or holds them if the disruption guard says so.
func (m *Mirror) decide(dying []*entry, now time.Time) {
	m.guard.forget(now, m.d.ttl)
	if len(dying) == 0 && !m.guard.active {
		return
	}
	c := m.census(now)
	if m.guard.active && m.guard.releases(c, &m.policy) {
		m.release(now)
	}
	if len(dying) > 0 && !m.guard.active && m.guard.trips(c, &m.policy) {
		m.guard.active, m.guard.since, m.guard.returned = true, m.clock.Now().UTC().Truncate(time.Second), false
		m.outbox.state = true
	}
	for _, e := range dying {
		if m.guard.active && !e.accepted {
			e.held = true
			m.outbox.state = true
			continue
		}
		m.expire(e, now)
	}
}

func (m *Mirror) census(now time.Time) (c census) {
	for _, e := range m.entries {
		switch {
		case !e.expired.IsZero():
			continue
		case e.held:
			c.held++
			c.overdue++
		case !e.accepted && m.d.overdue(e, now):
			c.overdue++
		}
		c.live++
	}
	return c
}

// release ends the guard's hold. Nodes that have not come back yet get the grace that they would get after a gap, since
// those that have may only have been the first.
func (m *Mirror) release(now time.Time) {
	m.guard.active = false
	m.outbox.state = true
	m.d.floor = now.Add(m.d.grace)
	for _, e := range m.entries {
		if e.held {
			e.held, e.heard = false, false
			m.queue(e)
		}
	}
}

func (m *Mirror) expire(e *entry, now time.Time) {
	if !e.accepted {
		m.guard.expired = append(m.guard.expired, now)
	}
	if len(m.ids[e.identity()]) > 1 {
		// The node lives on under another key, so nobody misses this one.
		m.remove(e, now)
		return
	}
	m.revise(e, now, func() { e.expired, e.held = now, false })
	m.queue(e)
}

// AcceptExpiry lets go the nodes that have been held since then, as a person has decided, and returns how many were held. ok
// is false if none are, or since another time.
func (m *Mirror) AcceptExpiry(since time.Time) (released int, ok bool) {
	m.mu.Lock()
	if !m.guard.active || !m.guard.since.Equal(since) {
		m.mu.Unlock()
		return 0, false
	}
	held, now := 0, m.now()
	for _, e := range m.entries {
		if e.held {
			held++
		}
		if e.held || (e.expired.IsZero() && m.guard.active && m.d.overdue(e, now)) {
			e.accepted, e.held = true, false
			m.queue(e)
		}
	}
	m.guard = guard{}
	m.outbox.state = true
	m.unlockAndTell()
	return held, true
}
