package outage

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// A write is tried every so often while the API server does not answer: after probeAfter, and up to probeSpread more, which
// is chosen at random, so that managers do not ask all at once.
const probeAfter, probeSpread = 100 * time.Millisecond, 300 * time.Millisecond

// probePatience is for how long one worker keeps the others out: what it asks for may take long for a reason of its own, as
// an admission webhook that hangs.
const probePatience = time.Second

// Gate is what the workers of one controller go through. It is open until a write of the controller gets no answer. Then
// it lets one worker in at a time, every so often, until a write is answered; the others wait in front of it, having read
// nothing yet that could grow old. It is safe for concurrent use.
type Gate struct {
	outage *Outage

	mu     sync.Mutex
	closed bool
	// probing is the number of the worker that was let in, zero if none is inside, and since when it is.
	probing uint64
	since   time.Time
	probes  uint64
	// due is when the next one may go in.
	due time.Time
	// turned is closed, and made anew, when those who wait have to look again.
	turned chan struct{}
}

// NewGate returns a Gate that is open.
func (o *Outage) NewGate() *Gate { return &Gate{outage: o, turned: make(chan struct{})} }

// enter waits until the worker may go on, and returns what it has to call when it is done. It returns an error only if ctx
// ends.
func (g *Gate) enter(ctx context.Context) (leave func(), err error) {
	for {
		leave, wait, turned := g.ask()
		if leave != nil {
			return leave, nil
		}
		var due <-chan time.Time
		if wait > 0 {
			due = g.outage.clock.After(wait)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-due:
		case <-turned:
		}
	}
}

// ask returns the leave of a worker that may go on. Else it is nil, and there is a channel to wait for, and, if wait is not
// zero, a time.
func (g *Gate) ask() (leave func(), wait time.Duration, turned <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		return func() {}, 0, nil
	}
	now := g.outage.clock.Now()
	if g.probing != 0 {
		if wait := g.since.Add(probePatience).Sub(now); wait > 0 {
			return nil, wait, g.turned
		}
	}
	if wait := g.due.Sub(now); wait > 0 {
		return nil, wait, g.turned
	}
	g.probes++
	number := g.probes
	g.probing, g.since = number, now
	return func() { g.probed(number) }, 0, nil
}

// probed lets the next worker in, now if this one has not found out anything.
func (g *Gate) probed(number uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.probing == number {
		g.probing = 0
		g.turn()
	}
}

// saw takes note of how a request ended.
func (g *Gate) saw(err error) {
	switch {
	case Unanswered(err), Unserved(err):
		g.close(err)
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err), apierrors.IsTooManyRequests(err), errors.Is(err, context.Canceled):
		// An API server that is just starting answers like that, too: it says neither.
	default:
		g.open()
	}
}

func (g *Gate) close(err error) {
	g.mu.Lock()
	g.closed = true
	g.due = g.outage.clock.Now().Add(pause())
	g.mu.Unlock()
	g.outage.failed(g, err)
}

func (g *Gate) open() {
	g.mu.Lock()
	if g.closed {
		g.closed = false
		g.turn()
	}
	g.mu.Unlock()
	g.outage.answered(g)
}

// turn makes those who wait look again. The caller holds mu.
func (g *Gate) turn() {
	close(g.turned)
	g.turned = make(chan struct{})
}

// pause returns how long to wait before the next try.
func pause() time.Duration {
	return probeAfter + rand.N(probeSpread) //nolint:gosec // Spreads load: nothing depends on it being unforeseeable.
}
