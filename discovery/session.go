package discovery

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// inactiveThreshold is after how long without a subscriber the server deletes a consumer that nobody could delete, since
// the connection was lost first.
const inactiveThreshold = 10 * time.Second

// session is one consumer of the bucket and the subscription that it delivers to. Its fields belong to the watcher's
// goroutine once it is open.
type session struct {
	ctx    context.Context // ends with the session
	cancel context.CancelFunc

	consumer   string
	sub        *nats.Subscription
	in         *inbox
	reconnects uint64 // of the connection when the session was opened

	bucket     Bucket
	generation uint32
	track      track
	boundary   boundary
	arrivals   uint64    // how far the session had come at progress
	progress   time.Time // when it last came further
}

// inbox holds the messages that have arrived until the watcher takes them. Flow control bounds it: the server sends only
// so much before it wants an answer, which the watcher gives once it has come that far.
type inbox struct {
	mu       sync.Mutex
	messages []*nats.Msg
	arrived  time.Time
	wake     chan<- struct{}
}

func (in *inbox) add(m *nats.Msg) {
	in.mu.Lock()
	in.messages = append(in.messages, m)
	in.arrived = time.Now()
	in.mu.Unlock()
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// touch starts the time of silence anew.
func (in *inbox) touch() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.arrived = time.Now()
}

// take returns what has arrived since the last call, in order.
func (in *inbox) take() []*nats.Msg {
	in.mu.Lock()
	defer in.mu.Unlock()
	m := in.messages
	in.messages = nil
	return m
}

// silence returns for how long nothing has arrived.
func (in *inbox) silence(now time.Time) time.Duration {
	in.mu.Lock()
	defer in.mu.Unlock()
	return now.Sub(in.arrived)
}

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

// leftover is a consumer that couldn't be deleted, since the connection was lost.
type leftover struct {
	consumer string
	since    time.Time
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
	before, err := o.api.info(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{
		consumer: "rollcall_" + rand.Text(), reconnects: o.nc.Stats().Reconnects,
		in: &inbox{wake: o.wake, arrived: time.Now()}, progress: time.Now(),
	}
	s.ctx, s.cancel = context.WithCancel(parent)
	if err := o.fill(ctx, s, before); err != nil {
		o.close(s)
		return nil, err
	}
	return s, nil
}

// fill does the steps of open after which there is something to close. The subscription comes last: the server delivers
// nothing before, and on a slow link the answers would have to wait behind megabytes of what it delivers.
func (o *opener) fill(ctx context.Context, s *session, before Bucket) error {
	inbox := o.nc.NewInbox()
	if err := o.api.createConsumer(ctx, o.consumerConfig(s.consumer, inbox, before.subjectPrefix)); err != nil {
		return err
	}
	// The first mark has to be read once the consumer exists. If this is another bucket than before, the consumer may be the old one's.
	var err error
	if s.bucket, err = o.api.info(ctx); err != nil {
		return err
	}
	if !s.bucket.Created.Equal(before.Created) {
		return fmt.Errorf("%w while its consumer was being created", errRecreated)
	}
	s.boundary.mark = s.bucket.Revision
	if s.sub, err = o.nc.Subscribe(inbox, s.in.add); err != nil {
		return fmt.Errorf("subscribing to the consumer's inbox: %w", classify(err))
	}
	// The client drops messages of a subscription beyond these limits; flow control keeps them few.
	if err := s.sub.SetPendingLimits(-1, -1); err != nil {
		return fmt.Errorf("lifting the limits of the consumer's inbox: %w", err)
	}
	s.in.touch()
	return nil
}

func (o *opener) consumerConfig(name, inbox, subjectPrefix string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Name:              name,
		DeliverSubject:    inbox,
		DeliverPolicy:     jetstream.DeliverLastPerSubjectPolicy,
		AckPolicy:         jetstream.AckNonePolicy,
		ReplayPolicy:      jetstream.ReplayInstantPolicy,
		FilterSubject:     filterSubject(subjectPrefix, o.prefix),
		FlowControl:       true,
		IdleHeartbeat:     o.heartbeat,
		InactiveThreshold: inactiveThreshold,
		MemoryStorage:     true,
		Replicas:          1,
	}
}

// filterSubject narrows the consumer to the key prefix where subjects can say so: at the end of a token.
func filterSubject(subjectPrefix, keyPrefix string) string {
	if keyPrefix != "" && keyPrefix[len(keyPrefix)-1] == '.' {
		return subjectPrefix + keyPrefix + ">"
	}
	return subjectPrefix + ">"
}

// close ends the session and deletes its consumer, or remembers it for sweep.
func (o *opener) close(s *session) {
	s.cancel()
	if s.sub != nil {
		// The only error is that of a connection that is closed, with which the subscription is gone too.
		_ = s.sub.Unsubscribe()
	}
	if err := o.delete(s.consumer); err != nil {
		o.remember(leftover{consumer: s.consumer, since: time.Now()})
	}
}

func (o *opener) delete(consumer string) error {
	if !o.nc.IsConnected() {
		return ErrConnectionLost
	}
	// The session's context is over, and the watcher's may be.
	return o.api.deleteConsumer(context.Background(), consumer)
}

func (o *opener) remember(l ...leftover) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.leftover = append(o.leftover, l...)
}

// sweep tries again to delete the consumers that couldn't be deleted. A storm of reconnects would leave one each time,
// for as long as the server waits for a subscriber to come back.
func (o *opener) sweep() {
	o.mu.Lock()
	left := o.leftover
	o.leftover = nil
	o.mu.Unlock()
	for i, l := range left {
		if time.Since(l.since) > 3*inactiveThreshold {
			continue // The server has done it.
		}
		if o.delete(l.consumer) != nil {
			o.remember(left[i:]...)
			return
		}
	}
}
