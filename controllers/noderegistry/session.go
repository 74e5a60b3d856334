package noderegistry

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/nats-io/nats.go"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"

	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/natsconn"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// bucketTimeout bounds one attempt to get or create a bucket.
const bucketTimeout = 5 * time.Second

// session is the story of one registry's way to its bucket: connect, find or create the bucket, watch it into the Mirror,
// and begin again when the bucket is gone. It ends when it is stopped, never by itself.
type session struct {
	name   types.NamespacedName
	plan   plan
	pool   *natsconn.Pool
	link   *natsconn.Link
	mirror *mirror.Mirror
	// follower is nil if there is none.
	follower Follower
	clock    clock.Clock
	log      logr.Logger
	// changed is called when state changes. It must not block.
	changed func()

	cancel context.CancelFunc
	done   sync.WaitGroup

	mu    sync.Mutex
	state sessionState
}

// sessionState is what a session has to say for the status of its NodeRegistry.
type sessionState struct {
	link natsconn.State
	// bucketErr is why there is no bucket.
	bucketErr error
	denials   denials
}

func (s *session) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.link = s.pool.Join(s.name.Namespace, s.plan.connection, s)
	s.done.Go(func() { s.run(ctx) })
	s.done.Go(func() { s.mirror.Read(ctx) })
}

// stop ends the session and waits for it: afterwards nothing of it is left, and the Mirror keeps what it knows.
func (s *session) stop() {
	s.cancel()
	s.done.Wait()
	s.pool.Leave(s.link, s)
}

// run serves one connection after the other. A planned change, to another Secret, is made without an end: see follow.
func (s *session) run(ctx context.Context) {
	defer s.mirror.Disconnected(nil) // That a session ends is no error of its bucket.
	for {
		c, err := s.link.Acquire(ctx)
		if err != nil {
			return
		}
		u := &use{conn: c}
		s.serve(ctx, u)
		u.end()
		// Nothing is seen until the next listing, so no deadline may pass.
		s.mirror.Disconnected(kv.ErrConnectionLost)
	}
}

// serve finds or creates the bucket and watches it, until the session is stopped, or the connection replaced while there is
// nothing to watch.
func (s *session) serve(ctx context.Context, u *use) {
	rests := newBackoffs()
	for ctx.Err() == nil && u.get().Replaced().Err() == nil {
		if !s.prepare(ctx, u.get(), &rests) {
			continue
		}
		rests = newBackoffs()
		s.watch(ctx, u)
	}
}

// prepare finds or creates the bucket; if that fails it rests, until the connection is replaced at the latest.
func (s *session) prepare(ctx context.Context, c *natsconn.Conn, rests *backoffs) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	unhook := context.AfterFunc(c.Replaced(), cancel)
	defer unhook()
	began := s.clock.Now()
	err := s.ensureBucket(ctx, c.NATS())
	if err != nil {
		s.pause(ctx, c.NATS(), s.rest(began, rests))
	}
	return err == nil
}

// rest returns how long to wait after an attempt in vain: up to a minute where the server refused it for want of a permission,
// since it logs each.
func (s *session) rest(began time.Time, rests *backoffs) time.Duration {
	s.mu.Lock()
	refused := s.state.denials.since(began)
	s.mu.Unlock()
	if refused {
		return rests.denied.Step()
	}
	return rests.other.Step()
}

// backoffs space out the attempts to find or create the bucket.
type backoffs struct{ other, denied wait.Backoff }

func newBackoffs() backoffs {
	b := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 6, Cap: 2 * time.Second}
	longer := b
	longer.Steps, longer.Cap = 10, 40*time.Second // With the jitter, a minute.
	return backoffs{other: b, denied: longer}
}

// Bucket implements natsconn.Member.
func (s *session) Bucket() string { return s.plan.bucket.Name }

// ConnectionChanged implements natsconn.Member.
func (s *session) ConnectionChanged() { s.changed() }

// Deny implements natsconn.Member.
func (s *session) Deny(d natsconn.Denial) {
	s.update(func(state *sessionState) { state.denials = state.denials.add(d, s.clock.Now()) })
}

func (s *session) ensureBucket(ctx context.Context, nc *nats.Conn) error {
	bounded, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()
	_, _, err := kv.EnsureBucket(bounded, nc, s.plan.bucket)
	s.note(ctx, err)
	return err
}

// note notes why there is no bucket; nil if there is one. What fails once ctx has ended says nothing about the bucket.
func (s *session) note(ctx context.Context, err error) {
	if err == nil || ctx.Err() == nil {
		s.update(func(state *sessionState) { state.bucketErr = err })
	}
}

// watch watches the bucket until the session is stopped or the bucket is gone. It goes over to every connection that replaces
// the one in use.
func (s *session) watch(ctx context.Context, u *use) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	nc := u.get().NATS()
	seer, writer, unfollow, err := s.follow(nc, &sink{Mirror: s.mirror, missing: cancel, silent: func() { s.link.CheckLiveness(u.get()) }})
	if err != nil {
		s.update(func(state *sessionState) { state.bucketErr = err })
		s.pause(ctx, nc, bucketTimeout)
		return
	}
	defer unfollow()
	watcher, err := kv.NewWatcher(nc, kv.WatcherOptions{
		Bucket:    s.plan.bucket.Name,
		KeyPrefix: s.plan.keyPrefix,
		Domain:    s.plan.bucket.Domain,
		APIPrefix: s.plan.bucket.APIPrefix,
		Known:     s.mirror.Keys(),
		Writer:    writer,
		Logger:    slog.New(logr.ToSlogHandler(s.log)),
	}, seer)
	if err != nil {
		s.update(func(state *sessionState) { state.bucketErr = err })
		<-ctx.Done()
		return
	}
	var moving sync.WaitGroup
	defer moving.Wait()
	defer cancel()
	moving.Go(func() { s.move(ctx, u, watcher, writer) })
	if err := watcher.Run(ctx); err != nil {
		s.note(ctx, err)
	}
}

// move goes over to each connection that replaces the one in use, until ctx ends. An old one is left once the bucket is
// followed on a newer one, so nothing is missed.
func (s *session) move(ctx context.Context, u *use, watcher *kv.Watcher, writer *kv.Writer) {
	var leaving sync.WaitGroup
	defer leaving.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-u.get().Replaced().Done():
		}
		next, err := s.link.Acquire(ctx)
		if err != nil {
			return
		}
		old, left := u.put(next), s.rebind(next.NATS(), watcher, writer)
		leaving.Go(func() {
			defer old.Release()
			for _, done := range left {
				select {
				case <-done:
				case <-ctx.Done():
					return
				}
			}
		})
	}
}

// rebind has the Watcher and the Writer, which may be nil, use another connection. Each of the channels is closed when one of
// them has left the old one.
func (s *session) rebind(nc *nats.Conn, watcher *kv.Watcher, writer *kv.Writer) []<-chan struct{} {
	left := []<-chan struct{}{watcher.Rebind(nc)}
	if writer != nil {
		if done, err := writer.Rebind(nc); err == nil {
			left = append(left, done)
		} else {
			s.log.V(1).Info("writes stay on the old connection", "error", natsconn.Plain(err))
		}
	}
	return left
}

// use is the connection that a session uses. It is safe for concurrent use.
type use struct {
	mu   sync.Mutex
	conn *natsconn.Conn
}

func (u *use) get() *natsconn.Conn {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.conn
}

// put puts another connection in the place of the one in use, which it returns; the caller has to leave that.
func (u *use) put(next *natsconn.Conn) *natsconn.Conn {
	u.mu.Lock()
	defer u.mu.Unlock()
	old := u.conn
	u.conn = next
	return old
}

// end leaves the connection.
func (u *use) end() { u.get().Release() }

// pause waits before the next attempt, or until the connection is up again.
func (s *session) pause(ctx context.Context, nc *nats.Conn, d time.Duration) {
	connected := nc.StatusChanged(nats.CONNECTED)
	defer nc.RemoveStatusListener(connected)
	select {
	case <-ctx.Done():
	case <-connected:
	case <-s.clock.After(d):
	}
}

func (s *session) update(f func(*sessionState)) {
	s.mu.Lock()
	f(&s.state)
	s.mu.Unlock()
	s.changed()
}

func (s *session) snapshot() sessionState {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.state
	state.link = s.link.State()
	return state
}

// sink hands everything on to the Mirror, and says what is not the Watcher's to mend: a bucket that is missing, since whether
// it may be created again is another's to know, and a server that is silent, since the connection is shared.
type sink struct {
	*mirror.Mirror
	missing, silent func()
}

// Disconnected implements kv.Sink.
func (s *sink) Disconnected(err error) {
	if errors.Is(err, context.Canceled) {
		err = nil // It was ended, which is no error of the bucket.
	}
	s.Mirror.Disconnected(err)
	switch {
	case errors.Is(err, kv.ErrBucketNotFound):
		s.missing()
	case errors.Is(err, kv.ErrNoHeartbeat), errors.Is(err, kv.ErrNoAnswer):
		s.silent()
	}
}
