package mirror

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// stored is the last message of a key.
type stored struct {
	value    string
	revision uint64
	written  time.Time
	deleted  bool
}

// world is a bucket, whoever follows it, and a Mirror, to which anything may happen in any order.
type world struct {
	t     *testing.T
	r     *rand.Rand
	m     *Mirror
	clk   *clocktesting.FakeClock
	p     Policy
	bkt   map[string]*stored
	rev   uint64
	known map[string]uint64 // what the watcher of this session has delivered
	live  bool              // followed
	lists bool              // a listing is under way, not yet synced
	view  map[string]*Node
	log   []string
}

func (w *world) nodesChanged(changes []Change) {
	for _, c := range changes {
		name := c.Name().Name
		if c.New == nil {
			delete(w.view, name)
		} else {
			w.view[name] = c.New
		}
	}
}

func (w *world) registrySettled(types.NamespacedName) {}

func (w *world) stateChanged(types.NamespacedName) {}

func (w *world) now() time.Time { return w.clk.Now() }

func (w *world) bucket() kv.Bucket {
	return kv.Bucket{Name: "b", TTL: testTTL, ServerTime: w.now(), ReceivedAt: w.now()}
}

// entry returns the last message of a key as a listing shows it.
func (w *world) entry(key string) kv.Entry {
	s := w.bkt[key]
	e := kv.Entry{Key: key, Revision: s.revision, Written: s.written, Age: w.now().Sub(s.written)}
	if s.deleted {
		e.Operation = kv.Unregister
	} else {
		e.Value = []byte(s.value)
	}
	return e
}

// deliver shows the last message of a key, if the Watcher has not shown it yet.
func (w *world) deliver(key string) {
	s := w.bkt[key]
	if s.revision <= w.known[key] || len(key) < len(w.p.Record.KeyPrefix) || key[:len(w.p.Record.KeyPrefix)] != w.p.Record.KeyPrefix {
		return
	}
	w.known[key] = s.revision
	w.m.Entry(w.entry(key))
}

// expire removes the keys that are past their TTL.
func (w *world) expire() {
	for key, s := range w.bkt {
		if w.now().Sub(s.written) >= testTTL {
			delete(w.bkt, key)
		}
	}
}

func (w *world) put(key, value string) {
	w.rev++
	w.bkt[key] = &stored{value: value, revision: w.rev, written: w.now()}
	if w.live {
		w.deliver(key)
	}
}

func (w *world) del(key string) {
	if s := w.bkt[key]; s == nil || s.deleted {
		return
	}
	w.rev++
	w.bkt[key] = &stored{revision: w.rev, written: w.now(), deleted: true}
	if w.live {
		w.deliver(key)
	}
}

// list begins a listing, and shows a part of it or all.
func (w *world) list(cause kv.Cause, part bool) {
	if cause == kv.CauseStart {
		w.known = map[string]uint64{}
		for _, key := range w.m.Keys() {
			w.known[key] = 0
		}
	}
	w.m.Listing(cause)
	w.live, w.lists = true, true
	w.m.Arrived(w.now())
	keys := slices.SortedFunc(maps.Keys(w.bkt), func(a, b string) int { return int(w.bkt[a].revision) - int(w.bkt[b].revision) })
	if part {
		keys = keys[:w.r.IntN(len(keys)+1)]
	}
	for _, key := range keys {
		w.deliver(key)
		if w.r.IntN(4) == 0 {
			w.readSome()
		}
	}
	if !part {
		w.sync()
	}
}

// sync ends a listing.
func (w *world) sync() {
	for _, key := range slices.SortedFunc(maps.Keys(w.bkt), func(a, b string) int { return int(w.bkt[a].revision) - int(w.bkt[b].revision) }) {
		w.deliver(key)
	}
	w.lists = false
	w.m.Synced(w.bucket())
	var absent []string
	for key := range w.known {
		if w.bkt[key] == nil {
			absent = append(absent, key)
			delete(w.known, key)
		}
	}
	if len(absent) > 0 {
		w.m.Absent(absent)
	}
}

func (w *world) readSome() { w.m.readSome(w.t.Context()) }

// drain reads everything that waits.
func (w *world) drain() {
	for read := 1; read > 0; {
		read, _ = w.m.readSome(w.t.Context())
	}
}

func (w *world) pass(d time.Duration) {
	for ; d > 0; d -= arrival {
		w.clk.Step(arrival)
		w.expire()
		if !w.live {
			continue
		}
		w.m.Arrived(w.now())
		if keys := w.m.Overdue(); len(keys) > 0 && !w.lists {
			w.m.Silent(keys)
		}
	}
}

func (w *world) value(key string) string {
	ids := key[len(key)-1:]
	n := int(key[len(key)-1] - 'a')
	if w.r.IntN(8) == 0 {
		n = w.r.IntN(6)
	}
	switch w.r.IntN(10) {
	case 0:
		return "?"
	case 1:
		return fmt.Sprintf(`{"NodeId":%q,"Endpoint":7,"Draining":true}`, ids)
	case 2:
		return fmt.Sprintf(`{"NodeId":%q,"Endpoint":"http://127.0.0.1:80"}`, ids)
	case 3:
		return `{"NodeId":"zz","Endpoint":"http://10.0.0.1:80"}`
	case 4:
		return fmt.Sprintf(`{"NodeId":%q,"Endpoint":"http://10.0.0.%d:80","Owner":{"Cluster":"here","UID":"u"}}`, ids, n)
	case 5:
		return fmt.Sprintf(`{"NodeId":%q,"Endpoint":"http://10.0.0.%d:80","Load":NaN,"Metadata":{"role":"web"}}`, ids, n)
	}
	return fmt.Sprintf(`{"NodeId":%q,"Endpoint":"http://10.0.0.%d:80","Metadata":{"role":"web"}}`, ids, n)
}

// check compares the Mirror with itself and, in the end, with the bucket.
func (w *world) check(final bool) {
	t := &w.m.table
	sum := newRecords()
	phases := map[rollcallv1alpha1.NodePhase]int{}
	foreign := 0
	for key, e := range t.entries {
		if e.key != key || e.node == nil || t.names[e.name] != e || e.node.Name != e.name {
			w.t.Fatalf("%v\n%s: names are wrong", w.log, key)
		}
		c := contributionOf(e, &t.timing)
		if !e.counted.equal(&c) {
			w.t.Fatalf("%v\n%s: counted %+v, is %+v", w.log, key, e.counted, c)
		}
		sum.add(&c, 1)
		phases[e.node.Phase]++
		if e.foreign {
			foreign++
		}
		if id := e.indexed.id; id != "" {
			i := t.ids[id]
			if i == nil || !slices.Contains(i.all, e) || e.duplicate != (i.holder != e) {
				w.t.Fatalf("%v\n%s: ids are wrong", w.log, key)
			}
		}
		if e.indexed.id != e.facts.Identity() {
			w.t.Fatalf("%v\n%s: indexed %s, is %s", w.log, key, e.indexed.id, e.facts.Identity())
		}
		if !e.indexed.equal(reachOf(&e.facts)) {
			w.t.Fatalf("%v\n%s: reach", w.log, key)
		}
	}
	if len(t.names) != len(t.entries) {
		w.t.Fatalf("%v\n%d names of %d", w.log, len(t.names), len(t.entries))
	}
	labelled := 0
	for _, l := range t.labelSets {
		labelled += len(l.entries)
		for i, e := range l.entries {
			if t.entries[e.key] != e || e.labelled != l || e.place != i || !maps.Equal(e.node.Labels, l.labels) {
				w.t.Fatalf("%v\n%s is under the labels %v", w.log, e.key, l.labels)
			}
		}
	}
	if labelled != len(t.entries) {
		w.t.Fatalf("%v\n%d of %d are under their labels", w.log, labelled, len(t.entries))
	}
	for at, there := range t.sites {
		for _, e := range there {
			if t.entries[e.key] != e {
				w.t.Fatalf("%v\n%v has a ghost %s", w.log, at, e.key)
			}
		}
	}
	a, b := t.records.state(t.entries, nil), sum.state(t.entries, nil)
	a.Interval, b.Interval = 0, 0
	if fmt.Sprint(a) != fmt.Sprint(b) {
		w.t.Fatalf("%v\nrecords %+v, are %+v", w.log, a, b)
	}
	for phase, n := range w.m.out.phases {
		if phases[phase] != n {
			w.t.Fatalf("%v\nphases %v, are %v", w.log, w.m.out.phases, phases)
		}
	}
	if len(w.m.out.changes) == 0 {
		if len(w.view) != len(t.entries) {
			w.t.Fatalf("%v\nview has %d of %d", w.log, len(w.view), len(t.entries))
		}
		for name, n := range w.view {
			if e := t.names[name]; e == nil || !e.node.same(n) {
				w.t.Fatalf("%v\nview of %s is out of date", w.log, name)
			}
		}
	}
}

// TestModelIDs has entries that name their nodes, and IDs that are given twice.
func TestModelIDs(t *testing.T) {
	for seed := range uint64(400) {
		w := &world{t: t, r: rand.New(rand.NewPCG(seed, 2)), bkt: map[string]*stored{}, known: map[string]uint64{}, view: map[string]*Node{}}
		w.clk = clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		w.p = foreignPolicy()
		w.p.Record.KeyPrefix = ""
		if seed%2 == 0 {
			w.p.MaxNodes = 3
		}
		if seed%3 == 0 {
			w.p.StaleAfter = testTTL / 2
		}
		w.m = newMirror(types.NamespacedName{Namespace: "ns", Name: "reg"}, w.p, nil, nil, w.clk, w)
		keys := []string{"k1", "k2", "k3", "k4", "k5"}
		w.list(kv.CauseStart, false)
		for range 40 {
			op := w.r.IntN(14)
			key := keys[w.r.IntN(len(keys))]
			w.log = append(w.log, fmt.Sprint(op, key, ";"))
			switch op {
			case 0, 1, 2, 3, 4:
				id := w.r.IntN(4)
				v := fmt.Sprintf(`{"id":"n%d","ip":"10.0.0.%d"}`, id, w.r.IntN(3)+1)
				if w.r.IntN(6) == 0 {
					v = "?"
				}
				w.put(key, v)
			case 5:
				w.del(key)
			case 6:
				delete(w.bkt, key)
			case 7:
				w.live, w.lists = false, false
				w.m.Disconnected(kv.ErrConnectionLost)
			case 8:
				w.list([]kv.Cause{kv.CauseReconnect, kv.CauseStart}[w.r.IntN(2)], w.r.IntN(2) == 0)
			case 9, 10:
				w.readSome()
			case 11:
				w.pass(time.Duration(w.r.IntN(90)) * time.Second)
			case 12:
				if w.lists {
					w.sync()
				}
			case 13:
				w.m.SetCordoned(fmt.Sprintf("reg.n%d", w.r.IntN(4)), w.r.IntN(2) == 0)
			}
			w.check(false)
		}
		q := w.p
		q.MaxNodes = 0
		w.m.SetPolicy(q)
		w.p = q
		switch {
		case !w.live:
			w.list(kv.CauseReconnect, false)
		case w.lists:
			w.sync()
		}
		for range 40 {
			for n := 1; n < 4; n++ {
				w.put(fmt.Sprintf("k%d", n), fmt.Sprintf(`{"id":"m%d","ip":"10.0.0.%d"}`, n, n))
			}
			w.drain()
			w.pass(testTTL / 6)
			w.drain()
			w.check(true)
		}
		for n := 1; n < 4; n++ {
			e := w.m.table.entries[fmt.Sprintf("k%d", n)]
			if e == nil || e.facts.ID != fmt.Sprintf("m%d", n) || !e.cordoned && e.node.Traffic() != TrafficReady || e.node.Refusal.Reason != "" {
				t.Fatalf("seed %d %v\nk%d: %+v", seed, w.log, n, e)
			}
		}
		for key := range w.m.table.entries {
			if s := w.bkt[key]; s == nil || s.deleted {
				t.Fatalf("seed %d %v\n%s is still there: %+v", seed, w.log, key, w.m.table.entries[key].node)
			}
		}
	}
}

// TestModel has a few nodes, and anything happen to them.
func TestModel(t *testing.T) {
	for seed := range uint64(400) {
		w := &world{t: t, r: rand.New(rand.NewPCG(seed, 1)), bkt: map[string]*stored{}, known: map[string]uint64{}, view: map[string]*Node{}}
		w.clk = clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		w.p = testPolicy
		if seed%2 == 0 {
			w.p.MaxNodes = 4
		}
		if seed%3 == 0 {
			w.p.StaleAfter = testTTL / 2
		}
		w.m = newMirror(types.NamespacedName{Namespace: "ns", Name: "reg"}, w.p, nil, nil, w.clk, w)
		keys := []string{"node.a", "node.b", "node.c", "node.d", "node.e", "v2.a", "v2.b", "v2.c", "v2.x"}
		w.list(kv.CauseStart, false)
		for range 40 {
			op := w.r.IntN(16)
			key := keys[w.r.IntN(len(keys))]
			w.log = append(w.log, fmt.Sprint(op, key, ";"))
			switch op {
			case 0, 1, 2, 3:
				w.put(key, w.value(key))
			case 4:
				w.del(key)
			case 5:
				delete(w.bkt, key)
			case 6:
				w.live, w.lists = false, false
				w.m.Disconnected(kv.ErrConnectionLost)
			case 7:
				w.list(kv.CauseReconnect, w.r.IntN(2) == 0)
			case 8:
				w.list(kv.CauseStart, w.r.IntN(2) == 0)
			case 9:
				if w.live && !w.lists {
					w.list(kv.CausePeriodic, false)
				}
			case 10:
				q := w.p
				if w.r.IntN(2) == 0 {
					q.Record.KeyPrefix = []string{"node.", "v2.", ""}[w.r.IntN(3)]
				} else {
					q.MaxNodes = []int{0, 2, 4}[w.r.IntN(3)]
				}
				moved := q.Record.KeyPrefix != w.p.Record.KeyPrefix
				w.m.SetPolicy(q)
				if moved {
					if w.live && w.r.IntN(3) == 0 {
						w.put(key, w.value(key)) // by the old session
					}
					w.live, w.lists = false, false
					w.m.Disconnected(nil)
				}
				w.p = q
				if moved {
					w.list(kv.CauseStart, w.r.IntN(3) == 0)
				}
			case 11, 12:
				w.readSome()
			case 13:
				w.pass(time.Duration(w.r.IntN(40)) * time.Second)
			case 14:
				if w.lists {
					w.sync()
				}
			case 15:
				w.m.SetCordoned("reg."+key[len(key)-1:], w.r.IntN(2) == 0)
			}
			w.check(false)
		}
		// All is well from here on.
		q := w.p
		q.MaxNodes = 0
		w.m.SetPolicy(q)
		w.p = q
		w.log = append(w.log, "final")
		switch {
		case !w.live:
			w.list(kv.CauseReconnect, false)
		case w.lists:
			w.sync()
		}
		for range 40 {
			for _, key := range []string{"node.a", "node.b", "v2.c", "v2.x"} {
				id := key[len(key)-1:]
				w.put(key, fmt.Sprintf(`{"NodeId":%q,"Endpoint":"http://10.0.0.%d:80"}`, id, id[0]-'a'))
			}
			w.drain()
			w.pass(testTTL / 6)
			w.drain()
			w.check(true)
		}
		if s := w.m.State(); !s.Reading || w.m.table.staged != nil || s.Excess != 0 || len(w.m.table.unread.order) != 0 {
			t.Fatalf("seed %d %v\n%+v staged %v unread %v", seed, w.log, s, w.m.table.staged, len(w.m.table.unread.order))
		}
		for _, key := range []string{"node.a", "node.b", "v2.c", "v2.x"} {
			e := w.m.table.entries[key]
			if len(key) < len(w.p.Record.KeyPrefix) || key[:len(w.p.Record.KeyPrefix)] != w.p.Record.KeyPrefix {
				continue
			}
			if w.p.Record.KeyPrefix == "" {
				continue // IDs are other ones
			}
			if e == nil || !e.cordoned && e.node.Traffic() != TrafficReady || e.node.Refusal.Reason != "" || e.revision != w.bkt[key].revision {
				t.Fatalf("seed %d %v\n%s: %+v", seed, w.log, key, e)
			}
		}
		for key, e := range w.m.table.entries {
			if s := w.bkt[key]; (s == nil || s.deleted) && e.silence != held && !w.m.table.guard.active {
				t.Fatalf("seed %d %v\n%s is still there: %s back %v", seed, w.log, key, e.node.Phase, e.back)
			}
		}
	}
}

// TestAlive has six nodes that heartbeat all the time under two prefixes, whatever they write, and whatever else happens.
func TestAlive(t *testing.T) {
	for seed := range uint64(300) {
		w := &world{t: t, r: rand.New(rand.NewPCG(seed, 3)), bkt: map[string]*stored{}, known: map[string]uint64{}, view: map[string]*Node{}}
		w.clk = clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		w.p = testPolicy
		if seed%2 == 0 {
			w.p.MaxNodes = 6
		}
		if seed%3 == 0 {
			w.p.StaleAfter = 50 * time.Second
		}
		name := types.NamespacedName{Namespace: "ns", Name: "reg"}
		w.m = newMirror(name, w.p, nil, nil, w.clk, w)
		beat := func(n int) {
			id := id(n)
			v := fmt.Sprintf(`{"NodeId":%q,"Endpoint":"http://10.0.0.%d:80","Metadata":{"n":"%d"}}`, id, n+1, w.r.IntN(5))
			if len(w.log) > 0 {
				switch w.r.IntN(6) {
				case 0:
					v = "?"
				case 1:
					v = fmt.Sprintf(`{"NodeId":%q,"Endpoint":7}`, id)
				case 2:
					v = fmt.Sprintf(`{"NodeId":"n9","Endpoint":"http://10.0.0.%d:80"}`, n+1)
				}
			}
			w.put("node."+id, v)
			w.put("v2."+id, v)
		}
		all := func() {
			for n := range 6 {
				beat(n)
			}
		}
		w.list(kv.CauseStart, false)
		all()
		w.drain()
		dns := map[string]*rollcallv1alpha1.DiscoveredNode{}
		write := func(lazy bool) {
			for key := range dns {
				if w.m.table.names[key] == nil {
					delete(dns, key)
				}
			}
			for _, n := range w.m.Nodes() {
				if old := dns[n.Name]; old == nil || !lazy {
					dns[n.Name] = written(n, w.clk.Now())
				}
			}
		}
		write(false)
		last := w.now()
		check := func(when string) {
			w.check(false)
			for n := range 6 {
				node := w.m.Node("reg." + id(n))
				if node == nil || node.Traffic() != TrafficReady {
					t.Fatalf("seed %d %v\n%s: n%d lost its traffic: %+v", seed, w.log, when, n, node)
				}
			}
		}
		for range 40 {
			op := w.r.IntN(13)
			w.log = append(w.log, fmt.Sprint(op, ";"))
			switch op {
			case 0, 1, 2:
				for range 1 + w.r.IntN(5) {
					w.pass(time.Second)
					if w.now().Sub(last) >= 12*time.Second {
						all()
						last = w.now()
					}
					check("pass")
				}
			case 3, 4:
				w.readSome()
			case 5:
				w.live, w.lists = false, false
				w.m.Disconnected(kv.ErrConnectionLost)
			case 6:
				w.list(kv.CauseReconnect, w.r.IntN(2) == 0)
			case 7:
				w.list(kv.CauseStart, w.r.IntN(2) == 0)
			case 8:
				if w.live && !w.lists {
					w.list([]kv.Cause{kv.CausePeriodic, kv.CausePlanned}[w.r.IntN(2)], false)
				}
			case 9:
				if w.lists {
					w.sync()
				}
			case 10: // another prefix or mapping
				q := w.p
				if w.r.IntN(2) == 0 {
					q.Record.KeyPrefix = []string{"node.", "v2."}[w.r.IntN(2)]
				} else {
					m, _ := record.Compile(rollcallv1alpha1.Record{})
					q.Record.Reader = m
				}
				moved := !q.Record.ReadsLike(&w.p.Record)
				w.m.SetPolicy(q)
				if moved {
					if w.live && w.r.IntN(2) == 0 {
						all()
						last = w.now()
						if w.r.IntN(2) == 0 {
							w.m.Listing(kv.CauseReconnect)
							all()
							w.m.Synced(w.bucket())
							w.drain()
							check("old session")
						}
					}
					w.live, w.lists = false, false
					w.m.Disconnected(nil)
					w.p = q
					w.list(kv.CauseStart, w.r.IntN(3) == 0)
				}
				write(true)
			case 11: // a restart
				write(w.r.IntN(2) == 0)
				held := w.m.State().Held
				w.view = map[string]*Node{}
				var nodes []*rollcallv1alpha1.DiscoveredNode
				for _, dn := range dns {
					nodes = append(nodes, dn)
				}
				w.m = newMirror(name, w.p, held, nodes, w.clk, w)
				w.m.start()
				w.live, w.lists = false, false
				check("restart")
				if w.r.IntN(2) == 0 {
					w.list(kv.CauseStart, w.r.IntN(2) == 0)
				}
			case 12:
				w.drain()
			}
			check("op")
		}
	}
}
