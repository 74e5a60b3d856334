package natsconn

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// pongTimeout is how long a peer that seems to be silent may take to answer a ping.
const pongTimeout = time.Second

// ping has a helper look whether the peer is there, if none does already.
func (lp *loop) ping(ctx context.Context) {
	if lp.pinging || !lp.state.Connected {
		return
	}
	lp.pinging = true
	c := lp.conn
	go func() { lp.link.post(event{kind: pinged, conn: c, gone: c.gone(ctx)}) }()
}

// pinged takes in whether the peer is gone.
func (lp *loop) pinged(c *Conn, gone bool) {
	lp.pinging = false
	if gone && c == lp.conn {
		lp.reconnect("the peer is gone")
	}
}

// gone reports whether the peer answers no ping, and sends nothing else either: a peer that vanished without a word leaves a
// connection that looks as if it were up. On a slow link the answer may have to wait behind what else is on its way.
func (c *Conn) gone(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, pongTimeout)
	defer cancel()
	before := c.nats.Stats().InBytes
	err := c.nats.FlushWithContext(ctx)
	silent := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)
	return silent && c.nats.Stats().InBytes == before
}

const (
	// surveySoon is when to look at the listed servers after the client has gone to another one.
	surveySoon = 4 * time.Second
	// surveyAgain is when to look again at listed servers that are missing. Only the second time is told: one that restarts
	// is there again.
	surveyAgain = 10 * time.Second
)

// survey is what is known of the servers that the NodeRegistry lists, while the connection is up.
type survey struct {
	at      time.Time // when to look again; zero: when the Secrets are read
	missed  int
	missing error
}

func (s *survey) due(now time.Time) bool { return !s.at.IsZero() && !now.Before(s.at) }

// found takes in why none of them can be reached; nil: one can.
func (s *survey) found(missing error, now time.Time) {
	if missing == nil {
		*s = survey{}
		return
	}
	s.missed++
	s.missing, s.at = missing, now.Add(spread(surveyAgain))
}

// trouble says that the connection stands, but would not be found again.
func (s *survey) trouble() Trouble {
	if s.missed < 2 {
		return Trouble{}
	}
	t := Classify(s.missing, false, false)
	t.Message = Because("the server in use was advertised by another, and none of those that spec.connection.servers lists is there: list servers that exist", s.missing)
	return t
}
