package mirror

import "time"

// atLeast is the number of nodes from which on it is no coincidence that all of them are silent.
const atLeast = 3

// countEvery is the least time between two counts: nodes that fall silent meanwhile are decided on together, so that the
// death of a whole fleet costs a few counts of it and not one for each node.
const countEvery = 50 * time.Millisecond

// guard is the disruption guard: it tells nodes that stopped from a network that blinked. While all of at least three nodes
// are silent, or more than MaxSilentPercent of at least MinNodes, none loses its traffic.
type guard struct {
	// active is true while the guard holds nodes, since then.
	active bool
	since  time.Time
	// stale is true if the last count, at counted, is of no use any more.
	stale   bool
	counted time.Duration
	// gone are the times at which nodes were forgotten that had lost their traffic by silence, oldest first.
	gone []time.Duration
}

// census is what the guard decides on: the nodes that have traffic to lose or lost it by silence lately, and how many of
// them are silent or lost it.
type census struct{ silent, of int }

// holds returns true if the silent nodes keep their traffic. A limit of 100 percent switches the guard off.
func (c census) holds(p *Policy) bool {
	switch {
	case p.MaxSilentPercent >= 100 || c.silent == 0:
		return false
	case c.of >= atLeast && c.silent == c.of:
		return true
	}
	return c.of >= p.MinNodes && c.silent*100 > p.MaxSilentPercent*c.of
}

// take counts the nodes.
func (g *guard) take(entries map[string]*entry, t *timing) (c census) {
	for len(g.gone) > 0 && !t.lately(g.gone[0]) {
		g.gone = g.gone[1:]
	}
	c.silent, c.of = len(g.gone), len(g.gone)
	for _, e := range entries {
		switch {
		case !e.counts():
		case e.silence == stale || e.silence == expired:
			// One that lost its traffic longer ago is no part of what is happening now.
			if t.lately(e.since) {
				c.silent++
				c.of++
			}
		case e.silence == held || e.due() || t.silent(e):
			c.silent++
			c.of++
		default:
			c.of++
		}
	}
	g.stale, g.counted = false, t.clock.Now()
	return c
}

// ripe returns true if it is time to count again. While the guard holds nodes the count goes out of date by itself: nodes that
// were late heartbeat, and what was lost before leaves the window.
func (g *guard) ripe(now time.Duration) bool {
	return g.stale && now >= g.counted+countEvery || g.active && now >= g.counted+recheck
}
