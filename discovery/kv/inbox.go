package kv

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rollcall-dev/rollcall/discovery/dial"
)

const (
	// maxPending bounds what a session has received and not worked off, in bytes: what is beyond it is dropped, so the
	// listing begins again. The dialer stops reading in time, so only a server that sends no sensible messages comes that
	// far. Of a connection with another dialer the bound is twice what flow control lets a server send.
	maxPending      = 8 << 20
	maxPendingAlone = 64 << 20
	// leastWeight is what a message takes besides its text, and headerWeight what one of its headers does.
	leastWeight  = 512
	headerWeight = 256
	// easedEvery is after how many messages that were worked off the inbox and the dialer hear of it.
	easedEvery = 64
)

// inbox holds the messages that have arrived until the watcher has worked them off.
type inbox struct {
	dialer *dial.Dialer // nil: another one
	most   int          // bytes
	wake   chan<- struct{}

	mu       sync.Mutex
	sub      *nats.Subscription
	messages []*nats.Msg
	spare    []*nats.Msg // room for messages
	arrived  time.Time
	pending  int // the weight of what was added and is not worked off
	closed   bool
}

func newInbox(nc *nats.Conn, wake chan<- struct{}) *inbox {
	in := &inbox{dialer: dial.Of(nc), most: maxPending, wake: wake, arrived: time.Now()}
	if in.dialer == nil {
		in.most = maxPendingAlone
	} else {
		in.dialer.Attach(in)
	}
	return in
}

func weight(m *nats.Msg) int { return leastWeight + m.Size() + headerWeight*len(m.Header) }

func (in *inbox) add(m *nats.Msg) {
	in.mu.Lock()
	if w := weight(m); in.pending+w <= in.most && !in.closed {
		in.messages = append(in.messages, m)
		in.pending += w
	}
	in.mu.Unlock()
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// done notes that messages were worked off.
func (in *inbox) done(messages []*nats.Msg) {
	worked := 0
	for _, m := range messages {
		worked += weight(m)
	}
	in.mu.Lock()
	in.pending -= worked
	in.mu.Unlock()
	if in.dialer != nil {
		in.dialer.Eased()
	}
}

// Pending returns what is not worked off, with what the client has not handed over yet.
func (in *inbox) Pending() int {
	in.mu.Lock()
	pending, sub := in.pending, in.sub
	in.mu.Unlock()
	if sub == nil {
		return pending
	}
	messages, bytes, err := sub.Pending()
	if err != nil {
		return pending // Of a subscription that has ended nothing comes any more.
	}
	return pending + bytes + messages*leastWeight
}

// close takes no more.
func (in *inbox) close() {
	in.mu.Lock()
	in.closed, in.messages, in.pending = true, nil, 0
	in.mu.Unlock()
	if in.dialer != nil {
		in.dialer.Detach(in)
	}
}

// follow takes the messages of the subscription into account that the client has not handed over, and starts the time of
// silence again.
func (in *inbox) follow(sub *nats.Subscription) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.sub, in.arrived = sub, time.Now()
}

// take returns what has arrived since the last call, in order; at is the time. It is to be given back.
func (in *inbox) take(at time.Time) []*nats.Msg {
	in.mu.Lock()
	defer in.mu.Unlock()
	m := in.messages
	in.messages, in.spare = in.spare, nil
	if len(m) > 0 {
		in.arrived = at
	}
	return m
}

// maxSpare is for how many messages room is kept that nobody needs.
const maxSpare = 4096

// give gives back what was taken.
func (in *inbox) give(messages []*nats.Msg) {
	if cap(messages) > maxSpare {
		return
	}
	clear(messages)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.spare = messages[:0]
}

// silence returns for how long nothing has arrived that could have.
func (in *inbox) silence(now time.Time) time.Duration {
	in.mu.Lock()
	since := in.arrived
	in.mu.Unlock()
	if in.dialer != nil {
		if until := in.dialer.HeldUntil(now); until.After(since) {
			since = until
		}
	}
	return now.Sub(since)
}
