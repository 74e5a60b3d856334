package faults

import (
	"cmp"
	"slices"
	"time"
)

// ending is how a node left the registry.
type ending int

const (
	// stays: it did not.
	stays ending = iota
	// unregistered: it said so, or now has another address.
	unregistered
	// died: it fell silent.
	died
)

// life is one stay of a node in the registry, at one address: what the node did, and when the server acknowledged it.
type life struct {
	// entity is what is judged: the node at its address, or the address alone. id is the node's.
	entity, id string
	// sent is when it first tried to register, acked when that was acknowledged.
	sent, acked time.Time
	// beatSent and beatAcked are those of the last heartbeat that was acknowledged, the registration being the first.
	beatSent, beatAcked time.Time
	// silences are the longer times in which no heartbeat of it was acknowledged, from when one was sent to the acknowledgement of
	// the next.
	silences []span
	// end is how it left, endSent when it began to, endAcked when the server acknowledged it.
	end               ending
	endSent, endAcked time.Time
}

// left returns when the node stopped heartbeating.
func (l *life) left() time.Time {
	if l.end == stays {
		return forever
	}
	return l.endSent
}

// joined returns the lives with those of one entity as one that overlap: it lives for as long as one of them does.
func joined(lives []life) []life {
	slices.SortStableFunc(lives, func(a, b life) int {
		return cmp.Or(cmp.Compare(a.entity, b.entity), a.sent.Compare(b.sent))
	})
	var all []life
	for _, l := range lives {
		n := len(all) - 1
		if n < 0 || all[n].entity != l.entity || l.sent.After(all[n].left()) {
			all = append(all, l)
			continue
		}
		before := all[n]
		if l.left().After(before.left()) {
			all[n] = l
		}
		all[n].sent, all[n].acked = before.sent, before.acked
		all[n].silences = slices.Concat(before.silences, l.silences)
	}
	return all
}

// window is a time in which something was broken.
type window struct {
	// to is zero while it is still broken. back is when it began to be mended, if that took its time: what holds may have
	// ended at any time from then on.
	from, back, to time.Time
	// holds says that the bucket could not be read: no deadline passes, and none of a node that has not been heard from
	// since is earlier than grace after the end.
	holds bool
	grace time.Duration
	// might says that nobody knows whether it holds: the manager may have gone on reading.
	might bool
	// listening says that a dead node's time goes on between this window and others of its kind, however many there are: it
	// stays for the TTL and one grace at most, beside the windows themselves.
	listening bool
	// settle is for how long after the end everything may still be late.
	settle time.Duration
	// excused says that endpoints may vanish in it, and for settle after it: somebody took them away by hand.
	excused bool
	// nodesOnly says that it concerns the DiscoveredNodes and not the endpoints.
	nodesOnly bool
}

// firstStart returns the window in which a manager starts that has seen nothing before. That is a gap, which may end at any
// time from then on.
func firstStart(at time.Time, grace time.Duration) window {
	return window{from: at, back: at, holds: true, grace: grace}
}

// late returns until when things may be late because of the window.
func (w *window) late() time.Time {
	if w.to.IsZero() {
		return forever
	}
	return w.to.Add(w.settle)
}

// ends returns when the window ends.
func (w *window) ends() time.Time {
	if w.to.IsZero() {
		return forever
	}
	return w.to
}

// mending returns when the window may have ended at the earliest.
func (w *window) mending() time.Time {
	if w.back.IsZero() {
		return w.ends()
	}
	return w.back
}

// forever is later than any time of a history.
var forever = time.Unix(1<<40, 0)

// sighting is a change that the observer saw.
type sighting struct {
	at      time.Time
	present bool
}

// span is a time from one moment up to another.
type span struct{ from, to time.Time }

// history is all that happened, and what was seen of it.
type history struct {
	ttl     time.Duration
	lives   []life
	windows []window
	// seen are the sightings of every entity in their order. Nothing is present at first.
	seen  map[string][]sighting
	until time.Time
}

// byEntity returns the lives of every entity in their order, and entities that were seen without having lived.
func (h *history) byEntity() map[string][]life {
	all := map[string][]life{}
	for _, l := range h.lives {
		all[l.entity] = append(all[l.entity], l)
	}
	for entity := range h.seen {
		if _, ok := all[entity]; !ok {
			all[entity] = nil
		}
	}
	for _, lives := range all {
		slices.SortFunc(lives, func(a, b life) int { return a.sent.Compare(b.sent) })
	}
	return all
}

// sorted returns the windows in the order in which they begin.
func (h *history) sorted() []window {
	windows := slices.Clone(h.windows)
	slices.SortFunc(windows, func(a, b window) int { return a.from.Compare(b.from) })
	return windows
}

// presence returns when the entity was present, or when it was absent.
func (h *history) presence(entity string, present bool) []span {
	var spans []span
	since, is := time.Time{}, false
	for _, s := range h.seen[entity] {
		if s.present == is {
			continue
		}
		if is == present {
			spans = append(spans, span{since, s.at})
		}
		since, is = s.at, s.present
	}
	if is == present {
		spans = append(spans, span{since, h.until})
	}
	return spans
}
