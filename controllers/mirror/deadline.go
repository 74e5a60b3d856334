package mirror

import "time"

// deadlines is what the deadlines of a registry's entries depend on.
type deadlines struct {
	// ttl is the bucket's; zero: its keys stay until they are deleted.
	ttl time.Duration
	// messageTTL says that the bucket lets a message have a TTL of its own; else the server ignores it.
	messageTTL bool
	// grace is for how long after a complete listing that follows a gap no deadline passes.
	grace time.Duration
	// floor is the end of that grace: no deadline of a node that has not been heard from since is earlier.
	floor time.Time
	// staleAfter and retain are the policy's.
	staleAfter, retain time.Duration
}

// life returns the TTL that is in force for the entry; zero if it has none.
func (d *deadlines) life(e *entry) time.Duration {
	switch {
	case !d.messageTTL || e.ttl == 0:
		return d.ttl
	case e.ttl < 0:
		return 0
	case d.ttl == 0:
		return e.ttl
	default:
		return min(d.ttl, e.ttl)
	}
}

// expiry returns when the entry expires, on the server's clock; ok is false if it never does.
func (d *deadlines) expiry(e *entry) (at time.Time, ok bool) {
	switch life := d.life(e); {
	case life > 0:
		at = e.written.Add(life)
	case !e.absent.IsZero():
		// Without a TTL a key that is missing was purged or lost. Its node gets the same time to come back as after a gap.
		at = e.absent.Add(d.grace)
	default:
		return time.Time{}, false
	}
	return d.notBefore(e, at), true
}

// staleness returns when the entry becomes stale, on the server's clock; ok is false if it never does.
func (d *deadlines) staleness(e *entry) (at time.Time, ok bool) {
	if d.staleAfter <= 0 {
		return time.Time{}, false
	}
	return d.notBefore(e, e.written.Add(d.staleAfter)), true
}

func (d *deadlines) notBefore(e *entry, at time.Time) time.Time {
	if !e.heard && at.Before(d.floor) {
		return d.floor
	}
	return at
}

// overdue says whether the entry is so long silent that it will not make its deadline. A third of the TTL before the end
// a node has missed at least one heartbeat, since the interval is at most a third of the TTL: nodes that died together
// are all overdue when the first of their deadlines passes.
func (d *deadlines) overdue(e *entry, now time.Time) bool {
	at, ok := d.expiry(e)
	return ok && !at.After(now.Add(d.life(e)/3))
}

// next returns when the entry is to be looked at next; ok is false if never.
func (d *deadlines) next(e *entry) (at time.Time, ok bool) {
	if !e.expired.IsZero() {
		return e.expired.Add(d.retain), true
	}
	at, ok = d.expiry(e)
	if e.held {
		// What happens to a held entry is not a matter of time.
		return time.Time{}, false
	}
	if stale, may := d.staleness(e); may && !e.stale && (!ok || stale.Before(at)) {
		return stale, true
	}
	return at, ok
}
