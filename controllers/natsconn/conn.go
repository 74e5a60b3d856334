package natsconn

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/discovery/dial"
)

// Conn is one connection with one identity. It comes back by itself after an outage; another identity takes another Conn.
type Conn struct {
	nats   *nats.Conn
	dialer *dial.Dialer
	digest [sha256.Size]byte
	// expires is when the server ends the connection; zero: it does not.
	expires time.Time
	// replaced ends when the users are to go over to another Conn.
	replaced context.Context
	replace  context.CancelFunc

	mu    sync.Mutex
	users int
}

// NATS returns the connection.
func (c *Conn) NATS() *nats.Conn { return c.nats }

// Replaced is done when the users have to go over to another Conn.
func (c *Conn) Replaced() context.Context { return c.replaced }

// Release ends what Acquire began.
func (c *Conn) Release() { c.leave(1) }

func (c *Conn) use() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users++
}

// retire closes the connection once all users have left it. Nobody may acquire it any more.
func (c *Conn) retire() {
	c.replace()
	c.leave(0)
}

// leave takes away users, and closes the connection after the last if it is retired.
func (c *Conn) leave(users int) {
	c.mu.Lock()
	c.users -= users
	last := c.users == 0 && c.replaced.Err() != nil
	c.mu.Unlock()
	if last {
		// What waits to be sent may take a while, and nobody waits for that.
		go c.nats.Close()
	}
}

// connect makes a connection in the place of another, which may be nil, or says why that can't be done. What happens to it
// later is posted to the Link.
func (c *connector) connect(current *Conn, m *credentials) (*Conn, error) {
	spec := c.spec()
	var before *dial.Dialer
	if current != nil {
		before = current.dialer
	}
	d, err := dial.New(dial.Options{
		Servers: spec.Servers, Before: before, IgnoreDiscovered: spec.DiscoveredServers == rollcallv1alpha1.DiscoveredIgnore,
		TLS: m.tls, TLSHandshakeFirst: spec.TLS != nil && spec.TLS.HandshakeFirst,
		Policy: c.o.Policy, Resolver: c.o.Resolver,
	})
	if err != nil {
		return nil, fault(rollcallv1alpha1.ReasonServersInvalid, "correct spec.connection.servers: %s", Plain(err))
	}
	next := &Conn{dialer: d, digest: m.digest, expires: m.expires}
	if next.nats, err = c.dial(next, m.auth); err != nil {
		return nil, causeOf(err, d)
	}
	next.replaced, next.replace = context.WithCancel(context.Background())
	return next, nil
}

func (c *connector) dial(next *Conn, auth nats.Option) (*nats.Conn, error) {
	servers, options := next.dialer.NATS()
	options = append(discovery.ConnectOptions(), options...)
	options = append(options, c.link.handlers(next)...)
	options = append(options,
		nats.Name("rollcall"),
		// The first attempt is to tell what is wrong. There are others, each with what the Secrets hold by then.
		nats.RetryOnFailedConnect(false),
		nats.CustomReconnectDelay(func(int) time.Duration { return soon() }),
		auth,
	)
	if prefix := c.spec().InboxPrefix; prefix != "" {
		options = append(options, nats.CustomInboxPrefix(prefix))
	}
	return nats.Connect(servers, options...)
}

// causeOf returns why a connection could not be made: what the server answered, else what the dialer met.
func causeOf(err error, d *dial.Dialer) error {
	if refusal(err) != nil || Limit(err) {
		return err
	}
	if met := d.Err(); met != nil {
		return met
	}
	return err
}
