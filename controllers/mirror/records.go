package mirror

import (
	"cmp"
	"maps"
	"slices"

	"github.com/rollcall-dev/rollcall/controllers/record"
)

// contribution is what one entry contributes to State.Records. Its slices are shared.
type contribution struct {
	living, accepted, refused, never, remarked, superseded, shared, sparse bool
	// quote is why the last record was refused.
	quote            string
	present, failing []string
}

func contributionOf(e *entry, t *timing) contribution {
	f := &e.facts
	living := e.silence != expired && !e.foreign
	c := contribution{
		living:   living,
		accepted: f.Good, refused: f.Good && !f.Accepted(), never: !f.Good,
		remarked: len(f.Remarks) > 0 || e.turns.shared(), superseded: e.superseded, shared: e.turns.shared(), sparse: t.sparse(e),
		quote: f.Refusal.Message,
	}
	if living {
		c.failing = f.Failing
	}
	if f.Good {
		c.present = f.Present
	}
	return c
}

func (c *contribution) equal(o *contribution) bool {
	return c.living == o.living && c.accepted == o.accepted && c.refused == o.refused && c.never == o.never && c.remarked == o.remarked &&
		c.superseded == o.superseded && c.shared == o.shared && c.sparse == o.sparse && c.quote == o.quote &&
		slices.Equal(c.present, o.present) && slices.Equal(c.failing, o.failing)
}

// records sums up what the entries contribute to State.Records.
type records struct {
	sum              Records
	present, failing map[string]int
	// refused and never are the messages of those that are refused, by key.
	refused, never quotes
}

func newRecords() records {
	return records{present: map[string]int{}, failing: map[string]int{}, refused: newQuotes(), never: newQuotes()}
}

// replace takes out what a key contributed, and adds what it contributes now; nil stands for nothing.
func (r *records) replace(key string, old, now *contribution) {
	if old != nil {
		r.add(old, -1)
	}
	if now == nil {
		now = &contribution{}
	} else {
		r.add(now, 1)
	}
	r.refused.put(key, now.quote, now.refused)
	r.never.put(key, now.quote, now.never)
}

// quotes are what was said of some keys, and the first of them, which is quoted for all.
type quotes struct {
	all    map[string]string
	chosen string
}

func newQuotes() quotes { return quotes{all: map[string]string{}} }

// put adds the key or, if it is none of them, takes it out.
func (q *quotes) put(key, text string, is bool) {
	if !is {
		delete(q.all, key)
	} else {
		q.all[key] = text
	}
	switch _, there := q.all[q.chosen]; {
	case is && (key < q.chosen || !there):
		q.chosen = key
	case !there && len(q.all) > 0:
		q.chosen = slices.Min(slices.Collect(maps.Keys(q.all)))
	}
}

// example returns the key that is quoted and what was said of it; empty if there is none.
func (q *quotes) example() string {
	if len(q.all) == 0 {
		return ""
	}
	return record.Bounded(q.chosen + ": " + q.all[q.chosen])
}

func (r *records) add(c *contribution, n int) {
	s := &r.sum
	for _, counted := range []struct {
		is bool
		in *int
	}{
		{c.living, &s.Entries},
		{c.accepted, &s.Accepted},
		{c.refused, &s.Refused},
		{c.never, &s.NeverAccepted},
		{c.remarked, &s.Remarked},
		{c.superseded, &s.Superseded},
		{c.shared, &s.Shared},
		{c.sparse, &s.Sparse},
	} {
		if counted.is {
			*counted.in += n
		}
	}
	for _, label := range c.present {
		r.present[label] += n
	}
	for _, field := range c.failing {
		r.failing[field] += n
	}
}

// state returns the sum; labels are those that the policy makes from the metadata, sorted.
func (r *records) state(labels []string) Records {
	s := r.sum
	s.Example = cmp.Or(r.refused.example(), r.never.example())
	s.Failing = maps.Clone(r.failing)
	maps.DeleteFunc(s.Failing, func(_ string, n int) bool { return n == 0 })
	for _, label := range labels {
		if s.Accepted > 0 && r.present[label] == 0 {
			s.Missing = append(s.Missing, label)
		}
	}
	return s
}
