package kv

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// requestInfo reads the bucket's settings and state while the watcher is live.
func (r *run) requestInfo() {
	s, position := r.current, r.position
	r.infoPending = true
	r.helpers.Go(func() {
		b, err := r.api.insistOnInfo(s.ctx)
		r.post(func() { r.informed(s, b, err, position) })
	})
}

// informed compares the stream's state with what was seen of it: recreating or purging a bucket makes no message.
func (r *run) informed(s *session, b Bucket, err error, position uint64) {
	r.infoPending = false
	switch {
	case s != r.current:
	case err != nil:
		r.infoFailures++
		if r.infoFailures >= maxInfoFailures {
			r.fail(CauseError, err)
		}
	case r.otherBucket(b, position):
		r.fail(CauseRecreated, errRecreated)
	default:
		r.infoFailures = 0
		r.infoAt = time.Now().Add(r.o.InfoInterval)
		s.bucket = b
		r.sink.Bucket(b)
		r.purgeCheck = &b
		r.checkPurge()
	}
}

// checkPurge compares the last info with the keys, once everything that the stream held then has arrived.
func (r *run) checkPurge() {
	if r.purgeCheck == nil || r.next != nil || r.current.track.position < r.purgeCheck.Revision {
		return
	}
	b := r.purgeCheck
	r.purgeCheck = nil
	if r.keys.purged(b.firstRevision, b.ServerTime) {
		r.fail(CausePurged, errPurged)
	}
}

const (
	// confirmWorkers bounds the reads from the stream's leader at a time.
	confirmWorkers = 16
	// confirmBatch is how many keys are confirmed before the sink hears of them.
	confirmBatch = 512
	// confirmRetry is after how long keys are asked for again that the leader gave no answer for.
	confirmRetry = 2 * time.Second
)

// readBack is what the stream's leader says about keys that a listing didn't hold.
type readBack struct {
	absent []candidate
	found  []Entry
	failed []candidate
}

// confirm asks the stream's leader for the keys that the listing didn't hold. A listing may come from a replica that lags
// behind, and a read that fails confirms nothing: it is repeated for as long as the session lives, and the next listing
// finds anew what is missing.
func (r *run) confirm() {
	missing, s := r.unconfirmed, r.current
	r.unconfirmed = nil
	if len(missing) == 0 {
		return
	}
	r.confirming = true
	prefix := s.bucket.subjectPrefix
	r.helpers.Go(func() {
		for batch := range slices.Chunk(missing, confirmBatch) {
			b := r.read(s.ctx, prefix, batch)
			r.post(func() { r.confirmed(s, b) })
		}
		r.post(func() { r.confirming = false })
	})
}

// read asks for a batch of keys; it runs in a helper.
func (r *run) read(ctx context.Context, subjectPrefix string, batch []candidate) readBack {
	type answer struct {
		entry Entry
		err   error
	}
	answers := make([]answer, len(batch))
	var g errgroup.Group
	g.SetLimit(confirmWorkers)
	for i, c := range batch {
		g.Go(func() error {
			e, err := r.api.last(ctx, subjectPrefix, c.key)
			answers[i] = answer{e, err}
			return nil
		})
	}
	_ = g.Wait() // The functions return no error; each has its own answer.
	var b readBack
	for i, a := range answers {
		switch c := batch[i]; {
		case errors.Is(a.err, errMessageNotFound), a.err == nil && a.entry.Key != c.key:
			// A key with a wildcard in it, which no message can have, is answered with another one.
			b.absent = append(b.absent, c)
		case a.err != nil:
			b.failed = append(b.failed, c)
		default:
			b.found = append(b.found, a.entry)
		}
	}
	return b
}

func (r *run) confirmed(s *session, b readBack) {
	if s != r.current {
		return
	}
	var absent []string
	for _, c := range b.absent {
		if r.keys.unchanged(c) {
			r.keys.remove(c.key)
			absent = append(absent, c.key)
		}
	}
	if len(absent) > 0 {
		slices.Sort(absent)
		r.sink.Absent(absent)
	}
	for _, e := range b.found {
		// What is newer than the session has come to is still on its way, in order.
		if e.Revision <= s.track.position {
			r.deliver(s, e)
		}
	}
	if len(b.failed) > 0 {
		r.unconfirmed = append(r.unconfirmed, b.failed...)
		r.confirmAt = time.Now().Add(confirmRetry)
	}
}
