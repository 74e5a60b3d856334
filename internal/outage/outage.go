// Package outage lets the manager sit out an outage of the API server: quietly, at little cost to either side, and so that
// all goes on within about a second of the API server's first answer.
//
// All of it happens below the client library, so that no controller has a client or a queue of its own for it:
//
//	lists and watches   NewInformer asks again at short intervals, where the client library would wait for up to a minute
//	writes, live reads  Transport has a breaker a resource: one request at a time is sent, every so often, until one is answered
//	reconcilers         end with Result, so that an outage is no error of each object
//
// The log has two lines about an outage: its beginning and its end.
package outage

import (
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	// quietPeriod is how long requests have to fail before the log says so.
	quietPeriod = time.Second
	// idleAfter is the time after which a resource that nobody has asked for since no longer counts as away.
	idleAfter = 5 * time.Second
)

// Outage knows who gets no answer from the API server, and says so in the log: once when that begins, and once when all are
// answered again. It is safe for concurrent use.
type Outage struct {
	log   logr.Logger
	clock clock.Clock

	mu       sync.Mutex
	breakers map[schema.GroupResource]*breaker
	// away are the breakers and informers that got no answer, each with the time of its last try.
	away map[any]time.Time
	// since is when the first of those that are away got no answer.
	since  time.Time
	logged bool
	ended  chan struct{}
}

// New returns an Outage in which everybody is answered.
func New(log logr.Logger, clk clock.Clock) *Outage {
	return &Outage{log: log, clock: clk, breakers: map[schema.GroupResource]*breaker{}, away: map[any]time.Time{}, ended: make(chan struct{}, 1)}
}

// Ended gets something when an outage has ended, however short it was. What was not taken by then is not there twice.
func (o *Outage) Ended() <-chan struct{} { return o.ended }

// Result returns how a reconcile ends whose requests to the API server may have got no answer. That is no error, which would be
// logged for each object: the object is reconciled again.
func Result(result reconcile.Result, err error) (reconcile.Result, error) {
	if Unanswered(err) || Unserved(err) {
		return reconcile.Result{RequeueAfter: pause()}, nil
	}
	return result, err
}

// pause returns how long to wait before the next try.
func pause() time.Duration {
	return probeAfter + rand.N(probeSpread) //nolint:gosec // Spreads load: nothing depends on it being unforeseeable.
}

// failed notes that who got no answer, but err.
func (o *Outage) failed(who any, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.clock.Now()
	if len(o.away) == 0 {
		o.since = now
	}
	o.away[who] = now
	if !o.logged && now.Sub(o.since) >= quietPeriod {
		o.logged = true
		o.log.Info("requests to the API server fail: they are tried again until it answers", "error", err.Error())
	}
}

// answered notes that who is answered.
func (o *Outage) answered(who any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.away) == 0 {
		return
	}
	delete(o.away, who)
	maps.DeleteFunc(o.away, func(_ any, asked time.Time) bool { return o.clock.Since(asked) > idleAfter })
	if len(o.away) > 0 {
		return
	}
	select {
	case o.ended <- struct{}{}:
	default:
	}
	if o.logged {
		o.logged = false
		o.log.Info("the API server answers again", "after", o.clock.Since(o.since).Round(time.Millisecond).String())
	}
}
