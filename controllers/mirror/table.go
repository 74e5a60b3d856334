package mirror

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// table holds the entries of one registry. Each of its methods applies one input: it changes an entry and marks what depends
// on it. settle then decides from the marked entries what each node is. The Mirror's lock guards it.
type table struct {
	registry types.NamespacedName
	policy   *Policy
	labels   *record.Labeller
	// generation counts the changes of what entries are read with.
	generation int

	entries map[string]*entry // by key
	names   map[string]*entry // by the name of the DiscoveredNode
	ids     identities
	sites   sites
	excess  excess
	checks  checks
	// overdue are the entries that are due, and some that were.
	overdue []*entry
	marked  []*entry
	timing  timing
	guard   guard
	out     *outbox
}

// put applies a message that holds a record.
func (t *table) put(x *kv.Entry) {
	f, load := record.Read(x, &t.policy.Record)
	e := t.entries[x.Key]
	if !t.policy.Record.Mirrors(x.Key, f.Origin) {
		t.drop(x.Key)
		return
	}
	f.Judge(t.labels, &t.policy.Record)
	switch {
	case e == nil && t.full():
		t.out.state = t.excess.put(*x, t.timing.clock.Now()) || t.out.state
	case e == nil:
		t.forgo(x.Key)
		t.join(x, f, load)
	case x.Revision == e.revision && (e.generation == 0 || x.Written.Equal(e.written)):
		// Another bucket counts its revisions from the beginning, so the revision alone does not name the message.
		t.confirm(e, x, f, load)
	default:
		t.heartbeat(e, x, f, load)
	}
}

// join adds a new node.
func (t *table) join(x *kv.Entry, f record.Facts, load string) {
	t.insert(&entry{
		key: x.Key, facts: f, load: load, generation: t.generation, firstSeen: x.Written, absent: never,
		written: x.Written, ttl: x.TTL, revision: x.Revision, heard: t.timing.clock.Hear(x.Age),
	})
}

// insert adds an entry.
func (t *table) insert(e *entry) {
	e.check, e.confirmed = never, never
	e.index = unqueued
	t.entries[e.key] = e
	t.guard.stale = true
	t.mark(e)
	t.checks.by(e, t.timing.next(e))
}

// confirm applies a message that a listing shows again: what is known already, and a sign of life only for who knows the
// node from memory alone. What was last written down, or read with another policy, is read again.
func (t *table) confirm(e *entry, x *kv.Entry, f record.Facts, load string) {
	e.written, e.ttl, e.absent = x.Written, x.TTL, never
	if e.generation == 0 {
		e.heard = t.timing.clock.Hear(x.Age)
	}
	if e.generation != t.generation {
		e.adopt(t.generation, f, load)
		t.mark(e)
	}
	t.checks.by(e, t.timing.next(e))
}

// heartbeat applies a sign of life of a known node. Where it changes nothing that is shown, it costs no more than a new
// Node.
func (t *table) heartbeat(e *entry, x *kv.Entry, f record.Facts, load string) {
	quiet := e.facts.Equal(&f) && e.silence == none && !e.superseded
	t.guard.stale = t.guard.stale || !quiet || e.due
	e.written, e.ttl, e.revision, e.absent = x.Written, x.TTL, x.Revision, never
	e.heard, e.notBefore = t.timing.clock.Hear(x.Age), 0
	e.silence, e.due, e.confirmed, e.accepted, e.superseded = none, false, never, false, false
	if quiet {
		// What is known already is kept, and not what says the same: the maps of a fleet's nodes are shared.
		e.generation, e.load = t.generation, load
		e.refresh()
	} else {
		e.adopt(t.generation, f, load)
		t.mark(e)
	}
	t.checks.by(e, t.timing.next(e))
}

// drop applies an unregistration, or that a key is none of the registry's.
func (t *table) drop(key string) {
	if e := t.entries[key]; e != nil {
		t.remove(e)
	}
	t.forgo(key)
}

// miss applies that a key is not in the bucket. That alone is no unregistration: the node goes at its deadline.
func (t *table) miss(key string) {
	e := t.entries[key]
	if e == nil {
		t.forgo(key)
		return
	}
	if e.absent == never {
		e.absent = t.timing.clock.Now()
	}
	t.checks.by(e, t.timing.next(e))
}

// remove forgets an entry. Whoever waited for its name gets it.
func (t *table) remove(e *entry) {
	delete(t.entries, e.key)
	t.checks.drop(e)
	t.sites.leave(e)
	if t.names[e.name] == e {
		delete(t.names, e.name)
	}
	if next := t.ids.part(e.indexed.id, e); next != nil {
		t.mark(next)
	}
	t.out.gone(e.node)
	t.guard.stale = true
}

// cordon applies what a person wrote to the DiscoveredNode of that name.
func (t *table) cordon(name string, cordoned bool) {
	if e := t.names[name]; e != nil && e.cordoned != cordoned {
		e.cordoned = cordoned
		t.mark(e)
	}
}

// rule applies another policy.
func (t *table) rule(p *Policy) {
	old := t.policy
	if old == nil || old.Record.Reader != p.Record.Reader || old.Record.KeyPrefix != p.Record.KeyPrefix {
		t.generation++
	}
	t.policy, t.labels = p, record.NewLabeller(t.registry.Name, p.Record.Labels)
	t.timing.staleAfter, t.timing.retain, t.timing.grace = p.StaleAfter, p.RetainExpired, p.grace(t.timing.ttl)
	t.guard.stale = true
	for key, e := range t.entries {
		if !p.Record.Mirrors(key, e.facts.Origin) {
			t.remove(e)
			continue
		}
		again := e.facts
		again.Judge(t.labels, &p.Record)
		if !e.facts.Equal(&again) {
			e.facts = again
			t.mark(e)
		}
	}
	t.recheck()
}

// bucket applies the TTL that the bucket has.
func (t *table) bucket(ttl time.Duration, messageTTL bool) {
	if t.timing.ttl != ttl || t.timing.messageTTL != messageTTL {
		t.timing.ttl, t.timing.messageTTL, t.timing.grace = ttl, messageTTL, t.policy.grace(ttl)
		t.recheck()
	}
}

// recheck finds again when every entry is looked at next.
func (t *table) recheck() {
	for _, e := range t.entries {
		t.checks.by(e, t.timing.next(e))
	}
}

// mark has settle look at the entry.
func (t *table) mark(e *entry) {
	if !e.marked {
		e.marked = true
		t.marked = append(t.marked, e)
	}
}

// settle decides what the nodes of the marked entries are, and publishes those that differ from what they were; at is the
// time of the change. First the marked entries are indexed by what they say now, which may mark others; then all names are
// taken back that others get; then every node is what its own entry and the indexes say.
func (t *table) settle(at time.Time) {
	t.admit()
	var marked []*entry
	for len(t.marked) > 0 {
		batch := t.marked
		t.marked = nil
		for _, e := range batch {
			if t.entries[e.key] == e {
				t.index(e)
			}
		}
		marked = append(marked, batch...)
	}
	marked = slices.DeleteFunc(marked, func(e *entry) bool { return t.entries[e.key] != e })
	for _, e := range marked {
		t.rename(e)
	}
	for _, e := range marked {
		e.marked = false
		t.names[e.name] = e
		e.superseded = e.superseded || t.timing.silent(e) && t.sites.superseded(e)
		t.publish(e, at)
	}
}

// index brings the indexes up to date with what the entry says.
func (t *table) index(e *entry) {
	if id := e.facts.Identity(); id != e.indexed.id || e.node == nil {
		if next := t.ids.part(e.indexed.id, e); next != nil {
			t.mark(next)
		}
		e.indexed.id = id
		if id != "" {
			t.yield(e, t.ids.join(id, e))
		}
	}
	if r := reachOf(&e.facts); !r.equal(e.indexed.reach) {
		t.sites.leave(e)
		e.indexed.reach = r
		if e.generation != 0 {
			e.placed = e.lastHeard()
		}
		t.sites.enter(e)
	}
}

// yield has the former holder of the entry's ID, nil for none, make room. One that has expired goes: the node has come back
// under another key.
func (t *table) yield(e, former *entry) {
	switch {
	case former == nil:
	case former.silence == expired:
		e.cordoned = e.cordoned || former.cordoned // A person cordoned the name.
		t.remove(former)
	default:
		t.mark(former)
	}
}

// rename decides the entry's name, and takes back the one that it had.
func (t *table) rename(e *entry) {
	holder := t.ids.holder(e.indexed.id)
	e.duplicate = holder != nil && holder != e
	name := record.KeyName(t.registry.Name, e.key)
	if holder == e {
		name = record.Name(t.registry.Name, e.indexed.id)
	}
	if name == e.name {
		return
	}
	if t.names[e.name] == e {
		delete(t.names, e.name)
	}
	if e.node != nil {
		t.out.gone(e.node)
		e.node = nil
	}
	e.name = name
}

// publish hands out the entry's Node if it is another one than before.
func (t *table) publish(e *entry, at time.Time) {
	next := e.snapshot(t.registry, at)
	if old := e.node; old != nil && old.same(next) {
		next.Changed = old.Changed
	} else {
		t.out.put(old, next)
	}
	e.node = next
}

// full returns true if no more entries are mirrored.
func (t *table) full() bool { return t.policy.MaxNodes > 0 && len(t.entries) >= t.policy.MaxNodes }

// forgo lets a key that is gone from the bucket no longer wait for a place.
func (t *table) forgo(key string) { t.out.state = t.excess.drop(key) || t.out.state }

// admit fills the places that have become free, with those that have waited longest.
func (t *table) admit() {
	for t.excess.len() > 0 && !t.full() {
		w, ok := t.excess.next()
		if !ok {
			return
		}
		t.out.state = true
		f, load := record.Read(&w.Entry, &t.policy.Record)
		if t.timing.late(&w) || !t.policy.Record.Mirrors(w.Key, f.Origin) {
			continue
		}
		f.Judge(t.labels, &t.policy.Record)
		w.Age += t.timing.clock.Now() - w.since
		t.join(&w.Entry, f, load)
	}
}
