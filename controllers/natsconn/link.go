package natsconn

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

const (
	// pollInterval is how often the Secrets of a connection that stands are read, to see whether they have changed.
	pollInterval = time.Minute
	// downInterval is the same for a connection that is down.
	downInterval = 5 * time.Second
	// readTimeout bounds one look at the Secrets.
	readTimeout = 10 * time.Second
	// deafInterval is how long a subscription stays refused before it is tried again, for which the connection has to be
	// made again: the client subscribes to the answers to its requests once.
	deafInterval = 10 * time.Second
)

// Member is what uses a link. Its methods must not block.
type Member interface {
	// Bucket returns the name of its bucket.
	Bucket() string
	// ConnectionChanged says that the state of the link is another one.
	ConnectionChanged()
	// Deny says what the server denies the user.
	Deny(d Denial)
}

// Link is the way to the servers for all registries with the same connection. It reads the Secrets, connects, and looks
// after changes of the Secrets: then it makes another connection and lets the members go over to it, and only then gives
// up the old one. So a wrong Secret does not break what works.
type Link struct {
	key    string
	source source
	clock  clock.Clock
	log    logr.Logger
	poll   time.Duration
	wake   chan struct{}
	cancel context.CancelFunc

	// unanswered is what the Secrets held at readAt, if all that was wrong since is that no server answered. Both belong to
	// the goroutine of run.
	unanswered *material
	readAt     time.Time

	mu      sync.Mutex
	members map[Member]struct{}
	current *Conn
	arrived chan struct{} // closed when there is another current
	ever    bool
	since   time.Time
	problem error
}

// State is what a link has to say for the status of a NodeRegistry.
type State struct {
	// Connected says that the connection is up, Ever that it has been, Since when that last changed.
	Connected, Ever bool
	Since           time.Time
	// Err is why there is no connection. Of one that is up, it is why that could not be made again as it is now.
	Err error
}

// equal reports whether a reader would see no difference. Errors are compared by what they say.
func (s State) equal(other State) bool {
	text := Plain(s.Err) == Plain(other.Err)
	s.Err, other.Err = nil, nil
	return text && s == other
}

func newLink(key string, s source, c clock.Clock, log logr.Logger, poll time.Duration) *Link {
	return &Link{
		key: key, source: s, clock: c, log: log, poll: poll, wake: make(chan struct{}, 1),
		members: map[Member]struct{}{}, arrived: make(chan struct{}), since: c.Now(),
	}
}

func (l *Link) start() {
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(context.Background())
	go l.run(ctx)
}

// enter makes m hear of the link.
func (l *Link) enter(m Member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.members[m] = struct{}{}
}

// quit ends what enter began, and returns how many members are left.
func (l *Link) quit(m Member) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.members, m)
	return len(l.members)
}

// run keeps the connection until ctx ends.
func (l *Link) run(ctx context.Context) {
	attempts := 0
	for ctx.Err() == nil {
		err := l.refresh(ctx)
		if ctx.Err() != nil {
			break
		}
		l.report(err)
		rest := l.rest()
		switch {
		case err == nil:
			attempts = 0
		case NeedsUserAction(err):
			rest = min(rest, backoff(attempts, slowRetry))
			attempts++
		default:
			// As soon as a connection tries that was up before: whoever starts without a server is not to find it later.
			rest = min(rest, soon())
		}
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-l.clock.After(rest):
		}
	}
	l.swap(nil)
}

// refresh reads the Secrets, and makes a connection if there is none with what they hold.
func (l *Link) refresh(ctx context.Context) error {
	c := l.usable()
	m, err := l.material(ctx)
	if err != nil {
		if c != nil && err.away {
			// That the API server is away says nothing about the Secrets.
			l.log.V(1).Info("secrets not read", "error", err.Error())
			return nil
		}
		return err
	}
	if c != nil && c.digest == m.digest {
		l.inspect(c)
		return nil
	}
	return l.renew(ctx, c, m)
}

// material returns what the Secrets hold. While no server answers there are many attempts: the API server is not asked for
// each.
func (l *Link) material(ctx context.Context) (*material, *SecretError) {
	if l.unanswered != nil && l.clock.Since(l.readAt) < downInterval {
		return l.unanswered, nil
	}
	l.unanswered, l.readAt = nil, l.clock.Now()
	return l.read(ctx)
}

func (l *Link) read(ctx context.Context) (*material, *SecretError) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	m, err := l.source.read(ctx)
	var wrong *SecretError
	if err != nil && !errors.As(err, &wrong) {
		wrong = &SecretError{Reason: rollcallv1alpha1.ReasonSecretUnreadable, Message: Plain(err), away: true}
	}
	return m, wrong
}

// renew makes another connection and puts it in the place of c, which may be nil.
func (l *Link) renew(ctx context.Context, c *Conn, m *material) error {
	l.unanswered = nil
	next, err := dial(l, l.servers(c), m)
	if err != nil {
		if !NeedsUserAction(err) {
			l.unanswered = m
		}
		return err
	}
	if ctx.Err() != nil {
		next.retire()
		return ctx.Err()
	}
	l.swap(next)
	if c == nil {
		l.log.Info("connected to nats", "address", next.nats.ConnectedAddr())
	} else {
		l.log.V(1).Info("connection replaced", "address", next.nats.ConnectedAddr())
	}
	return nil
}

// servers returns where to connect to. A server that is known from the connection before may be the only one that lives.
func (l *Link) servers(c *Conn) []string {
	servers := l.source.connection.Servers
	if c == nil {
		return servers
	}
	return append(slices.Clip(servers), c.nats.DiscoveredServers()...)
}

// usable returns the current connection, nil if there is none, or one that will not come back.
func (l *Link) usable() *Conn {
	l.mu.Lock()
	c := l.current
	l.mu.Unlock()
	if c != nil && c.nats.IsClosed() {
		l.swap(nil)
		return nil
	}
	return c
}

// inspect looks at what the connection doesn't tell by itself: why it can't be made again if the server does answer, and
// that a subscription needs it to be made again.
func (l *Link) inspect(c *Conn) {
	l.mu.Lock()
	up, deaf := c.up, !c.deaf.IsZero() && l.clock.Since(c.deaf) >= deafInterval
	l.mu.Unlock()
	if err := c.nats.LastError(); !up && err != nil {
		l.update(func() { c.err = err })
	}
	if deaf {
		l.update(func() { c.deaf = time.Time{} })
		if err := c.nats.ForceReconnect(); err != nil {
			l.log.V(1).Info("not connected again", "error", Plain(err))
		}
	}
}

// rest returns how long to wait before the next look, if nothing happens.
func (l *Link) rest() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch c := l.current; {
	case c == nil || !c.up:
		return downInterval
	case !c.deaf.IsZero():
		return min(l.poll, deafInterval-min(deafInterval, l.clock.Since(c.deaf)))
	default:
		return c.poll(l.poll, l.clock.Now())
	}
}

// swap lets the members go over to another connection, or wait for one.
func (l *Link) swap(next *Conn) {
	var old *Conn
	l.update(func() {
		old, l.current = l.current, next
		close(l.arrived)
		l.arrived = make(chan struct{})
	})
	if old != nil {
		old.retire()
	}
}

// Acquire waits for a connection. The caller has to leave it with conn.users.Done, at the latest when it is replaced. The
// error is that of ctx.
func (l *Link) Acquire(ctx context.Context) (*Conn, error) {
	for ctx.Err() == nil {
		l.mu.Lock()
		c, arrived := l.current, l.arrived
		if c != nil {
			c.users.Add(1)
		}
		l.mu.Unlock()
		if c != nil {
			return c, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
		}
	}
	return nil, ctx.Err()
}

// report notes why there is no connection with what the Secrets hold now; nil if there is one.
func (l *Link) report(err error) {
	if err != nil {
		l.log.V(1).Info("not connected", "error", Plain(err))
	}
	l.update(func() { l.problem = err })
}

// lost notes that the connection is down, or still is; nil does not say why.
func (l *Link) lost(c *Conn, err error) {
	refused := refusal(err) != nil
	c.refused.Store(refused)
	was := false
	l.update(func() {
		was, c.up = c.up, false
		if err != nil {
			c.err = err
		}
	})
	if was || refused {
		l.prod()
	}
}

func (l *Link) regained(c *Conn) {
	c.refused.Store(false)
	l.update(func() { c.up, c.err = true, nil })
}

// CheckLiveness looks whether the peer of a connection that is up is still there, and makes the connection anew if it is not. The
// client's own pings take several times as long. It does not block.
func (l *Link) CheckLiveness(c *Conn) {
	if !c.doubted.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer c.doubted.Store(false)
		if !c.gone() {
			return
		}
		l.log.Info("the peer of the connection is gone, connecting again", "address", c.nats.ConnectedAddr())
		if err := c.nats.ForceReconnect(); err != nil {
			l.log.V(1).Info("not connected again", "error", Plain(err))
		}
	}()
}

// heard takes in what the server reports beside the requests.
func (l *Link) heard(c *Conn, err error) {
	if refusal(err) != nil {
		l.lost(c, err)
		return
	}
	d, denied := denialOf(err, l.inboxPrefix())
	if !denied {
		l.log.V(1).Info("nats reports an error", "error", Plain(err))
		return
	}
	l.log.V(1).Info("nats denies a permission", "denied", d.String())
	if d.Subscribe {
		l.update(func() {
			if c.deaf.IsZero() {
				c.deaf = l.clock.Now()
			}
		})
		l.prod()
	}
	for _, m := range l.concerned(d) {
		m.Deny(d)
	}
}

func (l *Link) inboxPrefix() string {
	if prefix := l.source.connection.InboxPrefix; prefix != "" {
		return prefix
	}
	return "_INBOX"
}

// concerned returns the members whose bucket the denied subject names, all of them if it names none of theirs.
func (l *Link) concerned(d Denial) []Member {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all, named []Member
	for m := range l.members {
		all = append(all, m)
		if m.Bucket() == d.Bucket {
			named = append(named, m)
		}
	}
	if len(named) > 0 {
		return named
	}
	return all
}

// update changes the state and tells the members if they would read another one.
func (l *Link) update(f func()) {
	l.mu.Lock()
	before := l.state()
	f()
	if up := l.current != nil && l.current.up; up != before.Connected {
		l.since, l.ever = l.clock.Now(), true
	}
	var tell []Member
	if !l.state().equal(before) {
		for m := range l.members {
			tell = append(tell, m)
		}
	}
	l.mu.Unlock()
	for _, m := range tell {
		m.ConnectionChanged()
	}
}

// State returns the state.
func (l *Link) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state()
}

func (l *Link) state() State {
	s := State{Connected: l.current != nil && l.current.up, Ever: l.ever, Since: l.since, Err: l.problem}
	if s.Err == nil && l.current != nil && !s.Connected {
		s.Err = l.current.err
	}
	return s
}

// prod makes the link look at its Secrets now.
func (l *Link) prod() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}
