package mirror

import (
	"cmp"
	"time"

	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/discovery/kv"
	"github.com/rollcall-dev/rollcall/discovery/liveness"
)

// recheck is after how long a silent node is looked at again: a newer one may answer at its addresses meanwhile.
const recheck = time.Second

// ahead is how long before a deadline the stream's leader is asked, so that its answer costs no time: 10,000 answers take half
// a second. A node that lives has written within a third of its TTL, so it is found as well as at the deadline.
const ahead = 500 * time.Millisecond

// timing is what the deadlines of a registry's entries depend on. Its methods decide, and change nothing.
type timing struct {
	clock  liveness.Clock
	policy *Policy
	// bucket has the TTL of the bucket alone, and whether a message may have one of its own.
	bucket kv.Bucket
}

// life returns how long an entry with that TTL lives without a heartbeat; zero: for ever.
func (t *timing) life(ttl time.Duration) time.Duration { return t.bucket.Lifetime(kv.Entry{TTL: ttl}) }

// ttl returns the bucket's TTL; zero: its keys stay until they are deleted.
func (t *timing) ttl() time.Duration { return t.life(0) }

// grace returns how long nodes have to come back after a gap.
func (t *timing) grace() time.Duration {
	return cmp.Or(t.policy.ReconnectGrace, t.ttl(), t.policy.FallbackTTL, discovery.DefaultTTL)
}

// expiry returns when the entry expires, and the silence that this takes; never if it does not.
func (t *timing) expiry(e *entry) (at, takes time.Duration) {
	if life := t.life(e.ttl); life > 0 {
		return t.after(e, life), life
	}
	if e.absent == never {
		return never, 0
	}
	// Without a TTL a key that is missing was purged or lost. Its node gets the same time to come back as after a gap.
	missing := liveness.Heard{At: e.absent, Elapsed: e.absent}
	return max(e.notBefore, t.clock.Deadline(missing, t.grace(), t.grace())), t.grace()
}

// after returns when the entry has been silent for so long.
func (t *timing) after(e *entry, silence time.Duration) time.Duration {
	return max(e.notBefore, t.clock.Deadline(e.heard, silence, t.grace()))
}

// deadline returns when the entry loses next what it has by silence, and the silence that this takes; never if it has
// nothing to lose.
func (t *timing) deadline(e *entry) (at, takes time.Duration) {
	if e.silence == expired {
		return never, 0
	}
	at, takes = t.expiry(e)
	if t.policy.StaleAfter > 0 && e.silence != stale {
		if soon := t.after(e, t.policy.StaleAfter); soon < at {
			return soon, t.policy.StaleAfter
		}
	}
	return at, takes
}

// over returns true if the entry's deadline has passed, and the stream's leader has confirmed the silence since the last gap.
func (t *timing) over(e *entry) bool {
	at, _ := t.deadline(e)
	return e.due() && at <= t.clock.Now() && t.clock.Unbroken(e.answer)
}

// silent returns true if the entry is so long silent that it will not make its deadline. A third of the time before the end
// a node has missed at least one heartbeat, since the interval is at most a third of the TTL: nodes that died together are
// all silent when the first of their deadlines passes.
func (t *timing) silent(e *entry) bool {
	at, takes := t.deadline(e)
	return e.silence == stale || at != never && t.clock.Now() >= at-takes/3
}

// wouldBeSilent returns true if the entry would have lost its traffic by now if the clock did not stand.
func (t *timing) wouldBeSilent(e *entry) bool {
	at, takes := t.deadline(e)
	return at != never && t.lasted(e, takes)
}

// lasted returns true if the entry was silent for so long, whether or not the clock stood.
func (t *timing) lasted(e *entry, silence time.Duration) bool {
	return t.clock.Elapsed()-e.heard.Elapsed+min(e.heard.Age, silence) >= silence
}

// lately returns true if that was within the window.
func (t *timing) lately(at time.Duration) bool {
	return at > t.clock.Now()-t.window()
}

// window returns for how long what happened is part of what happens now: one TTL, or what takes its place in a bucket without
// one.
func (t *timing) window() time.Duration {
	return cmp.Or(t.ttl(), max(t.grace(), t.policy.StaleAfter))
}

// sparse returns true if the node heartbeats less often than twice in staleAfter.
func (t *timing) sparse(e *entry) bool {
	return t.policy.StaleAfter > 0 && 2*e.interval > t.policy.StaleAfter
}

// next returns when the entry is to be looked at next; never if time changes nothing about it.
func (t *timing) next(e *entry) time.Duration {
	switch {
	case e.silence == expired:
		return e.since + t.policy.RetainExpired
	case e.answer == pending:
		return never
	case e.silence == held:
		return t.clock.Now() + recheck
	}
	at, takes := t.deadline(e)
	switch early, unreplaced := at-takes/3, e.silence == stale && e.shadow != superseded; {
	case e.due():
		return at
	case at == never && !unreplaced:
		return never
	case t.clock.Now() < early && !unreplaced:
		return early
	}
	return min(at-lead(takes), t.clock.Now()+recheck)
}

// lead returns how long before a deadline the leader is asked, where that takes so much silence.
func lead(takes time.Duration) time.Duration { return min(ahead, takes/6) }

// late returns true for an entry that died while it waited.
func (t *timing) late(w *waiting) bool {
	life := t.life(w.TTL)
	return life > 0 && t.clock.Now()-w.heard.At+w.heard.Age >= life
}
