package mirror

import (
	"cmp"
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery/kv"
	"github.com/rollcall-dev/rollcall/discovery/liveness"
)

// listingPatience is how long a listing may hold back the changes that it finds. A listing of 100,000 keys takes a quarter
// of a second; over a slow link it must not blind everybody for longer than this.
const listingPatience = time.Second

// observer hears of what changes in a Mirror. Its methods must not block; they are called without the Mirror's lock, told
// of what to look at, and whoever listens reads the Mirror afterwards.
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

	// wake has a signal while there are messages to be read.
	wake chan struct{}

	mu    sync.RWMutex
	table table
	link  link
	out   outbox
	tally tally
}

var _ kv.Sink = &Mirror{}

// newMirror returns a Mirror that goes on from what was written down: who was held, nil for nobody, and the nodes.
func newMirror(registry types.NamespacedName, p Policy, h *Held, nodes []*rollcallv1alpha1.DiscoveredNode, c clock.Clock, o observer) *Mirror {
	m := &Mirror{
		registry: registry, clock: c, observer: o, link: link{since: c.Now()}, wake: make(chan struct{}, 1),
		out: outbox{phases: map[rollcallv1alpha1.NodePhase]int{}},
	}
	m.table = table{
		registry: registry, entries: map[string]*entry{}, names: map[string]*entry{}, ids: identities{}, sites: sites{},
		timing: timing{clock: liveness.NewClock(kv.DefaultSilenceLimit)}, out: &m.out,
		departed: newDeparted(), records: newRecords(), coming: map[string]struct{}{},
	}
	m.table.rule(&p)
	m.table.seed(nodes)
	m.link.store.restore(h, &m.table.guard, c.Now())
	m.table.settle(c.Now()) // Whoever finds the Mirror in the Store finds a Node for each key.
	return m
}

// start publishes what was written down.
func (m *Mirror) start() {
	m.mu.Lock()
	m.finish(m.link.now(m.clock))
}

// finish ends an input: it settles what the input marked, releases the lock, then tells the observer; at is the time of the
// change.
func (m *Mirror) finish(at time.Time) {
	m.table.settle(at)
	now := m.clock.Now()
	messages{&m.table}.admit(now)
	m.out.state = m.table.unread.lateChanged(now) || m.out.state
	if m.table.unread.len() > 0 {
		select {
		case m.wake <- struct{}{}:
		default: // There is one already.
		}
	}
	changes, state, settled := m.out.take(now)
	m.mu.Unlock()
	if len(changes) > 0 {
		m.observer.nodesChanged(changes)
	}
	if settled {
		m.observer.registrySettled(m.registry)
	}
	if state {
		m.observer.stateChanged(m.registry)
	}
}

// Listing implements kv.Observer.
func (m *Mirror) Listing(cause kv.Cause) {
	m.mu.Lock()
	m.tally.listing(cause)
	if cause.Gap() || !m.link.pending() {
		m.link.listing, m.link.shown = cause, false
	}
	switch {
	case cause == kv.CauseStart:
		m.link.void = false
		messages{&m.table}.begin(m.link.listed || m.table.staging)
	case cause == kv.CauseRecreated && m.table.staging:
		messages{&m.table}.begin(true)
	}
	if cause.Gap() {
		m.interrupt(nil)
		m.out.closed = m.clock.Now().Add(listingPatience)
	}
	m.finish(m.link.now(m.clock))
}

// Disconnected implements kv.Observer.
func (m *Mirror) Disconnected(err error) {
	m.mu.Lock()
	m.link.listing, m.link.shown, m.out.closed = "", false, time.Time{}
	m.interrupt(err)
	m.finish(m.link.now(m.clock))
}

// interrupt begins a gap.
func (m *Mirror) interrupt(err error) {
	if m.table.timing.clock.Listening() {
		m.link.since = m.clock.Now()
	}
	m.table.timing.clock.Stop()
	m.link.err, m.out.state = err, true
}

// Synced implements kv.Observer.
func (m *Mirror) Synced(b kv.Bucket) {
	m.mu.Lock()
	m.setBucket(b)
	if !m.link.shown {
		m.link.shown, m.link.end = true, m.table.unread.pushed
	}
	m.proceed()
	m.finish(m.link.now(m.clock))
}

// proceed ends the listing that is under way, once what it has shown is read.
func (m *Mirror) proceed() {
	if m.link.void || !m.link.shown || !m.table.unread.read(m.link.end) {
		return
	}
	m.link.lastSync, m.out.state = m.clock.Now(), true
	if m.link.listing.Gap() {
		messages{&m.table}.commit()
		m.out.settled = !m.link.listed
		m.link.listed, m.link.err, m.link.since = true, nil, m.clock.Now()
		m.table.timing.clock.Start()
	}
	m.link.listing, m.link.shown, m.out.closed = "", false, time.Time{}
	m.out.state = m.table.excess.prune(m.table.timing.late) || m.out.state
}

// Bucket implements kv.Observer.
func (m *Mirror) Bucket(b kv.Bucket) {
	m.mu.Lock()
	m.setBucket(b)
	m.finish(m.link.now(m.clock))
}

// setBucket applies what the server says of the bucket.
func (m *Mirror) setBucket(b kv.Bucket) {
	old := m.link.bucket
	if b.TTL == 0 && b.Store.Refusal == kv.Sealed {
		// Sealing a stream takes its TTL away. What died before is dead all the same, once a person accepts it.
		b.TTL = cmp.Or(old.TTL, m.table.policy.FallbackTTL)
	}
	m.link.bucket = b
	m.table.bucket(b.TTL, b.MessageTTL)
	silences{&m.table}.store(b.Store)
	m.link.store.observe(b.Store, m.clock.Now())
	// The counts of who is held change while the store refuses.
	m.out.state = m.out.state || b.Store.Refusal != "" || !alike(&old, &b)
}

// Arrived implements kv.Sink.
func (m *Mirror) Arrived(at time.Time) {
	m.mu.Lock()
	m.table.timing.clock.Arrived(at)
	silences{&m.table}.pass(m.clock.Now())
	m.finish(m.link.now(m.clock))
}

// Entry implements kv.Observer.
func (m *Mirror) Entry(x kv.Entry) {
	m.mu.Lock()
	m.tally.event(x.Operation)
	switch x.Operation {
	case kv.Put:
		messages{&m.table}.put(&x, m.clock.Now())
	case kv.Unregister:
		messages{&m.table}.unregister(&x)
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
	m.finish(m.link.now(m.clock))
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
	m.finish(m.link.now(m.clock))
}

// Withheld implements kv.Sink.
func (m *Mirror) Withheld(keys []string) {
	m.mu.Lock()
	silences{&m.table}.withhold(keys)
	m.finish(m.link.now(m.clock))
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
		m.link.void = true
		m.interrupt(nil)
	}
	m.table.rule(&p)
	m.finish(m.link.now(m.clock))
}

// SetCordoned applies what a person wrote to the DiscoveredNode of that name.
func (m *Mirror) SetCordoned(name string, cordoned bool) {
	m.mu.Lock()
	m.table.cordon(name, cordoned)
	m.finish(m.link.now(m.clock))
}

// AcceptExpiry lets go the nodes that are silent while State.Held says so since that time, as a person has decided, and
// returns how many. since counts in whole seconds, as a status prints it. ok is false if nothing has been held since then.
func (m *Mirror) AcceptExpiry(since time.Time) (released int, ok bool) {
	m.mu.Lock()
	if h := m.link.store.held(&m.table); h != nil && h.Since.Truncate(time.Second).Equal(since.Truncate(time.Second)) {
		released, ok = silences{&m.table}.accept(), true
	}
	m.finish(m.link.now(m.clock))
	return released, ok
}

// Node returns the node whose DiscoveredNode has that name, nil if there is none.
func (m *Mirror) Node(name string) *Node {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if e := m.table.names[name]; e != nil {
		return e.node
	}
	return nil
}

// Nodes returns all nodes, in no order.
func (m *Mirror) Nodes() []*Node {
	m.mu.RLock()
	defer m.mu.RUnlock()
	nodes := make([]*Node, 0, len(m.table.entries))
	for _, e := range m.table.entries {
		nodes = append(nodes, e.node)
	}
	return nodes
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

// Listed returns true once the bucket has been listed completely since start. It is cheap: it is asked for each endpoint.
func (m *Mirror) Listed() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.link.listed
}

// State returns the state of the Mirror.
func (m *Mirror) State() State {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return State{
		Reading: m.table.timing.clock.Listening(), Since: m.link.since, Err: m.link.err,
		Listed: m.link.listed, LastSync: m.link.lastSync, Bucket: m.link.bucket,
		Held: m.link.store.held(&m.table), Excess: m.table.excess.len(), Nodes: maps.Clone(m.out.phases),
		Records: m.records(),
	}
}

func (m *Mirror) records() Records {
	r := m.table.records.state(m.table.labels.Labels())
	r.TooSlow = m.table.unread.late
	return r
}

// Tally returns what has been counted. It has an entry for every operation and cause, also for those that never occurred.
func (m *Mirror) Tally() Tally {
	t := Tally{
		Events: map[kv.Operation]uint64{},
		Listings: map[kv.Cause]uint64{
			kv.CauseStart: 0, kv.CauseReconnect: 0, kv.CauseMissedHeartbeat: 0, kv.CauseSequenceGap: 0,
			kv.CauseRecreated: 0, kv.CausePurged: 0, kv.CauseError: 0, kv.CausePeriodic: 0, kv.CausePlanned: 0,
		},
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	for operation, n := range m.tally.events {
		t.Events[kv.Operation(operation)] = n
	}
	maps.Copy(t.Listings, m.tally.listings)
	return t
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
		age = m.link.now(m.clock).Sub(changed)
	}
	return age, m.link.listed && age <= m.clock.Since(m.link.lastSync)
}
