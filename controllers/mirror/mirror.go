package mirror

import (
	"cmp"
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery/kv"
	"github.com/rollcall-dev/rollcall/discovery/liveness"
)

// listingPatience is how long a listing may hold back the changes that it finds. A listing of 100,000 keys takes a quarter
// of a second; over a slow link it must not blind everybody for longer than this.
const listingPatience = time.Second

// Nodes that join while a listing goes on for longer come out at that time, and then pauseFactor times as long after, and so on.
const pauseFactor, maxPause = 4, 16 * time.Second

// observer is where a Mirror publishes what changes in it. Its methods neither block nor call the Mirror, whose lock is held.
type observer interface {
	nodesChanged(changes []Change)
	registrySettled(registry types.NamespacedName)
	stateChanged(registry types.NamespacedName)
}

// Mirror holds the last known state of every key of one NodeRegistry. It is a kv.Sink, which the bucket's Watcher fills. It
// is safe for concurrent use, and has no goroutine of its own: time passes when something arrives from the server, and messages
// are read by whoever calls Read.
type Mirror struct {
	registry types.NamespacedName
	clock    clock.Clock
	observer observer

	// wake has a signal while there are messages to be read, or the budget is to be looked at again.
	wake chan struct{}
	// readings is where Read puts what it reads.
	readings [batchSize]record.Reading

	mu    sync.RWMutex
	table table
	// state is what does not come from the table.
	state   State
	listing listing
	memory  memory
	// void is true from another way to read records until another session lists: what the old one lists does not count.
	void bool
	// refusal is why the listening clock stands although the bucket is read, and since when; its zero value if it does not.
	refusal Held
	out     outbox
	tally   Tally
}

var _ kv.Sink = &Mirror{}

// newMirror returns a Mirror that goes on from what was written down: who was held, nil for nobody, and the nodes.
func newMirror(registry types.NamespacedName, p Policy, h *Held, nodes []*rollcallv1alpha1.DiscoveredNode, c clock.Clock, o observer) *Mirror {
	m := &Mirror{
		registry: registry, clock: c, observer: o, state: State{Since: c.Now()}, wake: make(chan struct{}, 1),
		out: outbox{phases: map[rollcallv1alpha1.NodePhase]int{}}, tally: newTally(),
	}
	m.table = table{
		registry: registry, entries: map[string]*entry{}, names: map[string]*entry{}, ids: identities{}, sites: sites{}, labelSets: labelSets{},
		timing: timing{clock: liveness.NewClock(kv.DefaultSilenceLimit)}, out: &m.out,
		departed: lru.New(maxDeparted), records: newRecords(), excess: newShelf(maxExcess), budget: newBudget(c),
		awaited: sets.New[string](), unsettled: true,
	}
	m.memory = newMemory(p.Partial)
	m.table.rule(&p)
	m.table.seed(nodes)
	m.restore(h)
	m.table.settle(c.Now()) // Whoever finds the Mirror in the Store finds a Node for each key.
	return m
}

// start publishes what was written down.
func (m *Mirror) start() {
	m.mu.Lock()
	m.finish(m.now())
}

// finish ends an input: it settles what the input marked, publishes what came of it, and releases the lock; at is the time of
// the change. It publishes under the lock, so that changes of one node are published in their order.
func (m *Mirror) finish(at time.Time) {
	m.table.settle(at)
	messages{&m.table}.admit(at)
	now := m.clock.Now()
	late := m.table.unread.late(now)
	m.out.state = m.out.state || late != m.state.Records.TooSlow
	m.state.Records.TooSlow = late
	if len(m.table.unread.order) > 0 || m.table.budget.stirred {
		select {
		case m.wake <- struct{}{}:
		default: // There is one already.
		}
	}
	defer m.mu.Unlock()
	m.settleMemory()
	changes, state, settled := m.out.take(now)
	m.recall(changes)
	if state {
		m.observer.stateChanged(m.registry)
	}
	if len(changes) > 0 {
		m.observer.nodesChanged(changes)
	}
	if settled {
		m.observer.registrySettled(m.registry)
	}
}

// Listing implements kv.Observer.
func (m *Mirror) Listing(cause kv.Cause) {
	m.mu.Lock()
	m.tally.Listings[cause]++
	if cause.Gap() || !m.listing.shown || !m.listing.cause.Gap() { // One that follows a gap is not read yet.
		m.listing = listing{cause: cause}
	}
	switch {
	case cause == kv.CauseStart:
		m.void = false
		messages{&m.table}.begin(m.state.Listed || m.table.staged != nil)
	case cause == kv.CauseRecreated && m.table.staged != nil:
		messages{&m.table}.begin(true)
	}
	if cause.Gap() {
		m.interrupt(nil)
		m.out.close(m.clock.Now())
	}
	m.finish(m.now())
}

// Disconnected implements kv.Observer.
func (m *Mirror) Disconnected(err error) {
	m.mu.Lock()
	m.listing = listing{}
	m.out.open()
	m.interrupt(err)
	m.finish(m.now())
}

// interrupt begins a gap.
func (m *Mirror) interrupt(err error) {
	if m.table.timing.clock.Listening() {
		m.state.Since = m.clock.Now()
	}
	m.table.timing.clock.Stop()
	m.state.Err, m.out.state = err, true
}

// Synced implements kv.Observer.
func (m *Mirror) Synced(b kv.Bucket) {
	m.mu.Lock()
	m.setBucket(b)
	if !m.listing.shown {
		m.listing.shown, m.listing.end = true, m.table.unread.end()
	}
	m.proceed()
	m.finish(m.now())
}

// proceed ends the listing that is under way, once what it has shown is read.
func (m *Mirror) proceed() {
	if m.void || !m.listing.shown || !m.table.unread.read(m.listing.end) {
		return
	}
	m.state.LastSync, m.out.state = m.clock.Now(), true
	if m.listing.cause.Gap() {
		messages{&m.table}.commit()
		m.state.Listed, m.state.Err, m.state.Since = true, nil, m.clock.Now()
		m.table.timing.clock.Start()
	}
	m.listing = listing{}
	m.out.open()
	for w := range m.table.excess.all {
		if m.table.timing.late(w) {
			messages{&m.table}.forgo(w.Key)
		}
	}
}

// Bucket implements kv.Observer.
func (m *Mirror) Bucket(b kv.Bucket) {
	m.mu.Lock()
	m.setBucket(b)
	m.finish(m.now())
}

// setBucket applies what the server says of the bucket.
func (m *Mirror) setBucket(b kv.Bucket) {
	old := m.state.Bucket
	if b.TTL == 0 && b.Store.Refusal == kv.Sealed {
		// Sealing a stream takes its TTL away. What died before is dead all the same, once a person accepts it.
		b.TTL = cmp.Or(old.TTL, m.table.policy.FallbackTTL)
	}
	m.state.Bucket = b
	m.table.bucket(&b)
	silences{&m.table}.store(b.Store)
	if reason := rollcallv1alpha1.HeldReason(b.Store.Refusal); m.refusal.Reason != reason {
		m.refusal = Held{Since: m.clock.Now(), Reason: reason}
	}
	// The counts of who is held change while the store refuses.
	m.out.state = m.out.state || b.Store.Refusal != "" || !alike(&old, &b)
}

// Arrived implements kv.Sink.
func (m *Mirror) Arrived(at time.Time) {
	m.mu.Lock()
	m.table.timing.clock.Arrived(at)
	silences{&m.table}.pass(m.clock.Now())
	m.finish(m.now())
}

// Entry implements kv.Observer.
func (m *Mirror) Entry(x kv.Entry) {
	m.mu.Lock()
	m.tally.Events[x.Operation]++
	switch x.Operation {
	case kv.Put:
		if (messages{&m.table}).put(&x, m.clock) && !m.out.state {
			m.mu.Unlock() // Nothing has come of it.
			return
		}
	case kv.Unregister:
		messages{&m.table}.unregister(&x)
		if x.Memo != nil {
			x.Memo.Of = nil // The Watcher remembers the key for longer than the Mirror does.
		}
		m.out.settled = m.memory.unregistered(m.table.policy, m.registry.Name, x.Key) || m.out.settled
	default:
		// The server's word that the key is past its TTL is a hint: on a cluster it may have overtaken a fresh heartbeat.
		messages{&m.table}.miss(x.Key)
	}
	m.finish(x.Written)
}

// Absent implements kv.Observer.
func (m *Mirror) Absent(keys []string) {
	m.mu.Lock()
	for _, key := range keys {
		messages{&m.table}.miss(key)
	}
	m.finish(m.now())
}

// Overdue implements kv.Sink.
func (m *Mirror) Overdue() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return silences{&m.table}.keys()
}

// Silent implements kv.Sink.
func (m *Mirror) Silent(keys []string) {
	m.mu.Lock()
	silences{&m.table}.confirm(keys, m.clock.Now())
	m.finish(m.now())
}

// Withheld implements kv.Sink.
func (m *Mirror) Withheld(keys []string) {
	m.mu.Lock()
	silences{&m.table}.withhold(keys)
	m.finish(m.now())
}

// otherKeys is how many keys are followed besides those of MaxNodes nodes: what is no node, this cluster's own entries, removals
// that are remembered, and nodes that wait for a place.
const otherKeys = 10_000

// MaxKeys implements kv.Sink.
func (m *Mirror) MaxKeys() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.table.policy.MaxNodes == 0 {
		return 0
	}
	return m.table.policy.MaxNodes + otherKeys
}

// SetPolicy puts another policy in force, and judges again what follows from it. Another way to read records takes effect in
// one step, at the end of the next listing; until then what is known stays, and no deadline passes. A lower MaxNodes takes no
// node out: those that are in stay in.
func (m *Mirror) SetPolicy(p Policy) {
	m.mu.Lock()
	if m.table.policy.equal(p) {
		m.mu.Unlock()
		return
	}
	if !m.table.policy.Record.ReadsLike(&p.Record) {
		messages{&m.table}.begin(true)
		m.void = true
		m.interrupt(nil)
	}
	m.table.rule(&p)
	m.finish(m.now())
}

// SetCordoned applies what a person wrote to the DiscoveredNode of that name. Without a node of that name it waits for one.
func (m *Mirror) SetCordoned(name string, cordoned bool) {
	m.mu.Lock()
	m.table.cordon(name, cordoned)
	m.finish(m.now())
}

// ForgetCordon applies that the DiscoveredNode of that name was deleted. That is no uncordon of a node, but the cordon of a
// name that nobody has is taken back with it.
func (m *Mirror) ForgetCordon(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.table.awaited.Delete(name)
}

// AcceptExpiry lets go the nodes that are silent while State.Held says so since that time, as a person has decided, and
// returns how many. since counts in whole seconds, as a status prints it. ok is false if nothing has been held since then.
func (m *Mirror) AcceptExpiry(since time.Time) (released int, ok bool) {
	m.mu.Lock()
	if h := m.held(); h != nil && h.Since.Truncate(time.Second).Equal(since.Truncate(time.Second)) {
		released, ok = silences{&m.table}.accept(), true
	}
	m.finish(m.now())
	return released, ok
}

// Node returns the node whose DiscoveredNode has that name, nil if there is none.
func (m *Mirror) Node(name string) *Node {
	node, behind := m.lookup(name)
	if !behind {
		return node
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.table.names[name]; e != nil {
		e.refresh()
		return e.node
	}
	return nil
}

// lookup returns the node of that name as it was published, nil if there is none; behind is true if it has heartbeated since.
func (m *Mirror) lookup(name string) (node *Node, behind bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if e := m.table.names[name]; e != nil {
		return e.node, e.behind
	}
	return nil, false
}

// Nodes returns all nodes, in no order. They may lack the last heartbeat.
func (m *Mirror) Nodes() []*Node {
	m.mu.RLock()
	defer m.mu.RUnlock()
	nodes := make([]*Node, 0, len(m.table.entries))
	for _, e := range m.table.entries {
		if e.node != nil {
			nodes = append(nodes, e.node)
		}
	}
	return nodes
}

// Select returns the nodes whose labels match, in no order. They may lack the last heartbeat.
func (m *Mirror) Select(selector labels.Selector) []*Node {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.table.labelSets.selected(selector)
}

// Keys returns the keys of all nodes that have the prefix: what a listing has to confirm.
func (m *Mirror) Keys() []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	keys := make([]string, 0, len(m.table.entries))
	for key, e := range m.table.entries {
		if !e.foreign {
			keys = append(keys, key)
		}
	}
	return keys
}

// State returns the state of the Mirror.
func (m *Mirror) State() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	records := m.table.records.state(m.table.entries, m.table.labels.Labels())
	records.TooSlow = m.state.Records.TooSlow
	records.Flapping, records.Flaps = m.table.budget.flapping()
	s := m.state
	s.Reading, s.Held, s.Excess, s.Nodes, s.Records = m.table.timing.clock.Listening(), m.held(), m.table.excess.len(), maps.Clone(m.out.phases), records
	return s
}

// Tally returns what has been counted. It has an entry for every operation and cause, also for those that never occurred.
func (m *Mirror) Tally() Tally {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return Tally{Events: maps.Clone(m.tally.Events), Listings: maps.Clone(m.tally.Listings)}
}

// Age returns how long ago a change was, on the clock that Node.Changed is on: the server's. A time with a monotonic
// reading was taken on this machine, and is compared with this machine's clock. ok is false if the change was not
// received as it happened: the listing that came last may have found it, however old it was by then.
func (m *Mirror) Age(changed time.Time) (age time.Duration, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if local := changed != changed.Round(0); local {
		age = m.clock.Since(changed)
	} else {
		age = m.now().Sub(changed)
	}
	return age, m.state.Listed && age <= m.clock.Since(m.state.LastSync)
}
