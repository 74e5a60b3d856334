package roster

import (
	"bytes"
	"container/heap"
	"context"
	"encoding/json"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// Writer writes to the bucket. Its methods are those of kv.Writer, and so are their errors.
type Writer interface {
	Put(key string, value []byte, after uint64, done func(revision uint64, err error))
	Delete(key string, after uint64, done func(revision uint64, err error))
	Last(ctx context.Context, key string) (kv.Entry, error)
	Subject(key string) string
}

// Beat is the end of one heartbeat.
type Beat struct {
	// Err is why it failed; nil: it is in the bucket.
	Err error
	// Lag is how long after its schedule that was known.
	Lag time.Duration
}

// Options are what a Roster needs of its surroundings. Functions must not block, and must not call the Roster.
type Options struct {
	// Cluster is this cluster's name, the one in the owners of its entries.
	Cluster string
	// Settled says whether every pod has been looked at since start, so that what is not claimed is not wanted.
	Settled func() bool
	// Standing says whose an entry with that owner is, which carries this cluster's name. It is asked only once Settled has
	// said yes.
	Standing func(*discovery.Owner) Standing
	// Changed hears of claims whose State is another one.
	Changed func([]Claim)
	// Followed hears that the bucket, its settings, or the way to it are other ones.
	Followed func()
	// Beaten hears of every heartbeat, and of one that waits for the connection once; it may be nil.
	Beaten func(Beat)
}

// Roster keeps the entries of one registry's pods. It is safe for concurrent use. It must be closed.
type Roster struct {
	o      Options
	needle []byte // what every entry of this cluster contains
	wake   chan struct{}
	stop   context.CancelFunc
	ctx    context.Context //nolint:containedctx // It bounds the reads, which nobody waits for.
	done   sync.WaitGroup

	mu     sync.Mutex
	slots  map[string]*slot
	claims map[ID]*slot
	checks checks
	// writer is nil while there is no way to the bucket; session counts them.
	writer  Writer
	session int
	// synced says that the bucket was listed completely in this session, settled what Options.Settled has said since.
	synced, settled bool
	// leaving says that everything is being removed.
	leaving bool
	// paused is until when nothing is sent, since the connection is down.
	paused time.Time
	// scout is the slot that tries again for all while the stream takes nothing; nil while it does, as far as is known.
	scout *slot
	// asked are the slots to be read, readers is how many goroutines do that.
	asked   []*slot
	readers int
	// suspects are the keys of entries with this cluster's name that are not this cluster's, with their revision, and
	// namesake is one of them that is alive: another cluster has the same name.
	suspects map[string]uint64
	namesake string
	bucket   kv.Bucket
	problem  error
	outbox   []Claim
	tally    Tally
	news     bool
}

// New returns a Roster that knows no claim and has no way to the bucket.
func New(o Options) *Roster {
	r := &Roster{o: o, wake: make(chan struct{}, 1), slots: map[string]*slot{}, claims: map[ID]*slot{}, suspects: map[string]uint64{}}
	// A string is always JSON.
	r.needle, _ = json.Marshal(o.Cluster)
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.done.Go(r.run)
	return r
}

// Close ends the Roster. It unregisters nothing.
func (r *Roster) Close() {
	r.stop()
	r.done.Wait()
}

// Update takes back claims and makes others, in one step: an entry that goes from one to the other is never missing.
func (r *Roster) Update(release []ID, claims []Claim) {
	r.mu.Lock()
	now := time.Now()
	var touched []*slot
	for i := range claims {
		touched = append(touched, r.claim(&claims[i])...)
	}
	for _, id := range release {
		if s := r.claims[id]; s != nil {
			s.exit(id)
			delete(r.claims, id)
			touched = append(touched, s)
		}
	}
	for _, s := range touched {
		r.judge(s)
		r.schedule(s, now)
	}
	r.unlockAndTell()
}

// claim takes in one claim and returns the slots that are to be looked at.
func (r *Roster) claim(c *Claim) []*slot {
	var touched []*slot
	old := r.claims[c.ID]
	if old != nil && old.key == c.Key {
		was := old.find(c.ID)
		if was.equal(c) {
			return nil
		}
		if !old.beat.IsZero() && was.Interval != c.Interval {
			old.beat = time.Now().Add(rand.N(c.Interval)) //nolint:gosec // A jitter is no secret.
		}
		was.Claim = *c
		return []*slot{old}
	}
	if old != nil {
		old.exit(c.ID)
		touched = append(touched, old)
	}
	s := r.slot(c.Key)
	r.claims[c.ID] = s
	s.enter(&claim{Claim: *c})
	return append(touched, s)
}

func (s *slot) find(id ID) *claim {
	for _, c := range s.claims {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// slot returns the slot of a key. One that is new to a bucket that was listed has no entry, or it would be there.
func (r *Roster) slot(key string) *slot {
	s := r.slots[key]
	if s == nil {
		s = &slot{key: key, index: unqueued, known: known{sure: r.synced}}
		s.done = func(revision uint64, err error) { r.written(s, revision, err) }
		r.slots[key] = s
	}
	return s
}

// State returns what became of a claim; Waiting if there is no such claim.
func (r *Roster) State(id ID) State {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.claims[id]; s != nil {
		return s.find(id).state
	}
	return State{}
}

// Info is what there is to know of the way to the bucket.
type Info struct {
	// Synced says that the bucket has been listed completely since the way to it was found, Settled that what is not
	// claimed is known not to be wanted.
	Synced, Settled bool
	// Bucket is what was last heard of the bucket; its name is empty before anything was.
	Bucket kv.Bucket
	// Namesake is the key of an entry that another cluster of the same name keeps alive; empty if there is none.
	Namesake string
	// Err is why the bucket can't be read; nil if it can, or before anything was heard.
	Err error
}

// Info returns what there is to know of the way to the bucket.
func (r *Roster) Info() Info {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Info{Synced: r.writer != nil && r.synced, Settled: r.settled, Namesake: r.namesake, Bucket: r.bucket, Err: r.problem}
}

// Leave removes all entries of this process, for the registry is going, and returns when that is done, or ctx ends.
// Nothing is written afterwards until there is another session.
func (r *Roster) Leave(ctx context.Context) {
	r.mu.Lock()
	r.leaving = true
	// The scout may be one that has no entry to remove.
	r.scout = nil
	for _, s := range r.slots {
		r.schedule(s, time.Now())
	}
	r.mu.Unlock()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !r.left() {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// left reports whether nothing of this process is in the bucket, or nothing can be done about it.
func (r *Roster) left() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.writer == nil {
		return true
	}
	for _, s := range r.slots {
		if s.flight.kind != idle || (s.known.live && s.known.mine) {
			return false
		}
	}
	return true
}

// schedule makes sure that the slot is looked at, at that time or earlier.
func (r *Roster) schedule(s *slot, at time.Time) {
	switch {
	case s.index == unqueued:
		s.due = at
		heap.Push(&r.checks, s)
	case at.Before(s.due):
		s.due = at
		heap.Fix(&r.checks, s.index)
	default:
		return
	}
	if s.index == 0 {
		r.prod()
	}
}

// everything makes the Roster look at all slots.
func (r *Roster) everything() {
	now := time.Now()
	for _, s := range r.slots {
		r.schedule(s, now)
	}
	r.prod()
}

func (r *Roster) prod() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// set gives a claim another state.
func (r *Roster) set(c *claim, state State) {
	if c.state != state {
		c.state = state
		r.outbox = append(r.outbox, c.Claim)
	}
}

// unlockAndTell unlocks and tells what has changed.
func (r *Roster) unlockAndTell() {
	changed, news := r.outbox, r.news
	r.outbox, r.news = nil, false
	r.mu.Unlock()
	if len(changed) > 0 {
		r.o.Changed(changed)
	}
	if news {
		r.o.Followed()
	}
}

// relevant reports whether a record may be one of this cluster's, without decoding it.
func (r *Roster) relevant(value []byte) bool { return bytes.Contains(value, r.needle) }
