package kv

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// session is one consumer of the bucket and the subscription that it delivers to. Its fields belong to the watcher's
// goroutine once it is open.
type session struct {
	ctx    context.Context // ends with the session
	cancel context.CancelFunc

	link       *link
	subjects   string // what those of the keys start with
	consumer   string
	sub        *nats.Subscription
	in         *inbox
	reconnects uint64 // of the connection when the session was opened

	bucket     Bucket
	listed     uint64 // the stream's last sequence when the session was opened: what is beyond is live
	generation uint32
	track      track
	boundary   boundary
	arrivals   uint64    // how far the session had come at progress
	progress   time.Time // when it last came further
}

// dated returns e with its age at the local time at.
func (s *session) dated(e Entry, at time.Time) Entry {
	if e.Revision <= s.listed {
		e.Age = s.bucket.age(e.Written, at)
	}
	return e
}

// live reports whether the session's listing is complete.
func (s *session) live() bool { return s != nil && s.boundary.stage == complete }

// opener opens and closes sessions; it is safe for concurrent use.
type opener struct {
	nc        *nats.Conn
	api       *api
	prefix    string // of the keys
	heartbeat time.Duration
	wake      chan<- struct{}

	mu       sync.Mutex
	leftover []leftover
}

// open creates a consumer and subscribes to it. parent bounds the session's life, ctx the call alone.
func (o *opener) open(parent, ctx context.Context) (*session, error) {
	switch status := o.nc.Status(); status {
	case nats.CONNECTED:
	case nats.CLOSED:
		return nil, nats.ErrConnectionClosed
	default:
		return nil, ErrConnectionLost
	}
	before, err := o.api.insistOnInfo(ctx)
	if err != nil {
		return nil, err
	}
	reconnects := o.nc.Stats().Reconnects
	c, err := o.create(ctx, before.subjectPrefix)
	if err != nil {
		return nil, err
	}
	s := &session{
		subjects: before.subjectPrefix, consumer: c.Name, reconnects: reconnects,
		in: newInbox(o.nc, o.wake), progress: time.Now(),
	}
	s.ctx, s.cancel = context.WithCancel(parent)
	if err := o.fill(ctx, s, c.DeliverSubject, before); err != nil {
		o.close(s)
		return nil, err
	}
	return s, nil
}

// fill does the steps of open after which there is something to close. The subscription comes last: the server delivers
// nothing before, and on a slow link the answers would have to wait behind megabytes of what it delivers.
func (o *opener) fill(ctx context.Context, s *session, inbox string, before Bucket) error {
	// The first mark has to be read once the consumer exists. If this is another bucket than before, the consumer may be the old one's.
	var err error
	if s.bucket, err = o.api.insistOnInfo(ctx); err != nil {
		return err
	}
	if !s.bucket.Created.Equal(before.Created) {
		return fmt.Errorf("%w while its consumer was being created", errRecreated)
	}
	s.listed, s.boundary.mark = s.bucket.Revision, s.bucket.Revision
	if s.sub, err = o.nc.Subscribe(inbox, s.in.add); err != nil {
		return fmt.Errorf("subscribing to the consumer's inbox: %w", classify(err))
	}
	// The client drops messages of a subscription beyond these limits, which is a gap.
	if err := s.sub.SetPendingLimits(s.in.most/leastWeight, s.in.most); err != nil {
		return fmt.Errorf("setting the limits of the consumer's inbox: %w", classify(err))
	}
	s.in.follow(s.sub)
	return nil
}

// close ends the session and deletes its consumer, or remembers it for sweep.
func (o *opener) close(s *session) {
	s.cancel()
	if s.sub != nil {
		// The only error is that of a connection that is closed, with which the subscription is gone too.
		_ = s.sub.Unsubscribe()
	}
	s.in.close()
	if err := o.delete(s.consumer); err != nil {
		o.remember(leftover{consumer: s.consumer, since: time.Now()})
	}
}
