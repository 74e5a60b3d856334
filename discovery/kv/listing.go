package kv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rollcall-dev/rollcall/discovery/internal/backoff"
)

// open begins to open a session: the current one if there is none, else the next one.
func (r *run) open() {
	ctx, cancel := context.WithCancel(r.ctx)
	r.attempt = cancel
	position, to := r.position, r.links.to
	r.help(to, func() {
		s, err := to.opener.open(r.ctx, ctx)
		if s != nil {
			s.link = to
		}
		if !r.post(func() { r.opened(ctx, s, err, position) }) && s != nil {
			to.opener.close(s)
		}
	})
}

// opened takes over a session. position is how far the bucket was seen before the session was asked for.
func (r *run) opened(attempt context.Context, s *session, err error, position uint64) {
	if attempt.Err() != nil {
		if s != nil {
			r.close(s)
		}
		return
	}
	r.attempt()
	r.attempt = nil
	if err != nil {
		r.openFailed(err)
		return
	}
	if r.otherBucket(s.bucket, position) {
		r.startOver()
	}
	r.created = s.bucket.Created
	s.bucket = r.store.judge(s.bucket)
	s.bucket.Denied = s.link.denied
	s.generation = r.keys.begin()
	if r.current == nil {
		r.current = s
		if !r.announced {
			r.announce()
		}
	} else {
		r.next = s
		r.sink.Listing(r.relistCause())
	}
	r.help(s.link, s.link.opener.sweep)
	r.advance(s)
	r.drain(time.Now())
}

// relistCause returns why a bucket is listed that is followed.
func (r *run) relistCause() Cause {
	if r.current.link != r.links.to {
		return CausePlanned
	}
	return CausePeriodic
}

func (r *run) openFailed(err error) {
	if r.current != nil {
		r.o.Logger.Debug("periodic relist failed", "bucket", r.o.Bucket, "error", err)
		r.relistAt = time.Now().Add(r.backoff.Next())
		return
	}
	r.closed = errors.Is(err, nats.ErrConnectionClosed)
	r.openAt = time.Now().Add(r.rest(err))
	r.tellDown(err)
}

// rest returns how long to wait after a failure. A cluster that is electing a leader answers from one moment to the next.
func (r *run) rest(err error) time.Duration {
	d := r.backoff.Next()
	if r.refusals.concerns(err) {
		if refused := r.refusals.rest(r.links.to.nc.LastError(), r.links.to.api.stream()); refused > 0 {
			return refused
		}
	}
	if unanswered(err) {
		d = min(d, backoff.Jitter(askAgain))
	}
	return d
}

// otherBucket reports whether b is another bucket than the one that was seen up to position: it was created at another
// time, or its stream is shorter, as that of a bucket that was restored from a backup is.
func (r *run) otherBucket(b Bucket, position uint64) bool {
	return !r.created.IsZero() && (!b.Created.Equal(r.created) || b.Revision < position)
}

// startOver forgets what was seen of a bucket that is another one now. A current session is one of the old bucket.
func (r *run) startOver() {
	r.keys.reset()
	r.position = 0
	r.cause, r.announced = CauseRecreated, false
	if r.current != nil {
		r.close(r.current)
		r.current, r.info.purge, r.absent.missing = nil, nil, nil
	}
}

// drain takes in what has arrived, and asks about the keys that are silent.
func (r *run) drain(at time.Time) {
	sessions := [...]*session{r.current, r.next}
	var batches [len(sessions)][]*nats.Msg
	some := false
	for i, s := range sessions {
		if s != nil {
			batches[i] = s.in.take(at)
			some = some || len(batches[i]) > 0
		}
	}
	if !some {
		return
	}
	r.arrived(at)
	r.keys.most = r.sink.MaxKeys()
	for i, s := range sessions {
		if len(batches[i]) > 0 {
			r.work(s, batches[i], at)
		}
	}
	r.inquire(at)
}

// work works off the messages of a session, as long as it is owned.
func (r *run) work(s *session, messages []*nats.Msg, at time.Time) {
	for some := range slices.Chunk(messages, easedEvery) {
		for _, m := range some {
			if !r.owns(s) {
				return
			}
			r.receive(s, m, at)
		}
		s.in.done(some)
	}
	if r.owns(s) {
		s.in.give(messages)
		r.advance(s)
	}
}

func (r *run) receive(s *session, m *nats.Msg, at time.Time) {
	if c, ok := parseControl(m); ok {
		if c.reply != "" {
			// If this fails, the connection is lost, which is noticed elsewhere.
			_ = s.link.nc.Publish(c.reply, nil)
		}
		if c.heartbeat && !s.track.heartbeat(c) {
			r.broken(s, CauseSequenceGap, errGap)
		}
		return
	}
	d, err := parseDelivered(m, s.subjects)
	switch {
	case err != nil:
		r.broken(s, CauseError, err)
	case !s.track.message(d.sequence, d.entry.Revision):
		r.broken(s, CauseSequenceGap, errGap)
	default:
		r.store.heard(m.Size() - len(m.Reply))
		r.deliver(s, d.entry, at)
	}
}

// deliver hands the sink an entry that is newer than what it was handed before.
func (r *run) deliver(s *session, e Entry, at time.Time) {
	if !r.o.matches(e.Key) {
		return
	}
	if known := r.keys.apply(e, s.generation); known != nil {
		e.Memo = &known.memo
		r.sink.Entry(s.dated(e, at))
	}
}

// advance acts on how far a session has come.
func (r *run) advance(s *session) {
	r.position = max(r.position, s.track.position)
	if arrivals := s.track.sequence + s.track.position; arrivals > s.arrivals {
		s.arrivals, s.progress = arrivals, time.Now()
	}
	switch s.boundary.reached(s.track.position, s.track.unbroken) {
	case ask:
		r.requestMark(s)
	case finish:
		r.synced(s)
	}
	r.checkPurge()
}

// requestMark asks for the next mark, see boundary.
func (r *run) requestMark(s *session) {
	s.track.begin()
	r.help(s.link, func() {
		b, err := s.link.api.insistOnInfo(s.ctx)
		r.post(func() { r.marked(s, b, err) })
	})
}

func (r *run) marked(s *session, b Bucket, err error) {
	switch {
	case !r.owns(s):
	case err != nil:
		r.broken(s, CauseError, fmt.Errorf("completing the listing: %w", err))
	case !b.Created.Equal(s.bucket.Created) || b.Revision < s.boundary.mark:
		r.broken(s, CauseRecreated, errRecreated)
	default:
		s.bucket, s.progress = r.store.judge(b), time.Now()
		s.bucket.Denied = s.link.denied
		s.boundary.answered(b.Revision)
		r.advance(s)
	}
}

// synced ends a listing. A session that relisted takes over from the one that went on delivering.
func (r *run) synced(s *session) {
	if s == r.next {
		r.close(r.current)
		r.current, r.next, r.info.purge = s, nil, nil
	}
	now := time.Now()
	missing := r.keys.sweep(s.generation, s.boundary.mark)
	r.announced, r.settled = false, true
	r.backoff.Reset()
	r.refusals.backoff.Reset()
	r.hiccups = max(0, r.hiccups-1)
	r.relistAt = now.Add(backoff.Jitter(r.o.RelistInterval))
	if r.links.release(s); s.link != r.links.to {
		r.relistAt = now // on the connection that takes its place
	}
	r.info.at, r.info.failures = now.Add(r.o.InfoInterval), 0
	s.bucket.LeftOut = r.keys.leftOut
	r.o.Logger.Debug("synced", "bucket", r.o.Bucket, "revision", s.bucket.Revision, "missing", len(missing))
	r.sink.Synced(s.bucket)
	r.absent.missing, r.absent.at = missing, now
	if r.absent.due(now) {
		r.confirm()
	}
}
