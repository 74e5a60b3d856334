package kv

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rollcall-dev/rollcall/discovery/internal/backoff"
)

// silentHeartbeats is after how many idle heartbeats that didn't come, in tenths, a consumer is given up. With the tick
// below, and heartbeats of half a second, that keeps the time until a cut is noticed under a second.
const silentHeartbeats = 17

// ticksPerHeartbeat is how often in an idle heartbeat the watcher looks at its clock.
const ticksPerHeartbeat = 5

// stallTimeout is how long a listing may make no progress before it is begun again.
const stallTimeout = 10 * time.Second

// maxHiccups bounds how often the patience with a listing is doubled.
const maxHiccups = 4

// maxInfoFailures is after how many stream infos in a row without an answer the bucket counts as unreadable. Its consumer
// may live on, on another server than a leader that is gone: nodes can't heartbeat then, so the silence means nothing.
const maxInfoFailures = 2

// run is one Watcher at work. All its fields belong to the goroutine of loop; requests run in helper goroutines, which
// hand their results to it.
//
// At any time it is in one of three states. Without a session it is cut off, and opens one. With current alone, whose
// boundary isn't complete, it lists; once it is, it is live. A periodic relist is done by a second session, next, while
// current goes on delivering; the one replaces the other when its listing is complete.
type run struct {
	ctx     context.Context
	o       *WatcherOptions
	sink    Sink
	links   links
	helpers sync.WaitGroup
	results chan func()
	wake    chan struct{}

	keys          *keys
	current, next *session
	created       time.Time // of the bucket that was last opened
	position      uint64    // how far its stream was seen

	cause     Cause // of the next listing
	announced bool  // Listing has been called for it
	down      error // what Disconnected was last called with; nil if the bucket can be read

	attempt  context.CancelFunc // cancels the session being opened; nil if none is
	backoff  backoff.Backoff
	refusals refusals
	openAt   time.Time // when to open a session, if there is none
	settled  bool      // a listing was completed since the last failure
	hiccups  int       // listings in a row that were given up for their silence, see patience

	relistAt time.Time
	info     look
	absent   confirmation
	silent   inquiry
	store    storeWatch

	closed bool // the connection is closed
}

func newRun(ctx context.Context, w *Watcher, nc *nats.Conn) *run {
	wake := make(chan struct{}, 1)
	return &run{
		ctx: ctx, o: &w.o, sink: w.sink, links: links{to: newLink(nc, &w.o, wake)},
		results: make(chan func()), wake: wake,
		keys: newKeys(w.o.Known), cause: CauseStart, store: storeWatch{writer: w.o.Writer},
	}
}

func (r *run) loop() error {
	tick := time.NewTicker(r.o.IdleHeartbeat / ticksPerHeartbeat)
	defer tick.Stop()
	r.open()
	for !r.closed {
		to, from := r.links.to, r.links.from
		// A lost connection comes first: asking it for anything else may take as long as its next attempt to dial.
		select {
		case s := <-to.status:
			r.statusChanged(to, s)
			continue
		case s := <-from.changes():
			r.statusChanged(from, s)
			continue
		default:
		}
		select {
		case <-r.ctx.Done():
			return r.ctx.Err()
		case s := <-to.status:
			r.statusChanged(to, s)
		case s := <-from.changes():
			r.statusChanged(from, s)
		case <-r.wake:
			r.drain(time.Now())
		case f := <-r.results:
			f()
		case <-tick.C:
			// What the ticker has sent may be as old as the loop's last turn.
			now := time.Now()
			r.drain(now)
			r.tick(now)
		}
	}
	return nats.ErrConnectionClosed
}

// end closes the sessions and waits for the helpers; the run's context has ended.
func (r *run) end() {
	for _, s := range r.sessions() {
		r.close(s)
	}
	r.helpers.Wait()
	r.links.to.opener.sweep()
	r.links.end()
}

// help runs f, which uses the link, beside the loop.
func (r *run) help(l *link, f func()) {
	l.users++
	r.helpers.Go(func() {
		f()
		r.post(func() {
			l.users--
			r.links.release(r.current)
		})
	})
}

// sessions returns those that are open.
func (r *run) sessions() []*session {
	var open []*session
	for _, s := range []*session{r.current, r.next} {
		if s != nil {
			open = append(open, s)
		}
	}
	return open
}

func (r *run) owns(s *session) bool { return s == r.current || s == r.next }

// post has the loop run f; false says that the run has ended instead.
func (r *run) post(f func()) bool {
	select {
	case r.results <- f:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// close closes a session that isn't owned any more.
func (r *run) close(s *session) {
	r.help(s.link, func() { s.link.opener.close(s) })
}

// statusChanged acts on a connection's changes at once. Their order alone counts: asking the connection for its status
// would have to wait while it dials.
func (r *run) statusChanged(l *link, s nats.Status) {
	if s == nats.CLOSED && l == r.links.to {
		r.closed = true
	}
	switch {
	case l != r.reading():
		r.nextChanged(l, s)
	case s == nats.CONNECTED:
		if r.current == nil || r.current.reconnects != l.nc.Stats().Reconnects {
			r.fail(CauseReconnect, ErrConnectionLost)
			r.backoff.Reset()
			r.open()
		}
	case s == nats.DISCONNECTED, s == nats.RECONNECTING:
		r.fail(CauseReconnect, ErrConnectionLost)
	case s == nats.CLOSED:
		r.fail(CauseError, nats.ErrConnectionClosed)
	}
}

// nextChanged acts on a change of a connection on which the bucket is only listed so far.
func (r *run) nextChanged(l *link, s nats.Status) {
	if s != nats.CONNECTED && r.next != nil && r.next.link == l {
		r.broken(r.next, CauseReconnect, ErrConnectionLost)
	}
}

// reading returns the link by which the bucket is followed, or is going to be.
func (r *run) reading() *link {
	if r.current != nil {
		return r.current.link
	}
	return r.links.to
}

// tick looks at everything that depends on time.
func (r *run) tick(now time.Time) {
	r.checkSessions(now)
	if r.current == nil {
		if r.attempt == nil && !now.Before(r.openAt) {
			r.open()
		}
		return
	}
	if r.current.live() {
		r.tickLive(now)
	}
}

// tickLive does what is due while the bucket is followed.
func (r *run) tickLive(now time.Time) {
	r.heedWriter()
	if r.next == nil && r.attempt == nil && !now.Before(r.relistAt) {
		r.open()
	}
	if !r.info.underway && r.next == nil && !now.Before(r.info.at) {
		r.requestInfo()
	}
	if r.absent.due(now) {
		r.confirm()
	}
}

// checkSessions gives up sessions that have fallen silent or are stuck.
func (r *run) checkSessions(now time.Time) {
	for _, s := range r.sessions() {
		switch {
		case !r.owns(s):
		case s.reconnects != s.link.nc.Stats().Reconnects:
			r.broken(s, CauseReconnect, ErrConnectionLost)
		case s.in.silence(now) > r.patience(s, now):
			if s.boundary.stage != complete {
				r.hiccups++
			}
			r.broken(s, CauseMissedHeartbeat, ErrNoHeartbeat)
		case s.boundary.stage != complete && now.Sub(s.progress) > stallTimeout:
			r.broken(s, CauseError, ErrStalled)
		}
	}
}

// silence is for how long nothing arrives at most from a consumer that is alive.
func (r *run) silence() time.Duration { return r.o.IdleHeartbeat * silentHeartbeats / 10 }

// patience is for how long a session may be silent. A listing that is given up for its silence begins again, so on a link
// that hiccups it would never end: it may be silent for longer than a session that is live, and the one after it for twice
// as long. And while a listing goes on, the session that is live has to share the link with it.
func (r *run) patience(s *session, now time.Time) time.Duration {
	least := r.silence()
	switch {
	case s.boundary.stage != complete:
		return min(least<<min(1+r.hiccups, maxHiccups), stallTimeout)
	case r.next != nil && r.next.in.silence(now) <= least:
		return stallTimeout
	default:
		return least
	}
}

// broken gives up a session. Without the one that relists, the other goes on; without the current one, there is a gap.
func (r *run) broken(s *session, cause Cause, err error) {
	switch s {
	case r.current:
		r.fail(cause, err)
	case r.next:
		r.o.Logger.Debug("periodic relist failed", "bucket", r.o.Bucket, "error", err)
		r.next = nil
		r.close(s)
		r.relistAt = time.Now().Add(r.backoff.Next())
	}
}

// fail gives up everything: from here on messages may be missed until the next listing.
func (r *run) fail(cause Cause, err error) {
	if r.attempt != nil {
		r.attempt()
		r.attempt = nil
	}
	had := r.current != nil
	open := r.sessions()
	r.current, r.next = nil, nil
	r.info.forget()
	r.absent.missing = nil
	for _, s := range open {
		r.close(s)
	}
	if had || r.cause != CauseStart {
		r.cause = cause
	}
	if had && cause.quiet() {
		r.announce()
	} else {
		r.tellDown(err)
	}
	// After a good time the first attempt is made at once.
	r.openAt = time.Now()
	if !r.settled {
		r.openAt = r.openAt.Add(r.rest(err))
	}
	r.settled = false
	r.links.release(nil)
}

func (r *run) announce() {
	r.announced, r.down = true, nil
	r.o.Logger.Debug("listing", "bucket", r.o.Bucket, "cause", r.cause)
	r.sink.Listing(r.cause)
}

func (r *run) tellDown(err error) {
	r.announced = false
	if r.down != nil && sameReason(r.down, err) {
		return
	}
	r.down = err
	r.o.Logger.Warn("bucket can't be read", "bucket", r.o.Bucket, "error", err)
	r.sink.Disconnected(err)
}

// downReasons are the errors of Disconnected that callers tell apart.
var downReasons = []error{
	nats.ErrConnectionClosed, ErrConnectionLost, ErrBucketNotFound, ErrNoHeartbeat, ErrNoAnswer, ErrUnavailable, ErrStalled,
}

// sameReason reports whether a and b are the same for whoever tells errors apart by errors.Is; errors that aren't among
// downReasons are by what they say.
func sameReason(a, b error) bool {
	for _, reason := range downReasons {
		if is := errors.Is(a, reason); is || errors.Is(b, reason) {
			return is && errors.Is(b, reason)
		}
	}
	return a.Error() == b.Error()
}
