package kv

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// inactiveThreshold is after how long without a subscriber the server deletes a consumer that nobody could delete, since
// the connection was lost first.
const inactiveThreshold = 10 * time.Second

// consumerConfig is what a server is to be told about a consumer.
type consumerConfig struct {
	jetstream.ConsumerConfig

	// Direct has the stream's leader create the consumer by itself and at itself, as it does for mirrors: the cluster's
	// leader isn't asked, doesn't know of it, and can't delete it. Clients have no name for it.
	Direct bool `json:"direct,omitempty"`
}

func (o *opener) consumerConfig(subjectPrefix string, direct bool) consumerConfig {
	return consumerConfig{Direct: direct, ConsumerConfig: jetstream.ConsumerConfig{
		Name:              "rollcall_" + rand.Text(),
		DeliverSubject:    o.nc.NewInbox(),
		DeliverPolicy:     jetstream.DeliverLastPerSubjectPolicy,
		AckPolicy:         jetstream.AckNonePolicy,
		ReplayPolicy:      jetstream.ReplayInstantPolicy,
		FilterSubject:     filterSubject(subjectPrefix, o.prefix),
		FlowControl:       true,
		IdleHeartbeat:     o.heartbeat,
		InactiveThreshold: inactiveThreshold,
		MemoryStorage:     true,
		Replicas:          1,
	}}
}

// filterSubject narrows the consumer to the key prefix where subjects can say so: at the end of a token.
func filterSubject(subjectPrefix, keyPrefix string) string {
	if keyPrefix != "" && keyPrefix[len(keyPrefix)-1] == '.' {
		return subjectPrefix + keyPrefix + ">"
	}
	return subjectPrefix + ">"
}

// spareAfter is after how long without an answer a consumer is asked for in another way.
const spareAfter = 250 * time.Millisecond

// create creates a consumer. It asks the cluster's leader, which hands the consumer to one of the servers. A leader that
// was lost is replaced up to seconds after the stream's own, which acknowledges writes; and one that stands may choose a
// server that was lost a moment ago. So if there is no answer soon, the stream's leader is asked besides to do it by itself,
// and the consumer that is there first is taken.
func (o *opener) create(ctx context.Context, subjectPrefix string) (consumerConfig, error) {
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan creation)
	ask := func(direct bool) {
		asking.Go(func() { o.ask(ctx, o.consumerConfig(subjectPrefix, direct), answers) })
	}
	ask(false)
	for pending, spare := 1, time.After(spareAfter); ; {
		select {
		case <-spare:
			ask(true)
			pending, spare = pending+1, nil
		case a := <-answers:
			pending--
			switch {
			case !unanswered(a.err) || pending == 0 && spare == nil:
				return a.config, a.err
			case spare != nil:
				spare = time.After(0)
			}
		case <-ctx.Done():
			return consumerConfig{}, ctx.Err()
		}
	}
}

// creation is what came of asking for a consumer.
type creation struct {
	config consumerConfig
	err    error
}

// ask asks for a consumer until ctx ends. One that nobody takes may have been created all the same.
func (o *opener) ask(ctx context.Context, c consumerConfig, answers chan<- creation) {
	err := o.api.createConsumer(ctx, c)
	select {
	case answers <- creation{c, err}:
		if err == nil {
			return
		}
	case <-ctx.Done():
	}
	o.remember(leftover{c.Name, time.Now()})
}

// leftover is a consumer that is of no use and may exist: it couldn't be deleted, or another one was faster.
type leftover struct {
	consumer string
	since    time.Time
}

// over reports whether the server has deleted it by now.
func (l leftover) over() bool { return time.Since(l.since) > 3*inactiveThreshold }

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
	o.leftover = append(slices.DeleteFunc(o.leftover, leftover.over), l...)
}

// sweep tries again to delete the consumers that couldn't be deleted. A storm of reconnects would leave one each time,
// for as long as the server waits for a subscriber to come back.
func (o *opener) sweep() {
	o.mu.Lock()
	left := o.leftover
	o.leftover = nil
	o.mu.Unlock()
	for i, l := range left {
		if l.over() {
			continue
		}
		if o.delete(l.consumer) != nil {
			o.remember(left[i:]...)
			return
		}
	}
}
