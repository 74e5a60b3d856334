package mirror

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

const (
	// batchSize is how many messages are read before the Mirror hears of them.
	batchSize = 64
	// share is the part of a processor that reading may take in the long run, in microseconds a second, and burst what it may
	// take at once: enough to list a large fleet whose expressions cost what they usually do.
	share = 250_000
	burst = 2_000_000
	// longest is how long a record takes to be read at most: as long as an expression may cost.
	longest = 20 * time.Millisecond
	// plainRecord and plainByte are what a plain record takes, for itself and for each of its bytes: that it takes longer is for want
	// of a processor, and no reason to rest.
	plainRecord, plainByte = 10 * time.Microsecond, 20 * time.Nanosecond
	// settlePause is the least time between two looks at the budget.
	settlePause = 10 * time.Millisecond
	// tooLong is for how long a message may wait to be read before somebody should know.
	tooLong = 5 * time.Second
)

// Read reads the messages that have come in, and those that come, until ctx ends; and nodes whose budget has refilled are shown as they
// are. It takes no more than a share of a
// processor: what is not read yet keeps its last good facts. There must be one call at a time.
func (m *Mirror) Read(ctx context.Context) {
	limiter := rate.NewLimiter(share, burst)
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-m.refilled():
		}
		for ctx.Err() == nil {
			began := m.clock.Now()
			read, price := m.readSome(ctx)
			if read == 0 {
				break
			}
			now := m.clock.Now()
			// A process that was stopped meanwhile has read no longer for it.
			took := min(now.Sub(began), price, burst*time.Microsecond)
			m.rest(ctx, limiter.ReserveN(now, int(took.Microseconds())).DelayFrom(now))
		}
	}
}

// refilled returns a channel that has a value once the budget is to be looked at; nil if nobody has spent any of it.
func (m *Mirror) refilled() <-chan time.Time {
	m.mu.Lock()
	wait, some := m.table.budget.rest()
	m.mu.Unlock()
	if !some {
		return nil
	}
	return m.clock.After(max(wait, settlePause))
}

// rest waits for so long, or until ctx ends.
func (m *Mirror) rest(ctx context.Context, wait time.Duration) {
	if wait <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-m.clock.After(wait):
	}
}

// readSome reads the messages that have waited longest, without the Mirror's lock, and applies what they say. It returns how
// many there were, and how long they take to be read at most. Once ctx has ended it reads no more of them: whoever begins to read
// again begins with a listing.
func (m *Mirror) readSome(ctx context.Context) (count int, price time.Duration) {
	m.mu.Lock()
	m.table.refill()
	policy, batch := m.table.policy, m.table.unread.take(batchSize)
	messages{&m.table}.recall(batch)
	m.mu.Unlock()
	read := 0
	for ; read < len(batch) && ctx.Err() == nil; read++ {
		m.readings[read] = record.Read(&batch[read].Entry, &policy.Record, batch[read].last)
		batch[read].reading = &m.readings[read]
		price += priceOf(&batch[read].Entry, &policy.Record)
	}
	m.mu.Lock()
	for _, w := range batch[:read] {
		messages{&m.table}.apply(w)
	}
	count = len(batch)
	m.table.unread.give(batch)
	clear(m.readings[:read])
	m.proceed()
	m.finish(m.now())
	return count, price
}

// priceOf returns how long a message takes to be read at most.
func priceOf(x *kv.Entry, p *record.Policy) time.Duration {
	if p.Plain() {
		return plainRecord + time.Duration(len(x.Value))*plainByte
	}
	return longest
}
