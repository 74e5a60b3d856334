// Package liveness is the arithmetic of silence: how long a node has been silent, and when that is a death.
//
// # The listening clock
//
// A node is silent only while somebody listens. So a registry has a clock of its own, which advances when something arrives
// from the server, by the time since the last arrival. A process that was frozen, throttled or cut off therefore finds a
// gap, and not a thousand deaths:
//
//	arrivals    |  |  |  |          |  |  |      ✕ lost            | |  |  |
//	            ├──┴──┴──┤  pause   ├──┴──┤      listing           ├─┴──┴──┤
//	the clock   advances  stands    advances     stands             advances
//	gap ends                        ▲                               ▲
//
// Who tells the clock of arrivals tells of none while the stream's leader does not answer, so that is a pause: see kv.Sink.
//
// A pause that is longer than the limit of silence is a gap; so is the time from a lost session to a complete listing, and
// the time in which the store takes no writes. No wall clock is read, so no step of one moves a deadline.
//
// # When silence is a death
//
// With h the clock when the node was last heard, a the age that its message had then, and g the clock at the end of the last
// gap, a node that was not heard since that gap dies at
//
//	min(h − a + TTL + grace, max(h − a + TTL, g + grace))
//
// and one that was heard since at h − a + TTL. A gap may have cut off the nodes as well, so each has grace to come back. The
// first term bounds that: a hundred gaps don't keep a dead node alive.
package liveness

import "time"

// Clock is the listening clock of one registry: a duration that has been listened for. The zero value stands still; NewClock
// makes one. It is not safe for concurrent use.
type Clock struct {
	limit     time.Duration
	now       time.Duration
	stood     time.Duration // for how long something arrived while the store took no writes
	refused   time.Duration // for how long the clock advanced while the store refused some keys
	taken     time.Duration // the clock when it last took all of them again
	gap       time.Duration // the clock at the end of the last gap
	last      time.Time     // the last arrival
	listening bool          // since the last complete listing nothing was lost
	held      bool          // the store takes no writes
	partly    bool          // the store refuses some keys
}

// NewClock returns a clock that stands until Start. limit is the limit of silence: the longest time between two arrivals in
// which nothing can have been missed.
func NewClock(limit time.Duration) Clock { return Clock{limit: limit} }

// Now returns for how long the registry has been listened to while nodes could heartbeat.
func (c *Clock) Now() time.Duration { return c.now }

// Elapsed returns for how long the registry has been listened to, whether or not nodes could heartbeat. It decides nothing:
// it tells a person who has been silent while the clock stands.
func (c *Clock) Elapsed() time.Duration { return c.now + c.stood }

// Listening returns true from a complete listing until the next gap.
func (c *Clock) Listening() bool { return c.listening }

// Advancing returns true if the clock advances with the next arrival.
func (c *Clock) Advancing() bool { return c.listening && !c.held }

// Arrived notes that something has arrived from the server. at is monotonic.
func (c *Clock) Arrived(at time.Time) {
	pause := at.Sub(c.last)
	c.last = at
	switch {
	case !c.listening || pause < 0:
	case pause > c.limit:
		c.gap = c.now
	case c.held:
		c.stood += pause
	case c.partly:
		c.refused += pause
		fallthrough
	default:
		c.now += pause
	}
}

// Unbroken returns true if there was no gap since that time on the clock.
func (c *Clock) Unbroken(since time.Duration) bool { return since > c.gap }

// Stop begins a gap: messages may be missed from now on.
func (c *Clock) Stop() { c.listening = false }

// Start ends a gap: with the last arrival everything was listed.
func (c *Clock) Start() { c.listening, c.gap = true, c.now }

// Hold makes the clock stand while the store takes no writes: nobody can heartbeat. Once it takes them again, the nodes need
// time to notice, as after a gap.
func (c *Clock) Hold(held bool) {
	if c.held && !held {
		c.gap = c.now
	}
	c.held = held
}

// Refuse notes that the store takes the writes of some keys only. Of those that it refuses, see Heard.Withheld, the time does
// not count, and once they are taken again the nodes need time to notice, as after a gap. Of the others it does.
func (c *Clock) Refuse(some bool) {
	if c.partly && !some {
		c.taken = c.now
	}
	c.partly = some
}

// Heard is a node's last sign of life.
type Heard struct {
	// At is the listening clock when it came in.
	At time.Duration
	// Age is how old it was then, at least; zero for a message that came in as it was written.
	Age time.Duration
	// Elapsed is Clock.Elapsed when it came in.
	Elapsed time.Duration
	// Withheld is true once the store was found to refuse the node's heartbeats: the time in which it refused some keys is no
	// silence of this one.
	Withheld bool

	refused time.Duration
}

// Hear returns a sign of life of that age that comes in now.
func (c *Clock) Hear(age time.Duration) Heard {
	return Heard{At: c.now, Age: max(0, age), Elapsed: c.Elapsed(), refused: c.refused}
}

// Deadline returns when, on the listening clock, a silence of that length since the sign of life has lasted long enough;
// grace is how long nodes have to come back after a gap. An age is an estimate of another clock, so no more of it counts than
// the silence takes.
func (c *Clock) Deadline(h Heard, silence, grace time.Duration) time.Duration {
	own := h.At - min(h.Age, silence) + silence
	if h.Withheld {
		own = max(own+c.refused-h.refused, c.taken+grace)
	}
	if c.Unbroken(h.At) {
		return own
	}
	return min(own+grace, max(own, c.gap+grace))
}
