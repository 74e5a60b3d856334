package roster

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

const (
	// batch is how many slots are decided on at a time, with the lock held.
	batch = 128
	// grain is the least time to wait for heartbeats: those that are due within it go in one packet.
	grain = 10 * time.Millisecond
	// settleInterval is how often Options.Settled is asked.
	settleInterval = 50 * time.Millisecond
	// reconnectInterval is how long nothing is sent after the connection was found to be down.
	reconnectInterval = 100 * time.Millisecond
	// scoutInterval is how long the scout waits at most before it tries again.
	scoutInterval = 500 * time.Millisecond
	// firstBackoff and lastBackoff bound the wait before something that failed is tried again.
	firstBackoff = 250 * time.Millisecond
	lastBackoff  = 30 * time.Second
	// patience is for how long the stream may take nothing before that is said. Servers elect a leader for up to 9 s.
	patience = 10 * time.Second
)

// operation is one thing to send.
type operation struct {
	slot   *slot
	writer Writer
	kind   kind
	value  []byte
	after  uint64
}

// run sends what is due until the Roster is closed.
func (r *Roster) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		operations, wait := r.collect()
		for i := range operations {
			operations[i].send()
		}
		if len(operations) > 0 && r.ctx.Err() == nil {
			continue
		}
		timer.Reset(wait)
		select {
		case <-r.ctx.Done():
			return
		case <-r.wake:
		case <-timer.C:
		}
	}
}

func (o *operation) send() {
	if o.kind == removing {
		o.writer.Delete(o.slot.key, o.after, o.slot.done)
		return
	}
	o.writer.Put(o.slot.key, o.value, o.after, o.slot.done)
}

// collect decides on the slots that are due and returns what is to be sent; if there is nothing, how long to wait.
func (r *Roster) collect() (operations []operation, wait time.Duration) {
	r.mu.Lock()
	defer r.unlockAndTell()
	now := time.Now()
	if r.writer == nil || !r.synced {
		return nil, time.Hour
	}
	if rest := r.paused.Sub(now); rest > 0 {
		return nil, rest
	}
	if !r.settled && r.o.Settled() {
		r.settled, r.news = true, true
		r.everything()
	}
	v := &view{cluster: r.o.Cluster, now: now, synced: true, settled: r.settled, leaving: r.leaving, standing: r.o.Standing}
	for looked := 0; len(r.checks) > 0 && looked < batch && !r.checks[0].due.After(now); looked++ {
		s := heap.Pop(&r.checks).(*slot) //nolint:errcheck // The heap holds slots.
		if o, send := r.act(s, v); send {
			operations = append(operations, o)
		}
	}
	return operations, r.rest(now)
}

// rest returns how long nothing is due.
func (r *Roster) rest(now time.Time) time.Duration {
	wait := time.Hour
	if len(r.checks) > 0 {
		if wait = r.checks[0].due.Sub(now); wait > 0 {
			wait = max(wait, grain)
		}
	}
	if !r.settled {
		wait = min(wait, settleInterval)
	}
	return wait
}

// act does what is decided for a slot, or returns what is to be sent for that.
func (r *Roster) act(s *slot, v *view) (o operation, send bool) {
	switch s.decide(v) {
	case put:
		return r.put(s, v.now)
	case remove:
		s.flight = flight{kind: removing, after: s.known.revision}
		return operation{slot: s, writer: r.writer, kind: removing, after: s.known.revision}, true
	case read:
		r.ask(s)
	case conflict:
		r.contest(s, v.now)
	case suspect:
		r.suspect(s)
		r.drop(s)
	case forget:
		r.drop(s)
	case stay:
	}
	return operation{}, false
}

// put returns the write of a claim, if it is time for one.
func (r *Roster) put(s *slot, now time.Time) (o operation, send bool) {
	c := s.claims[0]
	f := flight{kind: putting, after: s.known.revision, claim: c, record: c.Record}
	if s.holds(c) && s.says(c) {
		r.adopt(s, c, now)
		if now.Before(s.beat) && s.trouble.Phase == Waiting {
			r.schedule(s, s.beat)
			return operation{}, false
		}
		f.scheduled = s.beat
	}
	s.flight = f
	return operation{slot: s, writer: r.writer, kind: putting, value: c.Record.At(now), after: f.after}, true
}

// says reports whether the entry is the claim's record.
func (s *slot) says(c *claim) bool {
	if s.known.value != nil {
		return c.Record.Made(s.known.value)
	}
	return s.wrote.Equal(c.Record)
}

// adopt takes an entry of a claim's pod for this process' own, though another process may have written it. It counts as a
// heartbeat: the next one is due an interval later.
func (r *Roster) adopt(s *slot, c *claim, now time.Time) {
	if s.known.value == nil {
		return
	}
	s.known.mine, s.known.value, s.wrote = true, nil, c.Record
	if s.trouble.Phase == Conflict {
		s.trouble = State{}
	}
	if s.beat.IsZero() {
		s.beat = now
	}
	if next := r.local(s.known.written).Add(shorten(c.Interval)); s.beat.Before(next) {
		s.beat = next
	}
	r.judge(s)
}

// shorten cuts up to a tenth off an interval at random, so that pods that came together part.
func shorten(d time.Duration) time.Duration {
	return d - rand.N(d/10+1) //nolint:gosec // A jitter is no secret.
}

// contest notes that somebody else has the key, and looks again later.
func (r *Roster) contest(s *slot, now time.Time) {
	owner := s.known.owner
	s.trouble = State{Phase: Conflict, Message: fmt.Sprintf("the key %q is kept by %s: give the pods another node ID, or remove the other entry", s.key, owner)}
	if !s.known.foreign(r.o.Cluster) && r.o.Standing(owner) == Unknown {
		s.trouble.Impostor = true
		s.trouble.Message = fmt.Sprintf("the key %q is kept by %s, which is this cluster's own name, but no pod here wrote it: "+
			"give every cluster that uses the bucket a --cluster-name of its own; what a cluster of the past left behind expires by itself", s.key, owner)
		r.suspect(s)
	}
	r.judge(s)
	s.known.sure = false
	r.later(s, now)
}

// suspect notes an entry with this cluster's name that is not this cluster's. Once such an entry moves, somebody keeps it
// alive.
func (r *Roster) suspect(s *slot) {
	before, seen := r.suspects[s.key]
	r.suspects[s.key] = s.known.revision
	if seen && s.known.revision > before && r.namesake == "" {
		r.namesake, r.news = s.key, true
	}
}

// later schedules another attempt, with backoff.
func (r *Roster) later(s *slot, now time.Time) {
	d := lastBackoff
	if s.attempts < 7 {
		d = firstBackoff << s.attempts
	}
	s.attempts++
	r.schedule(s, now.Add(d-rand.N(d/2+1))) //nolint:gosec // A jitter is no secret.
}

// balk schedules another attempt of a slot that the bucket's stream has stood in the way of, and not its key. One slot
// tries again at short intervals, for all of them: the others need not ask a cluster that is electing a leader, and
// none of them waits for its backoff once there is one.
func (r *Roster) balk(s *slot, now time.Time) {
	if s.balked.IsZero() {
		s.balked = now
	}
	if r.scout == nil {
		r.scout = s
	}
	if s != r.scout {
		r.later(s, now)
		return
	}
	s.attempts++
	r.schedule(s, now.Add(scoutInterval-rand.N(scoutInterval/2))) //nolint:gosec // A jitter is no secret.
}

// report has all slots looked at if it is the scout that got through, or that is going, or another one that the stream
// stood in the way of.
func (r *Roster) report(s *slot) {
	if r.scout != nil && (s == r.scout || !s.balked.IsZero()) {
		r.scout = nil
		r.everything()
	}
}

// forgive forgets the failures of a slot that the stream stood in the way of: they say nothing of the key.
func (s *slot) forgive() {
	if !s.balked.IsZero() {
		s.attempts, s.balked = 0, time.Time{}
	}
}

// drop forgets a slot.
func (r *Roster) drop(s *slot) {
	r.report(s)
	if s.index != unqueued {
		heap.Remove(&r.checks, s.index)
	}
	delete(r.slots, s.key)
}

// judge finds out the states of a slot's claims. While the key is unknown they stay what they are.
func (r *Roster) judge(s *slot) {
	for i, c := range s.claims {
		if state, ok := s.state(i, c); ok {
			r.set(c, state)
		}
	}
}

func (s *slot) state(i int, c *claim) (State, bool) {
	first := s.claims[0]
	switch {
	case i > 0 && first.UID == c.UID:
		return State{Phase: Conflict, Live: s.holds(c), Message: fmt.Sprintf(
			"the PodRegistration %s registers the pod under the key %q as well: let their selectors or node IDs differ", first.Registration.Name, s.key)}, true
	case i > 0:
		return State{Phase: Conflict, Message: fmt.Sprintf(
			"the pod %s has the key %q already: give every pod a node ID of its own", first.Pod.Name, s.key)}, true
	case !s.known.sure:
		return State{}, false
	case s.trouble.Phase != Waiting:
		state := s.trouble
		state.Live = s.holds(c)
		return state, true
	case s.holds(c):
		return State{Phase: Registered, Live: true}, true
	}
	return State{}, true
}

// written takes in the end of a write.
func (r *Roster) written(s *slot, revision uint64, err error) {
	r.mu.Lock()
	defer r.unlockAndTell()
	f, over := s.flight, s.overheard
	if f.kind != putting && f.kind != removing {
		return
	}
	s.flight, s.overheard = flight{}, nil
	now := time.Now()
	if errors.Is(err, kv.ErrNoAnswer) && f.shows(over) {
		// The answer is late, or lost, but the write is not.
		revision, err = over.revision, nil
	}
	r.count(s, &f, err, now)
	if !pending(err) {
		r.report(s)
	}
	if err == nil {
		r.stored(s, &f, revision, now)
	}
	if over != nil && over.revision > max(revision, f.after) && settles(err) {
		r.learn(s, over)
		r.schedule(s, now)
		return
	}
	if err != nil {
		r.failed(s, &f, err, now)
	}
}

// shows reports whether an entry that was overheard during a write is what was written.
func (f *flight) shows(over *known) bool {
	switch {
	case over == nil || over.revision <= f.after:
		return false
	case f.kind == removing:
		return !over.live
	}
	return over.live && f.record.Made(over.value)
}

// settles reports whether it is certain, after a write that ended so, that an entry which was overheard is not its own.
func settles(err error) bool {
	return err == nil || errors.Is(err, kv.ErrOvertaken) || errors.Is(err, kv.ErrBusy) || errors.Is(err, kv.ErrConnectionLost)
}

// pending reports whether err leaves open what the stream would say.
func pending(err error) bool {
	return errors.Is(err, kv.ErrUnavailable) || errors.Is(err, kv.ErrNoAnswer) || errors.Is(err, kv.ErrBusy) ||
		errors.Is(err, kv.ErrConnectionLost) || errors.Is(err, kv.ErrWriterClosed)
}

// stored takes in that a write is in the bucket.
func (r *Roster) stored(s *slot, f *flight, revision uint64, now time.Time) {
	s.attempts, s.balked, s.unanswered, s.trouble = 0, time.Time{}, 0, State{}
	s.known = known{sure: true, revision: revision}
	next := now
	if f.kind == putting {
		s.known.live, s.known.mine, s.known.owner = true, true, &discovery.Owner{Cluster: r.o.Cluster, UID: string(f.claim.UID)}
		s.wrote = f.record
		if len(s.claims) > 0 && s.claims[0] == f.claim && f.record.Equal(f.claim.Record) && !r.leaving {
			next = s.advance(f, now)
		}
	}
	r.judge(s)
	r.schedule(s, next)
}

// advance returns when the next heartbeat is scheduled. The first one is at any time within the interval.
func (s *slot) advance(f *flight, now time.Time) time.Time {
	interval := f.claim.Interval
	switch {
	case s.beat.IsZero():
		s.beat = now.Add(interval - rand.N(interval)) //nolint:gosec // A jitter is no secret.
	case !f.scheduled.IsZero():
		s.beat = s.beat.Add(shorten(interval))
	}
	if s.beat.Before(now) {
		s.beat = now.Add(shorten(interval))
	}
	return s.beat
}

// failed takes in that a write is not, or not surely, in the bucket.
func (r *Roster) failed(s *slot, f *flight, err error, now time.Time) {
	switch {
	case errors.Is(err, kv.ErrOvertaken):
		s.known.sure = false
		r.schedule(s, now)
	case errors.Is(err, kv.ErrConnectionLost):
		r.paused = now.Add(reconnectInterval)
		r.schedule(s, now)
	case errors.Is(err, kv.ErrNoAnswer), errors.Is(err, kv.ErrWriterClosed):
		s.known.sure = false
		s.unanswered = f.after + 1
		if f.kind == putting {
			s.wrote = f.record
		}
		r.schedule(s, now)
	case errors.Is(err, kv.ErrUnavailable), errors.Is(err, kv.ErrBusy):
		// What the stream is busy with may be this very slot's write before. The Watcher tells once that is stored.
		r.balk(s, now)
		if now.Sub(s.balked) >= patience {
			r.fail(s, err)
		}
	default:
		r.fail(s, err)
		r.later(s, now)
	}
}

func (r *Roster) fail(s *slot, err error) {
	s.trouble = State{Phase: Failed, Message: r.explain(s.key, err)}
	r.judge(s)
}

// explain says what failed and what to do about it.
func (r *Roster) explain(key string, err error) string {
	switch {
	case errors.Is(err, kv.ErrTooLarge):
		limit := "what the server takes"
		if size := r.bucket.MaxValueSize; size > 0 {
			limit = fmt.Sprintf("the %d bytes, headers included, that the bucket takes", size)
		}
		return fmt.Sprintf("the record of %q is larger than %s: register less metadata or fewer ports, or raise the limit of the bucket", key, limit)
	case errors.Is(err, kv.ErrBucketFull):
		return fmt.Sprintf("the bucket is full, and does not take %q: raise the limits of the bucket or its account, or remove entries: %v", key, err)
	case errors.Is(err, kv.ErrNoAnswer):
		return fmt.Sprintf("the server does not answer to writes of %q: allow the user to publish to %q", key, r.writer.Subject(key))
	case errors.Is(err, kv.ErrUnavailable):
		return fmt.Sprintf("the server takes no write of %q: look at the bucket's stream and its leader", key)
	}
	return fmt.Sprintf("the server refuses to write %q: %v", key, err)
}
