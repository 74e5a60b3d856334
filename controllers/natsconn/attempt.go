package natsconn

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

const (
	// readTimeout bounds one look at the Secrets.
	readTimeout = 10 * time.Second
	// surveyTimeout bounds one look at the servers that are listed.
	surveyTimeout = 10 * time.Second
)

// outcome is what became of an attempt.
type outcome int

const (
	// made: there is another Conn.
	made outcome = iota
	// unchanged: the Conn that is there is what the Secrets ask for.
	unchanged
	// waiting: what the Secrets hold was refused, and it is not time to try it again.
	waiting
	// unread: the API server did not answer, so nobody knows what the Secrets hold.
	unread
	// failed: there is no Conn with what the Secrets hold.
	failed
)

// order is what an attempt is for.
type order struct {
	// current is the Conn that is there, and inHand what is to be tried without reading the Secrets; nil: none.
	current *Conn
	inHand  *credentials
	// surveyOnly is true if the Secrets are not to be read.
	surveyOnly bool
	// skip is what is not to be tried, if skips is true.
	skips bool
	skip  [sha256.Size]byte
}

// result is what an attempt has found.
type result struct {
	outcome     outcome
	conn        *Conn
	credentials *credentials
	err         error
	// missing is why none of the servers that the NodeRegistry lists can be reached; nil: one can, or nobody looked.
	missing  error
	surveyed bool
}

// connector makes the connections of a Link.
type connector struct {
	link   *Link
	o      *Options
	source source
}

func (c *connector) spec() *rollcallv1alpha1.Connection { return &c.source.connection }

// gives reports whether the connection gives a login, of whatever kind.
func (c *connector) gives() bool {
	spec := c.spec()
	return authenticates(spec) || spec.TLS != nil && spec.TLS.ClientCertificate != nil
}

// attempt reads the Secrets, and makes a connection if there is none with what they hold.
func (c *connector) attempt(ctx context.Context, o order) result {
	if o.surveyOnly {
		return surveyServers(ctx, o.current)
	}
	m := o.inHand
	if m == nil {
		var err error
		if m, err = c.read(ctx); err != nil {
			return result{outcome: unreadOr(err), err: err}
		}
	}
	switch {
	case o.current != nil && o.current.digest == m.digest:
		r := surveyServers(ctx, o.current)
		r.credentials = m
		return r
	case o.skips && o.skip == m.digest:
		return result{outcome: waiting}
	}
	conn, err := c.connect(o.current, m)
	if err != nil {
		return result{outcome: failed, credentials: m, err: err}
	}
	return result{outcome: made, credentials: m, conn: conn}
}

func unreadOr(err error) outcome {
	if wrong, ok := errors.AsType[*SpecError](err); ok && wrong.away {
		return unread
	}
	return failed
}

// read returns what the Secrets hold; the error is a *SpecError.
func (c *connector) read(ctx context.Context) (*credentials, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	m, err := c.source.read(ctx)
	if _, known := errors.AsType[*SpecError](err); err != nil && !known {
		err = &SpecError{Reason: rollcallv1alpha1.ReasonSecretUnreadable, Message: Plain(err), away: true}
	}
	return m, err
}

// surveyServers looks whether the servers that the NodeRegistry lists are there. The client may have gone on to others, which a
// restart of the manager would not find.
func surveyServers(ctx context.Context, current *Conn) result {
	ctx, cancel := context.WithTimeout(ctx, surveyTimeout)
	defer cancel()
	return result{outcome: unchanged, surveyed: true, missing: current.dialer.Reach(ctx)}
}
