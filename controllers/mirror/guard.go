package mirror

import "time"

// guard is the disruption guard: it tells a node that stopped from a registry, or a network, that blinked. If more than a
// given share of the nodes would expire within one TTL without unregistering, none of them may.
type guard struct {
	// active says that nodes are being held, since when that is so.
	active bool
	since  time.Time
	// returned says that a node which was held has sent a heartbeat since.
	returned bool
	// expired are the times at which nodes expired, oldest first, over the last TTL.
	expired []time.Time
}

// census is what the guard decides on: how many nodes have not expired, how many of these are overdue (their deadline has
// passed or soon will, and nobody accepted it), and how many of the overdue ones are held.
type census struct {
	live, overdue, held int
}

// trips says whether the overdue nodes have to be held.
func (g *guard) trips(c census, p *Policy) bool {
	total := c.live + len(g.expired)
	return total >= p.MinNodes && exceeds(c.overdue+len(g.expired), total, p.MaxSilentPercent)
}

// releases says whether a guard that is active may let go: nothing is held any more, or nodes came back and those that
// did not are few enough.
func (g *guard) releases(c census, p *Policy) bool {
	return c.held == 0 || (g.returned && !exceeds(c.held, c.live, p.MaxSilentPercent))
}

// forget drops the expiries that are older than one TTL.
func (g *guard) forget(now time.Time, ttl time.Duration) {
	for len(g.expired) > 0 && g.expired[0].Before(now.Add(-ttl)) {
		g.expired = g.expired[1:]
	}
}

func exceeds(part, total, percent int) bool { return part*100 > percent*total }
