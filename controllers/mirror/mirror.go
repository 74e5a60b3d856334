package mirror

import (
	"container/heap"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// observer hears of what changes in a Mirror. Its methods must not block; they are called without the Mirror's lock, told
// of what to look at, and whoever listens reads the Mirror afterwards.
type observer interface {
	nodesChanged(changes []Change)
	registrySettled(registry types.NamespacedName)
	stateChanged(registry types.NamespacedName)
}

// Mirror holds the last known state of every key of one NodeRegistry. It is a kv.Sink, which the bucket's Watcher
// fills; the passing of deadlines, which Advance notices, and the disruption guard do the rest. It is safe for concurrent
// use.
type Mirror struct {
	registry types.NamespacedName
	clock    clock.Clock
	observer observer
	wake     chan struct{}

	mu      sync.RWMutex
	policy  Policy
	entries map[string]*entry   // by key
	names   map[string]*entry   // by the name of the DiscoveredNode
	ids     map[string][]*entry // by node ID; the first has the name
	excess  excess
	claims  claims
	labels  *labeller
	checks  checks
	counts  map[rollcallv1alpha1.NodePhase]int
	guard   guard
	d       deadlines
	link    link
	outbox  outbox
	tally   tally
	// generation counts the changes of what entries are read with.
	generation int
}

// link is what is known of the way to the bucket.
type link struct {
	// reading says that the bucket is being watched and was listed completely since the last gap: deadlines pass.
	reading bool
	// listing is the cause of the listing that is under way; empty if none is.
	listing kv.Cause
	// listed says that the bucket was listed completely since start, lastSync when that was the last time.
	listed   bool
	lastSync time.Time
	// since is when reading last changed, err why the bucket can't be read.
	since  time.Time
	err    error
	bucket kv.Bucket
}

var _ kv.Sink = &Mirror{}

// newMirror returns a Mirror that knows nothing yet.
func newMirror(registry types.NamespacedName, p Policy, c clock.Clock, o observer) *Mirror {
	m := &Mirror{
		registry: registry,
		clock:    c,
		observer: o,
		wake:     make(chan struct{}, 1),
		entries:  map[string]*entry{},
		names:    map[string]*entry{},
		ids:      map[string][]*entry{},
		claims:   claims{},
		counts:   map[rollcallv1alpha1.NodePhase]int{},
		link:     link{since: c.Now()},
	}
	m.setPolicy(p)
	return m
}

// Node returns the node whose DiscoveredNode has that name, nil if there is none.
func (m *Mirror) Node(name string) *Node {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if e := m.names[name]; e != nil {
		return e.node
	}
	return nil
}

// Nodes returns all nodes, in no order.
func (m *Mirror) Nodes() []*Node {
	m.mu.RLock()
	defer m.mu.RUnlock()
	nodes := make([]*Node, 0, len(m.entries))
	for _, e := range m.entries {
		nodes = append(nodes, e.node)
	}
	return nodes
}

// Keys returns the keys of all nodes: what a listing has to confirm.
func (m *Mirror) Keys() []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Collect(maps.Keys(m.entries))
}

// SetPolicy puts another policy in force, and reads again what follows from it. Changes of KeyPrefix, Reader and
// IncludeLocal need a new listing besides: what is not known yet, and what was read otherwise, is taken in from there.
// A lower MaxNodes takes no node out: those that are in stay in.
func (m *Mirror) SetPolicy(p Policy) {
	m.mu.Lock()
	if m.policy.equal(p) {
		m.mu.Unlock()
		return
	}
	m.setPolicy(p)
	now := m.now()
	for _, e := range slices.Collect(maps.Values(m.entries)) {
		if !p.mirrors(e.key, e.facts.origin) {
			m.remove(e, now)
			continue
		}
		renewed := e.facts
		renewed.judge(m.labels, &m.policy)
		if !e.facts.equal(&renewed) {
			m.revise(e, now, func() { e.facts = renewed })
		}
	}
	m.recheck()
	m.unlockAndTell()
}

func (m *Mirror) setPolicy(p Policy) {
	if m.generation == 0 || m.policy.Reader != p.Reader || m.policy.KeyPrefix != p.KeyPrefix {
		m.generation++
	}
	m.policy = p
	m.labels = newLabeller(m.registry.Name, p.Labels)
	m.d.staleAfter, m.d.retain = p.StaleAfter, p.RetainExpired
	m.d.grace = p.grace(m.d.ttl)
}

// SetCordoned tells what people wrote to the DiscoveredNode.
func (m *Mirror) SetCordoned(name string, cordoned bool) {
	m.mu.Lock()
	e := m.names[name]
	if e == nil || e.cordoned == cordoned {
		m.mu.Unlock()
		return
	}
	m.revise(e, m.now(), func() { e.cordoned = cordoned })
	m.unlockAndTell()
}

// now returns the time on the server's clock. The monotonic clock carries it on from the server's last word, so a step of
// the local wall clock moves no deadline.
func (m *Mirror) now() time.Time {
	b := &m.link.bucket
	if b.ServerTime.IsZero() {
		return m.clock.Now()
	}
	return b.ServerTime.Add(m.clock.Since(b.ReceivedAt))
}

// revise changes an entry through change, publishes what it now looks like, and the rivals that this gives or takes.
func (m *Mirror) revise(e *entry, at time.Time, change func()) {
	touched := m.claims.leave(e)
	id := e.identity()
	change()
	var heir *entry
	if e.identity() != id {
		heir = m.strike(e, id)
		m.enroll(e, at)
	}
	touched = append(touched, m.claims.enter(e)...)
	m.publish(e, at)
	for _, other := range touched {
		m.publish(other, at)
	}
	m.promote(heir, at)
}

// publish hands out a new Node for the entry. at is the time of the change, if it turns out to be one.
func (m *Mirror) publish(e *entry, at time.Time) {
	old := e.node
	e.node = m.snapshot(e, at)
	switch {
	case old == nil:
	case old.Name != e.node.Name:
		m.count(old.Phase, -1)
		m.outbox.put(Change{Old: old})
		old = nil
	case old.same(e.node):
		e.node.Changed = old.Changed
		return
	default:
		m.count(old.Phase, -1)
	}
	m.count(e.node.Phase, 1)
	m.outbox.put(Change{Old: old, New: e.node})
}

func (m *Mirror) snapshot(e *entry, at time.Time) *Node {
	phase, reason, message := e.phase()
	return &Node{
		Namespace: m.registry.Namespace, Registry: m.registry.Name, Name: e.name,
		Key: strings.ToValidUTF8(e.key, "\uFFFD"), ID: e.facts.id,
		DisplayName: e.facts.displayName, Addresses: e.facts.addresses, Ports: e.facts.ports,
		Zone: e.facts.zone, Metadata: e.facts.metadata, Labels: e.facts.labels,
		Phase: phase, Reason: reason, Message: message, Cordoned: e.cordoned,
		Load: e.load, LastHeartbeat: e.written, Revision: e.revision, Changed: at, FirstSeen: e.firstSeen,
		Remembered: e.generation == 0,
	}
}

func (m *Mirror) count(phase rollcallv1alpha1.NodePhase, by int) {
	m.counts[phase] += by
	m.outbox.state = true
}

// insert makes the entry known. Its facts must be set.
func (m *Mirror) insert(e *entry, at time.Time) {
	e.index = unqueued
	m.entries[e.key] = e
	m.enroll(e, at)
	m.revise(e, at, func() {})
	m.queue(e)
}

// remove forgets the entry.
func (m *Mirror) remove(e *entry, at time.Time) {
	for _, other := range m.claims.leave(e) {
		m.publish(other, at)
	}
	delete(m.entries, e.key)
	heir := m.strike(e, e.identity())
	if e.index != unqueued {
		heap.Remove(&m.checks, e.index)
	}
	m.count(e.node.Phase, -1)
	m.outbox.put(Change{Old: e.node})
	m.promote(heir, at)
}

// queue makes sure that the entry is looked at when it next needs to be, or earlier.
func (m *Mirror) queue(e *entry) {
	at, ok := m.d.next(e)
	switch {
	case !ok:
	case e.index == unqueued:
		e.check = at
		heap.Push(&m.checks, e)
	case at.Before(e.check):
		e.check = at
		heap.Fix(&m.checks, e.index)
	}
	if ok && e.index == 0 {
		m.prod()
	}
}

// recheck finds anew when every entry is to be looked at.
func (m *Mirror) recheck() {
	for _, e := range m.checks {
		e.index = unqueued
	}
	m.checks = m.checks[:0]
	for _, e := range m.entries {
		if at, ok := m.d.next(e); ok {
			e.check, e.index = at, len(m.checks)
			m.checks = append(m.checks, e)
		}
	}
	heap.Init(&m.checks)
	m.prod()
}

// prod makes Run look at the checks again.
func (m *Mirror) prod() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}
