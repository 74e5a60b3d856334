package kv

import (
	"errors"
	"slices"
	"time"
)

// look is when the bucket's settings and state are read while it is followed, and what is still to be compared.
type look struct {
	at       time.Time
	asked    time.Time // the one under way, or the last
	underway bool
	failures int     // in a row
	purge    *Bucket // whose state is to be compared with the keys once current has come that far
	last     *Bucket // that was compared before
}

func (l *look) forget() { l.purge, l.last, l.failures = nil, nil, 0 }

// unanswered reports whether nobody has said for longer than limit how the bucket is.
func (l *look) unanswered(now time.Time, limit time.Duration) bool {
	return l.failures > 0 || l.underway && now.Sub(l.asked) > limit
}

// arrived tells the sink that something has arrived, but not while the bucket's leader does not answer: the consumer may live on, on
// another server, and go on sending heartbeats, but nobody can write.
func (r *run) arrived(at time.Time) {
	if !r.info.unanswered(at, r.silence()) {
		r.sink.Arrived(at)
	}
}

// requestInfo reads the bucket's settings and state while the watcher is live.
func (r *run) requestInfo() {
	s, position := r.current, r.position
	r.info.underway, r.info.asked = true, time.Now()
	r.help(s.link, func() {
		b, err := s.link.account.look(s.ctx)
		r.post(func() {
			r.info.underway = false
			r.informed(s, b, err, position)
		})
	})
}

// informed compares the stream's state with what was seen of it: recreating or purging a bucket makes no message. It returns
// true if the session goes on and b is what the bucket is now.
func (r *run) informed(s *session, b Bucket, err error, position uint64) bool {
	switch {
	case s != r.current:
	case err != nil:
		r.info.failures++
		if r.info.failures >= maxInfoFailures {
			r.fail(CauseError, err)
		}
	case r.otherBucket(b, position):
		r.fail(CauseRecreated, errRecreated)
	default:
		r.info.failures = 0
		r.info.at = time.Now().Add(r.o.InfoInterval)
		b.Denied, b.LeftOut = s.bucket.Denied, r.keys.leftOut
		b = r.store.judge(b)
		s.bucket = b
		r.sink.Bucket(b)
		r.info.purge = &b
		r.checkPurge()
		return s == r.current
	}
	return false
}

// heedWriter tells the sink at once that the bucket refuses writes, or takes them again.
func (r *run) heedWriter() {
	if store := r.store.store(); store != r.current.bucket.Store {
		r.current.bucket.Store = store
		r.sink.Bucket(r.current.bucket)
	}
}

// checkPurge compares the last info with the keys, once everything that the stream held then has arrived.
func (r *run) checkPurge() {
	if r.info.purge == nil || r.next != nil || r.current.track.position < r.info.purge.Revision {
		return
	}
	b, before := r.info.purge, r.info.last
	if before == nil {
		before = b
	}
	r.info.purge, r.info.last = nil, b
	if r.keys.purged(b, before) {
		r.fail(CausePurged, errPurged)
	}
}

// confirmRetry is after how long keys are asked for again that the leader gave no answer for.
const confirmRetry = 2 * time.Second

// confirmation is the question about keys that a listing didn't hold.
type confirmation struct {
	missing  []candidate
	at       time.Time
	underway bool
}

func (c *confirmation) due(now time.Time) bool {
	return len(c.missing) > 0 && !c.underway && !now.Before(c.at)
}

// confirm asks the stream's leader for the keys that the listing didn't hold. A listing may come from a replica that lags
// behind, and a read that fails confirms nothing: it is repeated for as long as the session lives, and the next listing
// finds again what is missing.
func (r *run) confirm() {
	s, asked := r.current, make(map[string]candidate, len(r.absent.missing))
	keys := make([]string, 0, len(r.absent.missing))
	for _, c := range r.absent.missing {
		asked[c.key] = c
		keys = append(keys, c.key)
	}
	r.absent.missing, r.absent.underway = nil, true
	r.help(s.link, func() {
		s.link.api.readLast(s.ctx, s.subjects, keys, func(answers []answer) {
			r.post(func() { r.confirmed(s, asked, answers) })
		})
		r.post(func() { r.absent.underway = false })
	})
}

func (r *run) confirmed(s *session, asked map[string]candidate, answers []answer) {
	if s != r.current {
		return
	}
	now := time.Now()
	var absent []string
	var found []Entry
	for _, a := range answers {
		switch c := asked[a.key]; {
		case errors.Is(a.err, errMessageNotFound):
			if r.keys.unchanged(c) {
				r.keys.remove(a.key)
				absent = append(absent, a.key)
			}
		case a.err != nil:
			r.absent.missing = append(r.absent.missing, c)
			r.absent.at = now.Add(confirmRetry)
		default:
			found = append(found, a.entry)
		}
	}
	if len(absent) > 0 {
		slices.Sort(absent)
		r.sink.Absent(absent)
	}
	for _, e := range found {
		r.catchUp(s, e, now)
	}
}

// catchUp delivers what the leader has of a key and the session has come past. What is newer is on its way, in order.
func (r *run) catchUp(s *session, e Entry, at time.Time) {
	if e.Revision <= s.track.position {
		r.deliver(s, e, at)
	}
}
