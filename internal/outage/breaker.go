package outage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	// A request is sent every so often while a breaker is open: after probeAfter, and up to probeSpread more, which is chosen at
	// random, so that managers do not ask all at once.
	probeAfter, probeSpread = 100 * time.Millisecond, 300 * time.Millisecond
	// maxWait bounds how long a request waits: what it carries grows old. It also bounds how long one that hangs, as an admission
	// webhook may have it do, keeps the next one waiting.
	maxWait = time.Second
)

// errWaited is the error of a request that was not sent. It wraps nothing: what others were answered says nothing of its object.
var errWaited = errors.New("not sent, since others before it got no answer")

// breaker holds back the requests for one resource. It is closed until one gets no answer. While it is open one request at a time
// goes through, until one is answered. It is safe for concurrent use.
type breaker struct {
	outage   *Outage
	resource schema.GroupResource

	mu sync.Mutex
	// cause is why the breaker is open; nil: it is closed.
	cause error
	// due is when the next request may go through while the breaker is open.
	due time.Time
	// changed is closed, and replaced, when those who wait have to look again.
	changed chan struct{}
}

// breaker returns the resource's breaker.
func (o *Outage) breaker(resource schema.GroupResource) *breaker {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.breakers[resource]
	if b == nil {
		b = &breaker{outage: o, resource: resource, changed: make(chan struct{})}
		o.breakers[resource] = b
	}
	return b
}

// wait waits until a request may be sent. It returns an error if that is too late for it.
func (b *breaker) wait(ctx context.Context) error {
	latest := b.outage.clock.Now().Add(maxWait)
	for {
		rest, changed, err := b.ask(latest)
		if rest <= 0 || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-b.outage.clock.After(rest):
		}
	}
}

// ask returns for how long a request has to wait, if nothing changes before; zero: it goes through now.
func (b *breaker) ask(latest time.Time) (rest time.Duration, changed <-chan struct{}, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.outage.clock.Now()
	switch {
	case b.cause == nil:
		return 0, nil, nil
	case !now.Before(b.due):
		b.due = now.Add(maxWait)
		return 0, nil, nil
	case !now.Before(latest):
		return 0, nil, fmt.Errorf("%w for %s: %s", errWaited, b.resource, b.cause.Error())
	}
	return min(b.due.Sub(now), latest.Sub(now)), b.changed, nil
}

// ended takes note of how a request ended that went through.
func (b *breaker) ended(err error) {
	switch {
	case Unanswered(err), Unserved(err):
		b.set(err)
		b.outage.failed(b, err)
	case unauthorized(err), apierrors.IsTooManyRequests(err), errors.Is(err, context.Canceled):
		// An API server that is just starting answers like that, too: it says neither.
		b.next()
	default:
		b.set(nil)
		b.outage.answered(b)
	}
}

// next lets the next request through at once, if the breaker is open.
func (b *breaker) next() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cause != nil {
		b.due = b.outage.clock.Now()
		b.turn()
	}
}

// turn has those look again who wait. The caller holds the lock.
func (b *breaker) turn() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// set opens the breaker for that cause, or closes it without one.
func (b *breaker) set(cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if cause == nil && b.cause == nil {
		return
	}
	b.cause, b.due = cause, b.outage.clock.Now().Add(pause())
	b.turn()
}
