package natsconn

import (
	"context"
	"errors"
	"time"

	"k8s.io/utils/clock"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// inspectInterval is how often a connection that is down is asked why.
const inspectInterval = time.Second

// loop keeps the connection of a Link. Nobody else sees its fields; doc.go has the table of what it does.
type loop struct {
	link      *Link
	connector *connector
	clock     clock.Clock

	conn *Conn // nil: there is none
	// state is what was shown last; state.Connected is true while conn is up.
	state State
	// trouble is why no connection can be made with what the Secrets hold now, cause why the one that is there is down.
	trouble, cause error
	tries          tries
	deaf           deaf
	survey         survey
	// pinging is true while a helper waits for the answer to a ping.
	pinging bool
}

// run keeps the connection until ctx ends.
func (lp *loop) run(ctx context.Context) {
	defer close(lp.link.over)
	for {
		lp.act(ctx)
		select {
		case <-ctx.Done():
			lp.end()
			return
		case e := <-lp.link.events:
			lp.handle(ctx, e)
		case <-lp.clock.After(lp.due().Sub(lp.clock.Now())):
		}
		lp.show()
	}
}

// due returns when there is something to do, if nothing happens before.
func (lp *loop) due() time.Time {
	at := lp.clock.Now().Add(healthyInterval)
	if !lp.tries.running {
		at = earliest(at, lp.tries.look)
		if lp.state.Connected && !lp.survey.at.IsZero() {
			at = earliest(at, lp.survey.at)
		}
	}
	if lp.conn != nil && !lp.state.Connected {
		at = earliest(at, lp.clock.Now().Add(inspectInterval))
	}
	if lp.state.Connected && !lp.deaf.reconnectAt.IsZero() {
		at = earliest(at, lp.deaf.reconnectAt)
	}
	return at
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// act does what is due.
func (lp *loop) act(ctx context.Context) {
	now := lp.clock.Now()
	if lp.state.Connected && lp.deaf.due(now) {
		lp.reconnect("the server denied a subscription")
	}
	if lp.conn != nil && !lp.state.Connected {
		lp.inspect()
	}
	if lp.tries.running {
		return
	}
	switch {
	case !now.Before(lp.tries.look):
		lp.begin(ctx, lp.order(now))
	case lp.state.Connected && lp.survey.due(now):
		lp.begin(ctx, order{current: lp.conn, surveyOnly: true})
	}
}

func (lp *loop) order(now time.Time) order {
	o := order{current: lp.conn, skip: lp.tries.refused, skips: now.Before(lp.tries.retryAt)}
	if lp.conn == nil && lp.tries.inHand != nil && now.Sub(lp.tries.readAt) < spread(downInterval) {
		o.inHand = lp.tries.inHand
	} else {
		lp.tries.readAt = now
	}
	return o
}

func (lp *loop) begin(ctx context.Context, o order) {
	lp.tries.running = true
	go func() { lp.link.post(event{kind: attempted, result: lp.connector.attempt(ctx, o)}) }()
}

// handle handles an event.
func (lp *loop) handle(ctx context.Context, e event) {
	switch e.kind {
	case attempted:
		lp.tries.running = false
		lp.attempted(e.result)
	case pinged:
		lp.pinged(e.conn, e.gone)
	default:
		if e.conn == lp.conn { // Else it is retired.
			lp.happened(ctx, e)
		}
	}
}

// happened handles an event of the Conn.
func (lp *loop) happened(ctx context.Context, e event) {
	switch e.kind {
	case disconnected:
		lp.disconnected(e.err)
	case reconnectFailed:
		lp.reconnectFailed(e.err)
	case reconnected:
		lp.state.Connected, lp.cause = true, nil
		lp.deaf.reconnectAt = time.Time{}
		lp.survey = survey{at: lp.clock.Now().Add(spread(surveySoon))}
	case closed:
		lp.drop(e.err)
	case denied:
		lp.denied(e.denial)
	case silent:
		lp.ping(ctx)
	}
}

// attempted handles the result of an attempt.
func (lp *loop) attempted(r result) {
	now := lp.clock.Now()
	switch r.outcome {
	case made:
		lp.trouble, lp.tries.inHand = nil, nil
		lp.swap(r.conn)
	case unchanged:
		if r.credentials != nil {
			lp.trouble = nil
			lp.tries.succeeded()
		}
		lp.survey.found(r.missing, now)
		if r.credentials == nil {
			return // The Secrets were not read.
		}
	case unread:
		if lp.conn != nil {
			// It says nothing about the Secrets.
			lp.link.log.V(1).Info("secrets not read", "error", r.err.Error())
			lp.tries.look = now.Add(spread(lp.atMost(downInterval)))
			return
		}
		lp.trouble = r.err
	case failed:
		lp.failed(r, now)
	}
	lp.tries.look = now.Add(lp.rest(now))
}

// failed records why there is no connection with what the Secrets hold.
func (lp *loop) failed(r result, now time.Time) {
	lp.link.log.V(1).Info("not connected", "error", Plain(r.err))
	lp.trouble = r.err
	switch {
	case r.credentials == nil:
		lp.tries.failures++
		if lost(r.err) && lp.connector.spec().OnSecretLoss == rollcallv1alpha1.SecretLossClose && lp.conn != nil {
			lp.swap(nil)
		}
	case NeedsUserAction(r.err):
		lp.tries.failed(r.credentials.digest, r.err, now)
	default:
		lp.tries.inHand = r.credentials
	}
}

// rest returns how long to wait before the next look at the Secrets, if nothing happens.
func (lp *loop) rest(now time.Time) time.Duration {
	switch {
	case lp.conn == nil && !NeedsUserAction(lp.trouble):
		return soon()
	case lp.trouble != nil, NeedsUserAction(lp.cause), lp.deaf.recent(now):
		return lp.tries.early(spread(lp.atMost(troubleInterval)))
	case !lp.state.Connected:
		return spread(lp.atMost(downInterval))
	}
	return renewal(lp.conn.expires, spread(lp.atMost(healthyInterval)), now)
}

// atMost returns the shorter one of a wait and of the interval that was asked for.
func (lp *loop) atMost(d time.Duration) time.Duration {
	if set := lp.connector.o.Interval; set > 0 {
		return min(d, set)
	}
	return d
}

// swap lets the members go over to another Conn, or wait for one.
func (lp *loop) swap(next *Conn) {
	old := lp.conn
	lp.conn, lp.cause, lp.deaf, lp.survey = next, nil, deaf{}, survey{}
	if old != nil {
		// It may have been made with what the old one has discovered.
		lp.survey.at = lp.clock.Now().Add(spread(surveySoon))
	}
	// It may be down by now, or closed, before anybody listened.
	lp.state.Connected = next != nil && next.nats.IsConnected()
	lp.show() // Whoever has acquired it finds the state that it makes.
	lp.link.view.put(next)
	if old != nil {
		old.retire()
	}
	if next != nil {
		lp.link.log.Info("connected to nats", "address", next.nats.ConnectedAddr(), "replaced", old != nil)
		if next.nats.IsClosed() {
			lp.drop(next.nats.LastError())
		}
	}
}

// drop gives up the Conn, which will not come back, and has another made.
func (lp *loop) drop(err error) {
	lp.trouble = err
	lp.swap(nil)
	lp.tries.look = lp.clock.Now()
}

func (lp *loop) disconnected(err error) {
	now := lp.clock.Now()
	lp.state.Connected, lp.cause = false, err
	lp.tries.lookWithin(spread(lp.atMost(downInterval)), now)
	if refusal(err) != nil {
		lp.tries.look = now
	}
}

func (lp *loop) reconnectFailed(err error) {
	now := lp.clock.Now()
	lp.cause = causeOf(err, lp.conn.dialer)
	switch {
	case refusal(lp.cause) != nil, Limit(lp.cause):
		if lp.conn.nats.IsConnected() {
			return // Another server was kinder, or this one will say it again.
		}
		// The client would go on at its own pace, and with the same credentials.
		lp.tries.failed(lp.conn.digest, lp.cause, now)
		lp.drop(lp.cause)
	case NeedsUserAction(lp.cause):
		lp.tries.lookWithin(spread(lp.atMost(troubleInterval)), now)
	}
}

// inspect looks why the client can't make the connection again. It tells by itself only what keeps it from the server, not
// what a server answers.
func (lp *loop) inspect() {
	if err := lp.conn.nats.LastError(); err != nil && !errors.Is(err, lp.cause) {
		lp.reconnectFailed(err)
	}
}

// denied tells the members that it concerns.
func (lp *loop) denied(d Denial) {
	lp.link.log.V(1).Info("nats denies a permission", "denied", d.String())
	for _, m := range lp.link.view.concerned(d) {
		m.Deny(d)
	}
	if d.Optional() {
		return
	}
	now := lp.clock.Now()
	lp.deaf.denied(d, now)
	lp.tries.lookWithin(spread(lp.atMost(troubleInterval)), now)
}

func (lp *loop) reconnect(why string) {
	lp.link.log.Info("connecting again", "why", why, "address", lp.conn.nats.ConnectedAddr())
	if err := lp.conn.nats.ForceReconnect(); err != nil {
		lp.link.log.V(1).Info("not connected again", "error", Plain(err))
	}
}

// show shows the state, if it is another one.
func (lp *loop) show() {
	before := lp.link.view.get()
	if lp.state.Connected != before.Connected {
		lp.state.Since, lp.state.Ever = lp.clock.Now(), true
	}
	lp.state.Trouble = lp.told()
	lp.link.view.show(lp.state)
}

// told returns what is in the way.
func (lp *loop) told() Trouble {
	err, login := lp.trouble, lp.connector.gives()
	switch {
	case lp.state.Connected && err == nil:
		return lp.survey.trouble()
	case err == nil:
		err = lp.cause
	}
	return Classify(err, lp.state.Ever && !lp.state.Connected, login)
}

// end gives up the connection and waits for the helpers.
func (lp *loop) end() {
	lp.swap(nil)
	for lp.tries.running || lp.pinging {
		switch e := <-lp.link.events; e.kind {
		case attempted:
			lp.tries.running = false
			if e.result.conn != nil {
				e.result.conn.retire()
			}
		case pinged:
			lp.pinging = false
		}
	}
}
