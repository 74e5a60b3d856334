package dial

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// order decides which server is tried next. A server is due once its wait since the last attempt is over. Of those that are
// due the given ones come first, each once since the connection was lost; after that given and discovered ones alternate.
// So neither given servers nor discovered ones that do not answer keep the others from being tried.
type order struct {
	dialer *Dialer

	mu      sync.Mutex
	tried   map[string]time.Time // when the last attempt ended, by address
	current string               // the address of the last connection; empty once it is known to be lost
	lost    time.Time            // when that was
	given   bool                 // the last attempt was at a given server
}

// candidate is a server of nats.go's pool.
type candidate struct {
	server *nats.Server
	given  bool
	fresh  bool      // not tried since the connection was lost
	tried  time.Time // zero: never
	due    time.Time
}

// dialled notes the end of an attempt.
func (o *order) dialled(address string, given, connected bool, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.tried == nil {
		o.tried = map[string]time.Time{}
	}
	o.tried[address], o.given = now, given
	if connected {
		o.current = address
	}
}

// next returns the server to try, and how long to wait before. It is for nats.go, which holds its lock meanwhile.
func (o *order) next(pool []nats.Server, _ nats.ServerInfo) (*nats.Server, time.Duration) {
	return o.choose(pool, time.Now())
}

func (o *order) choose(pool []nats.Server, now time.Time) (*nats.Server, time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.current != "" {
		// It has to wait too, or all clients of a server that was lost would come back at the same moment.
		o.tried[o.current], o.lost, o.current, o.given = now, now, "", false
	}
	c := first(o.candidates(pool), o.given, now)
	return c.server, max(0, c.due.Sub(now))
}

// candidates returns the servers of the pool, those first that were not tried for the longest time.
func (o *order) candidates(pool []nats.Server) []candidate {
	all := make([]candidate, len(pool))
	for i := range pool {
		c := candidate{server: &pool[i]}
		_, c.given = o.dialer.lookup(pool[i].URL.Host)
		c.tried = o.tried[pool[i].URL.Host]
		c.fresh = c.tried.Before(o.lost) || c.tried.IsZero()
		if !c.tried.IsZero() {
			c.due = c.tried.Add(o.dialer.wait(pool[i].Reconnects))
		}
		all[i] = c
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return a.tried.Compare(b.tried) })
	return all
}

// first returns which is tried, after a given server or not.
func first(all []candidate, afterGiven bool, now time.Time) candidate {
	for _, wanted := range []func(candidate) bool{
		func(c candidate) bool { return c.given && c.fresh },
		func(c candidate) bool { return c.given != afterGiven },
		func(candidate) bool { return true },
	} {
		for _, c := range all {
			if wanted(c) && !c.due.After(now) {
				return c
			}
		}
	}
	return slices.MinFunc(all, func(a, b candidate) int { return a.due.Compare(b.due) })
}

// wait returns how long a server is left alone after so many attempts in vain, as the options of the connection have it.
func (d *Dialer) wait(attempts int) time.Duration {
	if delay := d.nats.CustomReconnectDelayCB; delay != nil {
		return delay(max(1, attempts))
	}
	jitter := d.nats.ReconnectJitter
	if d.nats.Secure || d.secured || cmp.Or(d.nats.TLSConfig, d.o.TLS) != nil {
		jitter = d.nats.ReconnectJitterTLS
	}
	return d.nats.ReconnectWait + rand.N(max(1, jitter)) //nolint:gosec // A jitter is no secret.
}
