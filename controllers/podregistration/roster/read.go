package roster

import (
	"context"
	"errors"
	"time"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

const (
	// maxReaders bounds the reads from the stream's leader at a time.
	maxReaders = 16
	// readTimeout bounds one read.
	readTimeout = 3 * time.Second
)

// ask has a slot read from the stream's leader.
func (r *Roster) ask(s *slot) {
	s.flight = flight{kind: reading}
	r.asked = append(r.asked, s)
	if r.readers < maxReaders {
		r.readers++
		r.done.Go(r.read)
	}
}

// read reads what was asked for until nothing more is.
func (r *Roster) read() {
	for {
		r.mu.Lock()
		if len(r.asked) == 0 || r.ctx.Err() != nil {
			r.readers--
			r.mu.Unlock()
			return
		}
		s, w, session := r.asked[0], r.writer, r.session
		r.asked = r.asked[1:]
		vain := w == nil || s.flight.kind != reading || r.heard(s)
		r.unlockAndTell()
		if !vain {
			ctx, cancel := context.WithTimeout(r.ctx, readTimeout)
			e, err := w.Last(ctx, s.key)
			cancel()
			r.answered(s, session, e, err)
		}
	}
}

// heard settles the question for a slot if the Watcher has answered it meanwhile, as it does after a write whose answer was
// late. Should it be behind, then the next write is told.
func (r *Roster) heard(s *slot) bool {
	over := s.overheard
	if over == nil || over.revision <= s.known.revision {
		return false
	}
	s.flight, s.overheard = flight{}, nil
	r.reread(s, over, time.Now())
	return true
}

// answered takes in what the stream's leader says of a key.
func (r *Roster) answered(s *slot, session int, e kv.Entry, err error) {
	r.mu.Lock()
	defer r.unlockAndTell()
	if s.flight.kind != reading || session != r.session {
		return
	}
	now := time.Now()
	if errors.Is(err, kv.ErrConnectionLost) {
		r.paused = now.Add(reconnectInterval)
	}
	if err != nil && r.heard(s) {
		return
	}
	over := s.overheard
	s.flight, s.overheard = flight{}, nil
	if err != nil {
		r.balk(s, now)
		return
	}
	r.report(s)
	s.forgive()
	next := &known{
		sure: true, revision: e.Revision, live: e.Revision > 0 && e.Operation == kv.Put,
		value: e.Value, written: e.Written,
	}
	if over != nil && over.revision > e.Revision {
		next = over
	}
	r.reread(s, next, now)
}

// reread takes over what was read of a key, and finds out whether a write that was not answered got lost.
func (r *Roster) reread(s *slot, next *known, now time.Time) {
	lost := s.unanswered == next.revision+1
	s.unanswered = 0
	switch {
	case lost && s.attempts > 0:
		// Once may be an outage of the server's, which this read has found to be over.
		r.fail(s, kv.ErrNoAnswer)
	case !lost && s.trouble.Phase == Failed:
		s.trouble = State{}
	}
	r.learn(s, next)
	if lost {
		r.later(s, now)
		return
	}
	r.schedule(s, now)
}
