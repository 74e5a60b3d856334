package natsconn

import (
	"context"

	"github.com/go-logr/logr"
	"github.com/nats-io/nats.go"
)

// maxEvents is how many events may wait for the loop.
const maxEvents = 64

// Link is the way to the servers for all NodeRegistries with the same connection. It reads the Secrets, connects, and looks
// after changes of the Secrets: then it makes another connection and lets the members go over to it, and only then gives
// up the old one. So a wrong Secret does not break what works.
type Link struct {
	key    string
	log    logr.Logger
	view   *view
	events chan event
	inbox  string
	over   chan struct{} // closed once the loop has ended
	cancel context.CancelFunc
}

// eventKind is what has happened.
type eventKind int

const (
	attempted eventKind = iota
	disconnected
	reconnectFailed
	reconnected
	closed
	denied
	silent
	pinged
)

// event is what the loop hears. Which fields are set depends on its kind.
type event struct {
	kind   eventKind
	conn   *Conn
	err    error
	denial Denial
	result result
	// gone is true if a ping was not answered.
	gone bool
}

// State returns the state.
func (l *Link) State() State { return l.view.get() }

// Acquire waits for a connection, which the caller has to release, at the latest when it is replaced. The error is that of
// ctx.
func (l *Link) Acquire(ctx context.Context) (*Conn, error) {
	for ctx.Err() == nil {
		c, arrived := l.view.take()
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

// CheckLiveness looks whether the peer of a connection that is up is still there, and makes the connection again if it is not. The
// client's own pings take several times as long. It does not block.
func (l *Link) CheckLiveness(c *Conn) { l.offer(event{kind: silent, conn: c}) }

// post hands an event to the loop. It returns once the loop has it or has ended.
func (l *Link) post(e event) {
	select {
	case l.events <- e:
	case <-l.over:
	}
}

// offer is post for an event that recurs if it matters: it is dropped while there are too many.
func (l *Link) offer(e event) {
	select {
	case l.events <- e:
	default:
	}
}

// heard handles what the server reports beside the requests. A flood of that must not fill the client's queue of callbacks.
func (l *Link) heard(c *Conn, err error) {
	if d, denies := denialOf(err, l.inbox); denies {
		l.offer(event{kind: denied, conn: c, denial: d})
		return
	}
	if refusal(err) != nil {
		l.post(event{kind: reconnectFailed, conn: c, err: err})
		return
	}
	l.log.V(1).Info("nats reports an error", "error", Plain(err))
}

// handlers have the client post what happens to a Conn.
func (l *Link) handlers(c *Conn) []nats.Option {
	say := func(kind eventKind, err error) { l.post(event{kind: kind, conn: c, err: err}) }
	return []nats.Option{
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { say(disconnected, err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { say(reconnectFailed, err) }),
		nats.ReconnectHandler(func(*nats.Conn) { say(reconnected, nil) }),
		nats.ClosedHandler(func(*nats.Conn) { say(closed, nats.ErrConnectionClosed) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { l.heard(c, err) }),
	}
}
