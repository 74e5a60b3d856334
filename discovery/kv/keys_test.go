package kv

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

var epoch = time.Unix(1_700_000_000, 0)

func entry(key string, revision uint64, op Operation) Entry {
	return Entry{Key: key, Revision: revision, Operation: op, Written: epoch}
}

func missing(c []candidate) []string {
	var names []string
	for _, c := range c {
		names = append(names, c.key)
	}
	slices.Sort(names)
	return names
}

func TestKeysApplyWhatIsNewer(t *testing.T) {
	k := newKeys([]string{"known"})
	g := k.begin()
	for _, step := range []struct {
		entry Entry
		news  bool
	}{
		{entry("a", 5, Put), true},
		{entry("a", 5, Put), false},
		{entry("a", 4, Put), false},
		{entry("a", 6, Unregister), true},
		{entry("a", 5, Put), false}, // a second listing brings the dead back
		{entry("a", 7, Put), true},
		{entry("known", 1, Put), true},
	} {
		if got := k.apply(step.entry, g) != nil; got != step.news {
			t.Errorf("%+v: news is %v", step.entry, got)
		}
	}
}

func TestKeysSweep(t *testing.T) {
	k := newKeys([]string{"known"})
	g := k.begin()
	k.apply(entry("held", 1, Put), g)
	k.apply(entry("missing", 2, Put), g)
	k.apply(entry("removed", 3, Unregister), g)
	k.apply(entry("tombstone", 4, Unregister), g)
	if got := missing(k.sweep(g, 4)); !slices.Equal(got, []string{"known"}) {
		t.Errorf("the first listing misses %v", got)
	}
	old := g
	g = k.begin()
	k.apply(entry("held", 1, Put), g)
	k.apply(entry("tombstone", 4, Unregister), g)
	k.apply(entry("live", 9, Put), old) // delivered live meanwhile, beyond the boundary
	if diff := cmp.Diff([]string{"known", "missing"}, missing(k.sweep(g, 8))); diff != "" {
		t.Error(diff)
	}
	if _, ok := k.byName["removed"]; ok {
		t.Error("a removal that the bucket has forgotten is still remembered")
	}
	if _, ok := k.byName["tombstone"]; !ok {
		t.Error("a removal that the bucket still holds was forgotten")
	}
}

func TestKeysConfirmOnlyWhatStayedTheSame(t *testing.T) {
	k := newKeys([]string{"a", "b", "c"})
	missing := k.sweep(k.begin(), 0)
	k.apply(entry("a", 1, Put), 1)
	k.remove("b")
	for _, c := range missing {
		if got, want := k.unchanged(c), c.key == "c"; got != want {
			t.Errorf("%s: unchanged is %v", c.key, got)
		}
	}
}

func TestKeysPurged(t *testing.T) {
	const life = time.Minute
	settings := func(first uint64, after, ttl time.Duration) *Bucket {
		return &Bucket{TTL: ttl, firstRevision: first, ServerTime: epoch.Add(after)}
	}
	for _, tt := range []struct {
		name   string
		first  uint64
		after  time.Duration
		ttl    time.Duration // in force
		before time.Duration // in force at the last look
		want   bool
	}{
		{"everything is there", 5, 0, life, life, false},
		{"the first key is gone before its time", 6, life - 1, life, life, true},
		{"it has expired", 6, life, life, life, false},
		{"so has the second", 8, life, life, life, false},
		{"both are gone before their time", 8, 0, life, life, true},
		{"the TTL was lowered", 8, life / 2, life / 2, life, false},
		{"the TTL was lowered, and they were too young for that", 8, life / 4, life / 2, life, true},
		{"they had expired before the TTL was raised", 8, life, 2 * life, life, false},
		{"the TTL was taken away", 8, life, 0, life, false},
	} {
		k := newKeys([]string{"known"})
		g := k.begin()
		k.apply(entry("a", 5, Put), g)
		k.apply(entry("b", 7, Put), g)
		k.apply(entry("gone", 1, Unregister), g)
		if got := k.purged(settings(tt.first, tt.after, tt.ttl), settings(0, 0, tt.before)); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
		k.oldest = 0
		if k.purged(settings(tt.first, tt.after, 100*life), settings(0, 0, 100*life)) != tt.want {
			t.Errorf("%s: a TTL that is raised later brings the expired back", tt.name)
		}
		k.oldest = 0
		k.begin()
		if b := settings(8, 0, life); k.purged(b, b) {
			t.Errorf("%s: keys that the last listing didn't hold count as purged once more", tt.name)
		}
	}
}

func TestKeysResetKeepsTheLive(t *testing.T) {
	k := newKeys(nil)
	g := k.begin()
	k.apply(entry("live", 100, Put), g)
	k.apply(entry("gone", 101, Unregister), g)
	k.reset()
	g = k.begin()
	if k.apply(entry("gone", 1, Put), g) == nil {
		t.Error("a removal in the old bucket hides a key of the new one")
	}
	if diff := cmp.Diff([]string{"live"}, missing(k.sweep(g, 1))); diff != "" {
		t.Error(diff)
	}
}

func TestTrack(t *testing.T) {
	var k track
	if !k.message(1, 10) || !k.message(2, 30) || k.position != 30 {
		t.Errorf("%+v", k)
	}
	if !k.heartbeat(control{consumer: 2, stream: 40}) || k.position != 40 {
		t.Errorf("a heartbeat moves the position: %+v", k)
	}
	k.begin()
	if !k.heartbeat(control{consumer: 2, stream: 41, stalled: true}) || k.position != 41 || k.unbroken != 40 {
		t.Errorf("a stalled consumer hasn't come to the end: %+v", k)
	}
	if k.heartbeat(control{consumer: 3, stream: 50}) {
		t.Error("a heartbeat that counts more messages shows a gap")
	}
	if k.message(4, 60) {
		t.Error("a message out of sequence shows a gap")
	}
	if k.position != 41 {
		t.Errorf("a gap moved the position: %+v", k)
	}
	if !k.message(3, 35) || k.position != 41 {
		t.Errorf("the position never goes back: %+v", k)
	}
}

func TestOperationAndTTLOfHeaders(t *testing.T) {
	h := func(kv ...string) nats.Header {
		h := nats.Header{}
		for i := 0; i < len(kv); i += 2 {
			h.Set(kv[i], kv[i+1])
		}
		return h
	}
	for _, tt := range []struct {
		header nats.Header
		op     Operation
		ttl    time.Duration
	}{
		{nil, Put, 0},
		{h(headerTTL, "1h30m0.5s"), Put, 90 * time.Minute},
		{h(headerTTL, "90"), Put, 90 * time.Second},
		{h(headerTTL, "Never"), Put, -1},
		{h(headerTTL, "soon"), Put, 0},
		{h(headerOperation, "DEL"), Unregister, 0},
		{h(headerOperation, "PURGE", headerTTL, "5s"), Unregister, 0},
		{h(headerMarker, "MaxAge", headerTTL, "5s"), Expire, 0},
		{h(headerMarker, "Remove"), Unregister, 0},
		{h(headerMarker, "Purge"), Unregister, 0},
	} {
		e := newEntry("k", tt.header, nil, 1, epoch)
		if e.Operation != tt.op || e.TTL != tt.ttl {
			t.Errorf("%v: got %v and %v", tt.header, e.Operation, e.TTL)
		}
	}
}

func TestLifetime(t *testing.T) {
	for _, tt := range []struct {
		bucket    time.Duration
		message   time.Duration
		forbidden bool
		want      time.Duration
	}{
		{bucket: time.Minute, want: time.Minute},
		{bucket: time.Minute, message: time.Second, want: time.Second},
		{bucket: time.Minute, message: time.Hour, want: time.Minute},
		{bucket: time.Minute, message: -1, want: 0},
		{message: time.Second, want: time.Second},
		{bucket: time.Minute, message: time.Second, forbidden: true, want: time.Minute},
	} {
		b := Bucket{TTL: tt.bucket, MessageTTL: !tt.forbidden}
		if got := b.Lifetime(Entry{TTL: tt.message}); got != tt.want {
			t.Errorf("%+v: got %v", tt, got)
		}
	}
}

func TestKeysWithoutRoom(t *testing.T) {
	k := newKeys([]string{"known"})
	k.most = 9
	g := k.begin()
	long := strings.Repeat("l", keyBytes)
	for _, step := range []struct {
		key  string
		op   Operation
		news bool
	}{
		{"known", Put, true}, {long, Put, true}, {"c", Put, true}, {"d", Put, true}, {"e", Put, true}, {"f", Put, true}, {"g", Put, true},
		{long + "2", Put, false}, // It counts twice.
		{"h", Put, true},
		{"i", Put, false}, {"j", Unregister, false}, // as if they were not there
		{"c", Put, true}, {"known", Unregister, true}, {"i", Put, false}, // One removal makes no room.
		{"c", Unregister, true}, {"i", Put, true}, {"k", Put, true}, {"m", Put, false},
	} {
		if got := k.apply(entry(step.key, k.revision(step.key)+1, step.op), g) != nil; got != step.news {
			t.Errorf("%.10s, %s: news is %v", step.key, step.op, got)
		}
	}
	if !k.leftOut || k.cost != 9 || k.removals != 0 {
		t.Errorf("left out is %v, the keys cost %d, and %d are removed", k.leftOut, k.cost, k.removals)
	}
	if k.sweep(k.begin(), 100); k.leftOut {
		t.Error("another listing has not begun with everything")
	}
	k.remove(long)
	k.remove(long)
	if k.cost != 7 {
		t.Errorf("the keys cost %d", k.cost)
	}
	k.apply(entry("h", 2, Unregister), k.begin())
	k.sweep(k.begin(), 100)
	if _, ok := k.byName["h"]; ok || k.cost != 6 || k.removals != 0 {
		t.Errorf("after a sweep the keys cost %d, and %d are removed", k.cost, k.removals)
	}
}

// TestKeysKeepAMemo: it is the same for every message of a key, a removal included, and another one once the key was forgotten.
func TestKeysKeepAMemo(t *testing.T) {
	k := newKeys(nil)
	g := k.begin()
	first := k.apply(entry("a", 1, Put), g)
	first.memo.Of = "known"
	for revision, op := range []Operation{Put, Unregister, Put} {
		if s := k.apply(entry("a", uint64(revision+2), op), g); s != first || s.memo.Of != "known" {
			t.Errorf("after %s it is %+v", op, s)
		}
	}
	if s := k.apply(entry("b", 5, Put), g); s.memo.Of != nil {
		t.Errorf("another key has %+v", s)
	}
	k.remove("a")
	if s := k.apply(entry("a", 6, Put), g); s == first || s.memo.Of != nil {
		t.Errorf("once it was forgotten it is %+v", s)
	}
}
