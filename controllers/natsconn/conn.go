package natsconn

import (
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rollcall-dev/rollcall/discovery"
)

// Conn is one connection with one identity. It comes back by itself after an outage; another identity takes another conn.
type Conn struct {
	nats   *nats.Conn
	digest [sha256.Size]byte
	// expires is when the server ends the connection; zero: it does not.
	expires time.Time
	// replaced ends when the sessions are to go over to another conn; users are those that have not.
	replaced context.Context
	replace  context.CancelFunc
	users    sync.WaitGroup
	// refused says that the last login was refused, doubted that somebody is looking whether the peer is there.
	refused, doubted atomic.Bool

	// up, err and deaf belong to the link's lock. err is why the connection is down, deaf since when the server has been
	// refusing a subscription.
	up   bool
	err  error
	deaf time.Time
}

// dial makes a connection, or says why that can't be done. What happens to it later goes to the link.
func dial(l *Link, servers []string, m *material) (*Conn, error) {
	c := &Conn{digest: m.digest, expires: m.expires, up: true}
	options := append(discovery.ConnectOptions(),
		nats.Name("rollcall"),
		// The first attempt is to tell what is wrong. There are others, each with what the Secrets hold by then.
		nats.RetryOnFailedConnect(false),
		nats.CustomReconnectDelay(c.delay),
		nats.ReconnectHandler(func(*nats.Conn) { l.regained(c) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { l.lost(c, err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { l.lost(c, err) }),
		nats.ClosedHandler(func(*nats.Conn) { l.lost(c, nats.ErrConnectionClosed) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { l.heard(c, err) }),
		m.auth,
	)
	if m.tls != nil {
		options = append(options, nats.Secure(m.tls))
	}
	if prefix := l.source.connection.InboxPrefix; prefix != "" {
		options = append(options, nats.CustomInboxPrefix(prefix))
	}
	var err error
	if c.nats, err = nats.Connect(strings.Join(servers, ","), options...); err != nil {
		return nil, err
	}
	c.replaced, c.replace = context.WithCancel(context.Background())
	return c, nil
}

// NATS returns the connection.
func (c *Conn) NATS() *nats.Conn { return c.nats }

// Replaced is done when its users have to go over to another Conn.
func (c *Conn) Replaced() context.Context { return c.replaced }

// Release ends what Acquire began.
func (c *Conn) Release() { c.users.Done() }

// shortestPoll is the shortest time between two looks at a Secret whose login is about to expire.
const shortestPoll = time.Second

// poll returns when to look at the Secrets of a connection that stands: as usual, or after half of the time that its login
// has left, so that another one is found in time however late it is renewed.
func (c *Conn) poll(usual time.Duration, now time.Time) time.Duration {
	left := c.expires.Sub(now)
	switch {
	case c.expires.IsZero():
		return usual
	case left <= 0:
		return min(usual, downInterval) // The server's clock is behind.
	default:
		return min(usual, max(shortestPoll, left/2))
	}
}

// pongTimeout is how long a peer that seems to be silent may take to answer a ping.
const pongTimeout = time.Second

// gone reports whether the peer answers no ping, and sends nothing else either: a peer that vanished without a word leaves a
// connection that looks as if it were up. On a slow link the answer may have to wait behind what else is on its way.
func (c *Conn) gone() bool {
	before := c.nats.Stats().InBytes
	return errors.Is(c.nats.FlushTimeout(pongTimeout), nats.ErrTimeout) && c.nats.Stats().InBytes == before
}

// retire closes the connection once all sessions have left it.
func (c *Conn) retire() {
	c.replace()
	go func() {
		c.users.Wait()
		c.nats.Close()
	}()
}

const (
	firstRetry = 250 * time.Millisecond
	// slowRetry is the longest wait before a login is tried again that was refused, or whose Secret is at fault: somebody
	// has to correct something first.
	slowRetry = 5 * time.Second
)

// delay returns how long to wait before the next attempt to reconnect: soon, unless the login is refused.
func (c *Conn) delay(attempts int) time.Duration {
	if c.refused.Load() {
		return backoff(attempts, slowRetry)
	}
	return soon()
}

// soon returns the wait before the next attempt to reach a server that does not answer.
func soon() time.Duration {
	return firstRetry + rand.N(firstRetry) //nolint:gosec // A jitter is no secret.
}

// backoff returns the wait after so many attempts in vain, cut by up to a half at random.
func backoff(attempts int, most time.Duration) time.Duration {
	d := most
	if attempts < 8 {
		d = min(firstRetry<<attempts, most)
	}
	return d - rand.N(d/2+1) //nolint:gosec // A jitter is no secret.
}

var refusals = []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired, nats.ErrNkeysNotSupported}

// refusal returns why the server refuses the login; nil: the error means something else. The same refusal reaches the
// client in several ways, of which some match by their text alone, so it is told in one way.
func refusal(err error) error {
	if err == nil {
		return nil
	}
	text := strings.ToLower(err.Error())
	for _, known := range refusals {
		if errors.Is(err, known) || strings.Contains(text, strings.TrimPrefix(known.Error(), "nats: ")) {
			return known
		}
	}
	return nil
}

// refusesTLS reports whether the error means that the two sides could not agree on how to secure the connection.
func refusesTLS(err error) bool {
	return errors.Is(err, nats.ErrTLS) || errors.Is(err, nats.ErrSecureConnWanted) || errors.Is(err, nats.ErrSecureConnRequired) ||
		(err != nil && strings.Contains(err.Error(), "tls: "))
}
