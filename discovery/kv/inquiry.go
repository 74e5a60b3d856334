package kv

import (
	"errors"
	"slices"
	"time"

	"github.com/rollcall-dev/rollcall/discovery/internal/backoff"
)

// inquiryPause is the least time between two questions about silent keys, so that a sink which goes on naming a key doesn't
// keep the leader busy.
const inquiryPause = 100 * time.Millisecond

// inquiry is the question about keys that are silent: whether the store takes writes, and whether the stream's leader has
// something newer of them. One is under way at a time.
type inquiry struct {
	underway bool
	at       time.Time // not to be asked again before
	failed   bool      // the one under way has keys without an answer
	backoff  backoff.Backoff
}

// end ends the question that is under way.
func (q *inquiry) end(now time.Time) {
	pause := inquiryPause
	if q.failed {
		pause = q.backoff.Next()
	} else {
		q.backoff.Reset()
	}
	q.underway, q.failed, q.at = false, false, now.Add(pause)
}

// inquire asks about the keys that the sink takes for silent.
func (r *run) inquire(at time.Time) {
	if !r.current.live() || r.silent.underway || at.Before(r.silent.at) {
		return
	}
	keys := r.sink.Overdue()
	if len(keys) == 0 {
		return
	}
	s, position := r.current, r.position
	r.silent.underway = true
	r.help(s.link, func() {
		b, err := s.link.account.look(s.ctx)
		r.post(func() { r.inquireOfLeader(s, b, err, position, keys) })
	})
}

// inquireOfLeader asks the stream's leader for the keys, if the store takes writes.
func (r *run) inquireOfLeader(s *session, b Bucket, err error, position uint64, keys []string) {
	before := r.store.seen
	// That there is no answer counts for this question only: whether the bucket can be read, the next look shows.
	if err != nil || !r.informed(s, b, nil, position) || s.bucket.Store.stands() || b.state.doubtful() {
		r.silent.failed = err != nil || b.state.doubtful()
		r.silent.end(time.Now())
		return
	}
	exempt := b.state.exempt(before)
	lapsed := r.keys.lapsed(keys, &s.bucket, time.Now())
	r.help(s.link, func() {
		taken, refused, err := r.divide(s, exempt, keys, lapsed)
		if len(refused) > 0 {
			r.post(func() { r.withheld(s, refused) })
		}
		if err == nil {
			s.link.api.readLast(s.ctx, s.subjects, taken, func(answers []answer) {
				r.post(func() { r.answered(s, answers) })
			})
		}
		r.post(func() {
			r.silent.failed = r.silent.failed || err != nil
			r.silent.end(time.Now())
		})
	})
}

// divide tells the keys whose heartbeats the store takes from those that it may refuse. Keys that have lapsed were in the store
// until then.
func (r *run) divide(s *session, x exemption, keys []string, lapsed map[string]bool) (taken, refused []string, err error) {
	var counts map[string]uint64
	if x.counts() {
		if counts, err = s.link.api.counts(s.ctx, x.filters(s.subjects, r.o.KeyPrefix, keys)); err != nil {
			return nil, nil, err
		}
	}
	for _, key := range keys {
		subject := s.subjects + key
		messages := counts[subject]
		if lapsed[key] {
			messages = max(messages, 1)
		}
		if x.concerns(subject, messages) {
			refused = append(refused, key)
		} else {
			taken = append(taken, key)
		}
	}
	return taken, refused, nil
}

// withheld tells the sink of which keys the store may refuse the heartbeats.
func (r *run) withheld(s *session, keys []string) {
	if s == r.current {
		r.sink.Withheld(keys)
	}
}

// answered tells the sink which keys are silent by the leader's word.
func (r *run) answered(s *session, answers []answer) {
	if s != r.current {
		return
	}
	now := time.Now()
	if slices.ContainsFunc(answers, answer.arrived) {
		r.arrived(now)
		if s.bucket.Denied != "" { // It may by now.
			s.link.denied, s.bucket.Denied = "", ""
		}
	}
	var silent []string
	var newer []Entry
	for _, a := range answers {
		switch {
		case errors.Is(a.err, errDenied):
			r.denied(s)
			silent = append(silent, a.key)
		case errors.Is(a.err, errMessageNotFound), a.err == nil && a.entry.Revision <= r.keys.revision(a.key):
			silent = append(silent, a.key)
		case a.err != nil:
			r.silent.failed = true
		default:
			newer = append(newer, a.entry)
		}
	}
	for _, e := range newer {
		r.catchUp(s, e, now)
	}
	if len(silent) > 0 {
		r.sink.Silent(silent)
	}
}

// denied tells the sink that the login may not read from the leader.
func (r *run) denied(s *session) {
	if s.bucket.Denied == "" {
		s.link.denied = s.link.api.prefix + s.link.api.messageOperation()
		s.bucket.Denied = s.link.denied
		r.sink.Bucket(s.bucket)
	}
}
