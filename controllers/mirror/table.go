package mirror

import (
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/lru"

	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// table holds the entries of one registry. Each of its methods, and those of messages and silences, applies one input: it
// changes an entry and marks what depends on it. settle then decides from the marked entries what each node is. The Mirror's
// lock guards it.
type table struct {
	registry types.NamespacedName
	policy   *Policy
	labels   *record.Labeller

	entries map[string]*entry // by key
	names   map[string]*entry // by the name of the DiscoveredNode
	// foreign counts the entries without the prefix of the policy, which take no place below MaxNodes.
	foreign   int
	ids       identities
	sites     sites
	labelSets labelSets
	unread    unread
	// excess are the messages of keys beyond MaxNodes, staged those of a listing that is to take effect in one step; nil: the
	// listing does not.
	excess, staged *shelf
	departed       *lru.Cache // of departures, by key
	// awaited are the names that a person has cordoned and no entry has.
	awaited sets.Set[string]
	// unsettled is true while memory is not settled.
	unsettled bool
	records   records
	checks    queue[*entry]
	// overdue are the entries that are due, and some that were.
	overdue []*entry
	marked  []*entry
	timing  timing
	guard   guard
	budget  budget
	out     *outbox
}

// find returns the entry of a message's key, nil if there is none. Where the Watcher has found what it knows of the key, the entry is
// at hand: to look for each of 100,000 keys is most of what a heartbeat costs besides receiving it.
func (t *table) find(x *kv.Entry) *entry {
	if x.Memo == nil {
		return t.entries[x.Key]
	}
	if e, _ := x.Memo.Of.(*entry); e != nil && e.table == t {
		return e
	}
	e := t.entries[x.Key]
	if x.Memo.Of = nil; e != nil {
		x.Memo.Of = e
	}
	return e
}

// insert adds an entry.
func (t *table) insert(e *entry) {
	e.answer, e.index, e.table = never, unqueued, t
	t.entries[e.key] = e
	if e.foreign {
		t.foreign++
	}
	t.guard.stale = true
	t.mark(e)
	t.checks.by(e, t.timing.next(e))
}

// remove forgets an entry. Whoever waited for its name gets it.
func (t *table) remove(e *entry) {
	delete(t.entries, e.key)
	e.table = nil
	if e.foreign {
		t.foreign--
	}
	t.checks.drop(e)
	t.sites.leave(e)
	if t.names[e.name] == e {
		delete(t.names, e.name)
	}
	if next := t.ids.part(e.indexed.id, e); next != nil {
		t.mark(next)
	}
	t.withdraw(e)
	t.records.replace(e, contribution{})
	t.guard.stale = true
}

// rule applies another policy. Entries that do not have its prefix stay until its listing is complete.
func (t *table) rule(p *Policy) {
	sameLabels := t.policy != nil && maps.Equal(t.policy.Record.Labels, p.Record.Labels)
	t.policy, t.labels = p, record.NewLabeller(t.registry.Name, p.Record.Labels)
	t.timing.policy = p
	t.guard.stale, t.out.state, t.foreign = true, true, 0
	for key, e := range t.entries {
		if e.foreign = !strings.HasPrefix(key, p.Record.KeyPrefix); e.foreign {
			t.foreign++
		}
		if !e.foreign && !p.Record.Mirrors(key, e.facts.Origin) {
			t.remove(e)
			continue
		}
		last := e.facts.Labels
		if !sameLabels {
			last = nil
		}
		e.facts.Judge(t.labels, &p.Record, last)
		t.mark(e)
	}
	t.recheck()
}

// bucket applies the TTL that the bucket has.
func (t *table) bucket(b *kv.Bucket) {
	if lives := (kv.Bucket{TTL: b.TTL, MessageTTL: b.MessageTTL}); t.timing.bucket != lives {
		t.timing.bucket = lives
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
	if len(t.marked) == 0 {
		return
	}
	var marked []*entry
	for len(t.marked) > 0 {
		batch := t.marked
		t.marked = nil
		for _, e := range batch {
			if e.table == t {
				t.index(e)
			}
		}
		marked = append(marked, batch...)
	}
	marked = slices.DeleteFunc(marked, func(e *entry) bool { return e.table != t })
	for _, e := range marked {
		t.rename(e)
	}
	for _, e := range marked {
		e.marked = false
		t.names[e.name] = e
		t.shade(e)
		t.publish(e, at)
		if e.shown() {
			t.count(e)
		}
	}
}

// index brings the indexes up to date with what the entry says.
func (t *table) index(e *entry) {
	if id := e.facts.Identity(); id != e.indexed.id {
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
		if !e.remembered {
			e.placed = e.lastHeard()
		}
		t.sites.enter(e)
		for at := range r.sites {
			for _, o := range t.sites.newest(at) {
				if o != e && t.timing.silent(o) {
					t.mark(o) // Its successor may have come.
				}
			}
		}
	}
}

// shade decides what others at its addresses make of a silent node, and returns true if that is news.
func (t *table) shade(e *entry) bool {
	was := e.shadow
	if t.timing.silent(e) {
		e.shadow = max(was, t.sites.shadow(e))
	}
	return e.shadow != was
}

// count brings what the entry contributes to the counts up to date.
func (t *table) count(e *entry) {
	now := contributionOf(e, &t.timing)
	if e.counted.equal(&now) {
		return
	}
	if now.is[countSparse] {
		t.records.interval = e.interval
	}
	t.records.replace(e, now)
	t.out.state = true
}

// yield has the former holder of the entry's ID, nil for none, make room. One that has expired, or whose key has another prefix
// than the policy, goes: the node has come back under another key.
func (t *table) yield(e, former *entry) {
	switch {
	case former == nil:
	case former.silence == expired || former.foreign:
		e.cordoned = e.cordoned || former.cordoned // A person cordoned the name.
		if former.foreign {
			e.firstSeen = former.firstSeen
			if !e.facts.Good {
				e.facts = e.facts.Refused(e.facts.Refusal, &former.facts)
				e.facts.Judge(t.labels, &t.policy.Record, former.facts.Labels)
			}
		}
		t.remove(former)
	default:
		t.mark(former)
	}
}

// rename decides the entry's name, and takes back the one that it had.
func (t *table) rename(e *entry) {
	holder := t.ids.holder(e.indexed.id)
	e.duplicate = holder != nil && holder != e
	after := ""
	if holder == e {
		after = e.indexed.id
	}
	if e.name != "" && after == e.after {
		return
	}
	var name string
	if e.after = after; after != "" {
		name = record.Name(t.registry.Name, after)
	} else {
		name = record.KeyName(t.registry.Name, e.key)
	}
	if t.names[e.name] == e {
		delete(t.names, e.name)
	}
	t.withdraw(e)
	e.name = name
	if t.awaited.Has(name) {
		t.awaited.Delete(name)
		e.cordoned = true
	}
}

// cordon applies what a person wrote to the DiscoveredNode of that name. A name that nobody has yet is cordoned when it has an
// entry.
func (t *table) cordon(name string, cordoned bool) {
	switch e := t.names[name]; {
	case e == nil && cordoned:
		t.awaited.Insert(name)
	case e == nil:
		t.awaited.Delete(name)
	case e.cordoned != cordoned:
		e.cordoned = cordoned
		t.mark(e)
	}
}

// publish hands out the entry's Node if it is another one than before, as far as the budget allows.
func (t *table) publish(e *entry, at time.Time) {
	old, next := e.node, e.snapshot(t.registry, at)
	if old == nil || !old.same(next) {
		next = t.afford(e.key, old, next)
	}
	switch {
	case next == nil:
		return
	case old != nil && old.same(next):
		next.Changed = old.Changed
	default:
		t.out.put(old, next)
	}
	e.node, e.behind = next, false
	t.labelSets.enter(e)
}

// afford returns what a node may be that was old, nil if there was none, and is next: that or, where its budget is spent, no more
// than it was; nil if there is nothing to show until then.
func (t *table) afford(key string, old, next *Node) *Node {
	if t.budget.allows(key) {
		if old != nil || t.budget.knows(key) {
			t.budget.spend(key)
		}
		return next
	}
	t.out.state = t.budget.wait(key) || t.out.state
	if old == nil {
		return nil
	}
	less := next.within(old)
	if !old.Flapping || !old.reaches(less) {
		t.budget.spend(key)
	}
	return less
}

// withdraw takes the entry's Node back.
func (t *table) withdraw(e *entry) {
	if e.node != nil {
		t.budget.spend(e.key)
		t.out.gone(e.node)
		t.labelSets.leave(e)
		e.node, e.behind = nil, false
	}
}

// refill has the nodes looked at that may change again.
func (t *table) refill() {
	keys, calmed := t.budget.refill()
	for _, key := range keys {
		if e := t.entries[key]; e != nil && !e.shown() {
			t.mark(e)
		}
	}
	t.out.state = t.out.state || calmed
}

// full returns true if no more entries are mirrored.
func (t *table) full() bool {
	return t.policy.MaxNodes > 0 && len(t.entries)-t.foreign >= t.policy.MaxNodes
}
