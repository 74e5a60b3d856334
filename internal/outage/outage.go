// Package outage lets the manager sit out an outage of the API server: quietly, at little cost to either side, and so that
// all goes on within about a second of the API server's first answer.
//
// A watch that can't be made is tried again at short intervals, where the client library would wait for up to a minute:
// NewInformer. A controller whose writes get no answer sends one at a time until one of them does, where each of its objects
// would fail on its own, again and again: Gate. Both tell an Outage, which says in the log when it begins and when it is over.
// And no request waits for long because an API server that is just starting asks for it: Transport.
package outage

import (
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/clock"
)

// worth is how long requests have to fail before it is worth a line in the log.
const worth = time.Second

// Outage knows who gets no answer from the API server, and says so in the log: once when that begins, and once when all are
// answered again. It is safe for concurrent use.
type Outage struct {
	log   logr.Logger
	clock clock.Clock

	mu   sync.Mutex
	away sets.Set[any]
	// since is when the first of those that are away got no answer.
	since time.Time
	said  bool
}

// New returns an Outage in which everybody is answered.
func New(log logr.Logger, clk clock.Clock) *Outage {
	return &Outage{log: log, clock: clk, away: sets.New[any]()}
}

// failed notes that who got no answer, but err.
func (o *Outage) failed(who any, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.clock.Now()
	if o.away.Len() == 0 {
		o.since = now
	}
	o.away.Insert(who)
	if !o.said && now.Sub(o.since) >= worth {
		o.said = true
		o.log.Info("requests to the API server fail: they are tried again until it answers", "error", err.Error())
	}
}

// answered notes that who is answered.
func (o *Outage) answered(who any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.away.Has(who) {
		return
	}
	o.away.Delete(who)
	if o.away.Len() == 0 && o.said {
		o.said = false
		o.log.Info("the API server answers again", "after", o.clock.Since(o.since).Round(time.Millisecond).String())
	}
}
