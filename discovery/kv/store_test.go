package kv

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// aStream returns the state of a healthy stream, changed by each of the functions.
func aStream(change ...func(*streamState)) *streamState {
	s := &streamState{info: &jetstream.StreamInfo{Config: jetstream.StreamConfig{
		Name: "KV_b", Subjects: []string{"$KV.b.>"}, Discard: jetstream.DiscardNew, MaxMsgsPerSubject: 5, MaxBytes: -1, MaxMsgs: -1, Replicas: 1,
	}}}
	for _, f := range change {
		f(s)
	}
	return s
}

func TestStoreOf(t *testing.T) {
	const largest = 100 // and 34 of the store's own
	cutBefore := Store{Refusal: MirrorCut}
	replicated := func(s *streamState) { s.info.Config.Replicas = 3 }
	bytes := func(used uint64) func(*streamState) {
		return func(s *streamState) { s.info.Config.MaxBytes, s.info.State.Bytes = 10_000, used }
	}
	messages := func(held uint64) func(*streamState) {
		return func(s *streamState) { s.info.Config.MaxMsgs, s.info.State.Msgs = 100, held }
	}
	origin := func(active time.Duration, lag uint64) *jetstream.StreamSourceInfo {
		return &jetstream.StreamSourceInfo{Name: "KV_a", Active: active, Lag: lag}
	}
	mirror := func(active time.Duration, lag uint64) func(*streamState) {
		return func(s *streamState) {
			s.info.Config.Subjects = nil
			s.info.Config.Mirror, s.info.Mirror = &jetstream.StreamSource{Name: "KV_a"}, origin(active, lag)
		}
	}
	source := func(active time.Duration) func(*streamState) {
		return func(s *streamState) { s.info.Sources = append(s.info.Sources, origin(active, 0)) }
	}
	account := func(used uint64, limit int64, tier string) func(*streamState) {
		return func(s *streamState) {
			t := jetstream.Tier{Store: used, Limits: jetstream.AccountLimits{MaxStore: limit, MaxMemory: -1}}
			if s.account = (&jetstream.AccountInfo{Tier: t}); tier != "" {
				s.account = &jetstream.AccountInfo{Tiers: map[string]jetstream.Tier{tier: t}}
			}
		}
	}
	for name, tt := range map[string]struct {
		state    *streamState
		previous Store
		want     Refusal
		partial  bool
	}{
		"healthy":                         {state: aStream()},
		"sealed":                          {state: aStream(func(s *streamState) { s.info.Config.Sealed = true }), want: Sealed},
		"other subjects":                  {state: aStream(func(s *streamState) { s.info.Config.Subjects = []string{"$KV.other.>"} }), want: NobodyWrites},
		"no subjects":                     {state: aStream(func(s *streamState) { s.info.Config.Subjects = nil }), want: NobodyWrites},
		"some of its subjects":            {state: aStream(func(s *streamState) { s.info.Config.Subjects = []string{"x", "$KV.*.node.*"} })},
		"bytes: room for one":             {state: aStream(bytes(10_000 - 134))},
		"bytes: no room":                  {state: aStream(bytes(10_000 - 133)), want: StoreFull},
		"bytes: discard old":              {state: aStream(bytes(10_000), func(s *streamState) { s.info.Config.Discard = jetstream.DiscardOld })},
		"bytes: in memory":                {state: aStream(bytes(10_000-116), func(s *streamState) { s.info.Config.Storage = jetstream.MemoryStorage })},
		"bytes: R3 with room for several": {state: aStream(replicated, bytes(10_000-16*134))},
		"bytes: R3 with room for fewer":   {state: aStream(replicated, bytes(10_000-15*134)), want: StoreFull},
		"messages: room for one":          {state: aStream(messages(99))},
		"messages: no room":               {state: aStream(messages(100)), want: StoreFull, partial: true},
		"messages: R3":                    {state: aStream(replicated, messages(90)), want: StoreFull},
		"a key's limit": {state: aStream(func(s *streamState) {
			s.info.Config.DiscardNewPerSubject, s.info.State.Msgs, s.info.State.NumSubjects = true, 9, 2
		}), want: StoreFull, partial: true},
		"a key's limit is far": {state: aStream(func(s *streamState) {
			s.info.Config.DiscardNewPerSubject, s.info.State.Msgs, s.info.State.NumSubjects = true, 8, 2
		})},
		"account: no limit":               {state: aStream(account(1<<40, -1, ""))},
		"account: room":                   {state: aStream(account(10_000-134, 10_000, ""))},
		"account: full":                   {state: aStream(account(10_000-133, 10_000, "")), want: StoreFull},
		"account: a tier counts replicas": {state: aStream(replicated, account(25_000-16*134, 10_000, "R3"))},
		"account: a tier is full":         {state: aStream(replicated, account(30_000, 10_000, "R3")), want: StoreFull},
		"account: another tier is full":   {state: aStream(account(30_000, 10_000, "R3"))},
		"mirror: heard":                   {state: aStream(mirror(time.Second, 0))},
		"mirror: behind":                  {state: aStream(mirror(time.Second, 10))},
		"mirror: never heard":             {state: aStream(mirror(-1, 0)), want: MirrorCut},
		"mirror: cut":                     {state: aStream(mirror(cutAfter+1, 0)), want: MirrorCut},
		"mirror: back and behind":         {state: aStream(mirror(time.Second, 10)), previous: cutBefore, want: MirrorCut},
		"mirror: back and level":          {state: aStream(mirror(time.Second, 0)), previous: cutBefore},
		"mirror: an error":                {state: aStream(mirror(0, 0), func(s *streamState) { s.info.Mirror.Error = &jetstream.APIError{} }), want: MirrorCut},
		"mirror: no word of the origin":   {state: aStream(mirror(0, 0), func(s *streamState) { s.info.Mirror = nil }), want: MirrorCut},
		"sources: heard":                  {state: aStream(source(0), source(time.Second))},
		"sources: one is cut":             {state: aStream(source(0), source(time.Minute)), want: MirrorCut, partial: true},
		"sources alone": {state: aStream(source(0), func(s *streamState) {
			s.info.Config.Subjects, s.info.Config.Sources = nil, []*jetstream.StreamSource{{Name: "KV_a"}}
		})},
	} {
		got := storeOf(tt.state, tt.previous, largest)
		if got.Refusal != tt.want || got.Partial != tt.partial || (got.Detail == "") != (tt.want == "") {
			t.Errorf("%s: %+v, want %q, partial %v", name, got, tt.want, tt.partial)
		}
		kind := map[Refusal]error{StoreFull: ErrBucketFull, Sealed: ErrSealed, MirrorCut: ErrMirrorCut, NobodyWrites: ErrNobodyWrites}[tt.want]
		if err := got.Err(); !errors.Is(err, kind) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

func TestExemptions(t *testing.T) {
	full := aStream(func(s *streamState) { s.info.Config.MaxMsgs, s.info.State.Msgs = 100, 100 })
	perKey := aStream(func(s *streamState) { s.info.Config.DiscardNewPerSubject = true })
	through := func(source jetstream.StreamSourceInfo) *streamState {
		source.Active = time.Minute
		return aStream(func(s *streamState) { s.info.Sources = []*jetstream.StreamSourceInfo{&source} })
	}
	transform := through(jetstream.StreamSourceInfo{SubjectTransforms: []jetstream.SubjectTransformConfig{
		{Source: "$KV.a.>", Destination: "$KV.b.west.>"}, {Source: "$KV.a.*.x", Destination: "$KV.b.{{wildcard(1)}}.x"}, {Source: "$KV.a.*.y", Destination: "$KV.b.$1.y"},
	}})
	for name, tt := range map[string]struct {
		state *streamState
		key   string
		count uint64
		want  bool
	}{
		"healthy":                           {aStream(), "k", 0, false},
		"full, and a key that can grow":     {full, "k", 4, true},
		"full, and a key that can't":        {full, "k", 5, false},
		"a full key":                        {perKey, "k", 5, true},
		"a key with room":                   {perKey, "k", 4, false},
		"a source without a filter":         {through(jetstream.StreamSourceInfo{}), "k", 0, true},
		"a source's filter":                 {through(jetstream.StreamSourceInfo{FilterSubject: "$KV.b.x.*"}), "x.1", 0, true},
		"another filter":                    {through(jetstream.StreamSourceInfo{FilterSubject: "$KV.b.x.*"}), "y.1", 0, false},
		"a transform":                       {transform, "west.1", 0, true},
		"a transform of a token":            {transform, "any.x", 0, true},
		"a transform of a token, old style": {transform, "any.y", 0, true},
		"no transform":                      {transform, "east.1", 0, false},
	} {
		if got := tt.state.exempt(Store{}).concerns("$KV.b."+tt.key, tt.count); got != tt.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// The sink is told what the store is, with the settings, and what the leader says of a silent key counts only where it could
// have been written.
func TestWatcherTellsWhatTheStoreTakes(t *testing.T) {
	for name, tt := range map[string]struct {
		bucket jetstream.KeyValueConfig
		change func(*jetstream.StreamConfig)
		want   Store
		silent int // of the keys full and small
	}{
		"bytes":    {change: func(c *jetstream.StreamConfig) { c.MaxBytes = 100 }, want: Store{Refusal: StoreFull}},
		"messages": {bucket: jetstream.KeyValueConfig{History: 2}, change: func(c *jetstream.StreamConfig) { c.MaxMsgs = 3 }, want: Store{Refusal: StoreFull, Partial: true}, silent: 1},
		"sealed":   {change: func(c *jetstream.StreamConfig) { c.Sealed = true }, want: Store{Refusal: Sealed}},
		"subjects": {change: func(c *jetstream.StreamConfig) { c.Subjects = []string{"elsewhere"} }, want: Store{Refusal: NobodyWrites}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc := natstest.Start(t).Connect(t)
			tt.bucket.TTL = time.Minute
			bucket := natstest.NewBucket(t, nc, tt.bucket)
			for _, key := range []string{"full", "full", "small"} {
				natstest.Put(t, bucket, key, "1")
			}
			r := watch(t, nc, WatcherOptions{Bucket: "b", InfoInterval: least})
			r.await(t, "Synced", 1)
			config := natstest.StreamOf(t, nc, "b").CachedInfo().Config
			tt.change(&config)
			if _, err := mustJetStream(t, nc).UpdateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			r.awaitBucket(t, func(b Bucket) bool {
				return b.Store.Refusal == tt.want.Refusal && b.Store.Partial == tt.want.Partial && b.TTL == time.Minute
			})
			r.ask("full", "small")
			infos := r.told()
			natstest.Eventually(t, func() error {
				if r.told() < infos+10 {
					return errors.New("waiting for ten more looks")
				}
				return nil
			})
			r.awaitSilent(t, tt.silent)
			if n := r.count("Synced"); n != 1 {
				t.Errorf("the story is %v", r.tale())
			}
		})
	}
}

// What the writer is refused is told at once, and that it is taken again.
func TestWatcherHeedsTheWriter(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	w := newWriter(t, nc, WriterOptions{Bucket: "b"})
	r := watch(t, nc, WatcherOptions{Bucket: "b", InfoInterval: time.Hour, Writer: w})
	r.await(t, "Synced", 1)
	js := mustJetStream(t, nc)
	limit := func(bytes int64) {
		config := natstest.StreamOf(t, nc, "b").CachedInfo().Config
		config.MaxBytes = bytes
		if _, err := js.UpdateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
	limit(10)
	if res := putBy(t, w, "k", "1", 0); !errors.Is(res.err, ErrBucketFull) {
		t.Fatalf("a write into a full bucket: %+v", res)
	}
	r.awaitBucket(t, func(b Bucket) bool { return errors.Is(b.Store.Err(), ErrBucketFull) })
	limit(-1)
	if res := putBy(t, w, "k", "1", 0); res.err != nil {
		t.Fatal(res.err)
	}
	r.awaitBucket(t, func(b Bucket) bool { return b.Store.Err() == nil })
}
