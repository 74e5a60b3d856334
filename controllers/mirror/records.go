package mirror

import (
	"maps"
	"slices"
	"time"

	"github.com/rollcall-dev/rollcall/controllers/record"
)

// What is counted of the entries for State.Records.
const (
	countEntry = iota
	countAccepted
	countRefused
	countNever
	countRemarked
	countSuperseded
	countShared
	countSparse
	countForgotten
	counts
)

// contribution is what one entry contributes to State.Records. Its slices are shared.
type contribution struct {
	is [counts]bool
	// quote is why the last record was refused.
	quote            string
	present, failing []string
}

func contributionOf(e *entry, t *timing) contribution {
	f := &e.facts
	living := e.silence != expired && !e.foreign
	c := contribution{quote: f.Refusal.Message, is: [counts]bool{
		countEntry: living, countAccepted: f.Good, countRefused: f.Good && !f.Accepted(), countNever: !f.Good,
		countRemarked: len(f.Remarks) > 0 || e.turns.shared(), countSuperseded: e.shadow == superseded, countShared: e.turns.shared(), countSparse: t.sparse(e),
		countForgotten: e.forgotten && !f.Good && living,
	}}
	if living {
		c.failing = f.Failing
	}
	if f.Good {
		c.present = f.Present
	}
	return c
}

func (c *contribution) equal(o *contribution) bool {
	return c.is == o.is && c.quote == o.quote && slices.Equal(c.present, o.present) && slices.Equal(c.failing, o.failing)
}

// quotedBefore returns true if the entry, and not o, is the example of those whose records are refused.
func (e *entry) quotedBefore(o *entry) bool {
	if o == nil || e.counted.is[countRefused] != o.counted.is[countRefused] {
		return o == nil || e.counted.is[countRefused]
	}
	return e.key < o.key
}

// records sums up what the entries contribute to State.Records: to count them again would read all of them each time.
type records struct {
	counts           [counts]int
	present, failing map[string]int
	// interval is how often a node heartbeats of those that do so less often than they should.
	interval time.Duration
	// example is the entry whose refusal is quoted; nil if it is to be found again.
	example *entry
}

func newRecords() records { return records{present: map[string]int{}, failing: map[string]int{}} }

// replace takes out what an entry contributed, and adds what it contributes now.
func (r *records) replace(e *entry, now contribution) {
	r.add(&e.counted, -1)
	r.add(&now, 1)
	e.counted = now
	switch {
	case r.example == e:
		r.example = nil
	case r.example != nil && now.quote != "" && e.quotedBefore(r.example):
		r.example = e
	}
}

func (r *records) add(c *contribution, n int) {
	for i, is := range c.is {
		if is {
			r.counts[i] += n
		}
	}
	for _, label := range c.present {
		r.present[label] += n
	}
	for _, field := range c.failing {
		r.failing[field] += n
	}
}

// state returns the sum over the entries; labels are those that the policy makes from the metadata, sorted.
func (r *records) state(entries map[string]*entry, labels []string) Records {
	s := Records{
		Entries: r.counts[countEntry], Accepted: r.counts[countAccepted], Refused: r.counts[countRefused], NeverAccepted: r.counts[countNever],
		Remarked: r.counts[countRemarked], Superseded: r.counts[countSuperseded], Shared: r.counts[countShared], Sparse: r.counts[countSparse],
		Failing: maps.Clone(r.failing), Interval: r.interval,
	}
	maps.DeleteFunc(s.Failing, func(_ string, n int) bool { return n == 0 })
	for _, label := range labels {
		if s.Accepted > 0 && r.present[label] == 0 {
			s.Missing = append(s.Missing, label)
		}
	}
	if r.example == nil && s.Refused+s.NeverAccepted > 0 {
		for _, e := range entries {
			if e.counted.quote != "" && e.quotedBefore(r.example) {
				r.example = e
			}
		}
	}
	if r.example != nil {
		s.Example = record.Bounded(r.example.key + ": " + r.example.counted.quote)
	}
	return s
}
