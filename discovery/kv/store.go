package kv

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Refusal is why a store takes no writes. The words are those of a NodeRegistry's status.held.reason.
type Refusal string

// The refusals.
const (
	// TakesWrites: the store takes writes, as far as is known.
	TakesWrites Refusal = ""
	// StoreFull: the bucket, the account or the server has come to a limit.
	StoreFull Refusal = "StoreFull"
	// Sealed: the stream was sealed for ever.
	Sealed Refusal = "Sealed"
	// MirrorCut: the bucket mirrors another one, or has it as a source, and hears nothing from it.
	MirrorCut Refusal = "MirrorCut"
	// NobodyWrites: the stream no longer has the subjects of the bucket's keys.
	NobodyWrites Refusal = "NobodyWrites"
)

// The errors of a store that takes no writes, besides [ErrBucketFull].
var (
	// ErrSealed is the error for a stream that was sealed.
	ErrSealed = errors.New("the bucket is sealed")
	// ErrMirrorCut is the error for a bucket that is cut off from its origin.
	ErrMirrorCut = errors.New("the bucket is cut off from its origin")
	// ErrNobodyWrites is the error for a stream without the subjects of the keys.
	ErrNobodyWrites = errors.New("nobody can write to the bucket")
)

// Store is whether a bucket takes writes. Where it doesn't, no node can heartbeat, so its silence means nothing.
type Store struct {
	// Refusal is why it takes none.
	Refusal Refusal
	// Detail is one sentence for people, which stays the same while the trouble does.
	Detail string
	// Partial says that only some keys are concerned; the Watcher withholds [Sink.Silent] for those.
	Partial bool
}

// Err returns nil for a store that takes writes. Otherwise the error matches [ErrBucketFull], [ErrSealed], [ErrMirrorCut] or
// [ErrNobodyWrites].
func (s Store) Err() error {
	kind, refuses := map[Refusal]error{
		StoreFull: ErrBucketFull, Sealed: ErrSealed, MirrorCut: ErrMirrorCut, NobodyWrites: ErrNobodyWrites,
	}[s.Refusal]
	if !refuses {
		return nil
	}
	return fmt.Errorf("%w: %s", kind, s.Detail)
}

// stands reports whether no key can be written.
func (s Store) stands() bool { return s.Refusal != TakesWrites && !s.Partial }

const (
	// cutAfter is after how long without a word from its origin a mirror is cut off. An origin sends a heartbeat every second.
	cutAfter = 3 * time.Second
	// doubtfulAfter is after how long nothing can be concluded from a mirror that is not cut off yet.
	doubtfulAfter = 1500 * time.Millisecond
	// inFlight is for how many records there has to be room in a replicated store. Its leader counts what it has proposed and
	// not stored, which its state doesn't show.
	inFlight = 16
)

// streamState is what a server says about a bucket's stream and account.
type streamState struct {
	info    *jetstream.StreamInfo
	account *jetstream.AccountInfo // nil: not known
}

// storeOf returns whether the stream takes writes, as far as its state shows. previous is what it was before, and largest the
// greatest record that was heard, without what a store adds to it.
func storeOf(s *streamState, previous Store, largest uint64) Store {
	c := &s.info.Config
	switch {
	case c.Sealed:
		return Store{Refusal: Sealed, Detail: "the stream is sealed, which can't be undone: make another bucket"}
	case c.Mirror != nil:
		return mirrorOf(s.info, previous)
	case !written(c):
		return Store{Refusal: NobodyWrites, Detail: fmt.Sprintf("its stream takes messages for %q only, add %q to its subjects",
			c.Subjects, subjectPrefix(bucketName(c.Name))+">")}
	}
	for _, full := range []Store{s.fullBytes(largest), s.fullMessages(), s.fullAccount(largest), s.fullKeys(), sourcesOf(s.info, previous)} {
		if full.Refusal != TakesWrites {
			return full
		}
	}
	return Store{}
}

// bucketName returns the name of the bucket that a stream belongs to.
func bucketName(stream string) string { return strings.TrimPrefix(stream, "KV_") }

// written reports whether the stream takes messages for keys of the bucket. One with sources may have no subjects of its own.
func written(c *jetstream.StreamConfig) bool {
	if len(c.Subjects) == 0 && len(c.Sources) > 0 {
		return true
	}
	keys := subjectPrefix(bucketName(c.Name)) + ">"
	for _, subject := range c.Subjects {
		if overlap(subject, keys) {
			return true
		}
	}
	return false
}

// overlap reports whether there is a subject that both patterns match.
func overlap(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		switch x, y := as[i], bs[i]; {
		case x == ">" || y == ">":
			return true
		case x != y && x != "*" && y != "*":
			return false
		}
	}
	return len(as) == len(bs)
}

// room returns for how many records there has to be room.
func room(c *jetstream.StreamConfig) uint64 {
	if c.Replicas > 1 {
		return inFlight
	}
	return 1
}

// stored returns how many bytes a record takes of which the subject, the headers and the value are so long.
func stored(c *jetstream.StreamConfig, length uint64) uint64 {
	if c.Storage == jetstream.MemoryStorage {
		return length + 16
	}
	return length + 34
}

func (s *streamState) fullBytes(largest uint64) Store {
	c := &s.info.Config
	if c.Discard != jetstream.DiscardNew || c.MaxBytes <= 0 || s.info.State.Bytes+room(c)*stored(c, largest) <= uint64(c.MaxBytes) {
		return Store{}
	}
	return Store{Refusal: StoreFull, Detail: fmt.Sprintf("it has no room for another record within its %d bytes, raise the stream's max_bytes or remove keys", c.MaxBytes)}
}

// fullMessages: a single server takes a message that replaces one, three don't.
func (s *streamState) fullMessages() Store {
	c := &s.info.Config
	most := uint64(max(c.MaxMsgs, 0))
	switch {
	case c.Discard != jetstream.DiscardNew || c.MaxMsgs <= 0 || s.info.State.Msgs+room(c) <= most:
		return Store{}
	case c.Replicas > 1:
		return Store{Refusal: StoreFull, Detail: fmt.Sprintf("it has no room for another of its %d messages, raise the stream's max_msgs or remove keys", c.MaxMsgs)}
	}
	return Store{Refusal: StoreFull, Partial: true, Detail: fmt.Sprintf(
		"it holds all of its %d messages and refuses keys with fewer than %d, raise the stream's max_msgs or remove keys", c.MaxMsgs, c.MaxMsgsPerSubject)}
}

// fullKeys: whether a key is full shows for sure only where there are more messages than the others could account for.
func (s *streamState) fullKeys() Store {
	c, state := &s.info.Config, &s.info.State
	if !c.DiscardNewPerSubject || c.MaxMsgsPerSubject <= 0 || state.Msgs <= state.NumSubjects*uint64(c.MaxMsgsPerSubject-1) || state.Msgs == 0 {
		return Store{}
	}
	return Store{Refusal: StoreFull, Partial: true, Detail: fmt.Sprintf(
		"it refuses keys that hold %d messages, turn the stream's discard_new_per_subject off", c.MaxMsgsPerSubject)}
}

func (s *streamState) fullAccount(largest uint64) Store {
	if s.account == nil {
		return Store{}
	}
	c := &s.info.Config
	replicas := uint64(max(c.Replicas, 1))
	tier, tiered := s.account.Tiers[fmt.Sprintf("R%d", replicas)]
	limited := uint64(1) // what the limit is multiplied with
	if tiered {
		limited = replicas
	} else {
		tier = s.account.Tier
	}
	used, limit, what := tier.Store, tier.Limits.MaxStore, "storage"
	if c.Storage == jetstream.MemoryStorage {
		used, limit, what = tier.Memory, tier.Limits.MaxMemory, "memory"
	}
	if limit <= 0 || used+room(c)*stored(c, largest)*replicas <= uint64(limit)*limited {
		return Store{}
	}
	return Store{Refusal: StoreFull, Detail: fmt.Sprintf("its account has no room for another record within its %d bytes of %s, raise the account's limit or remove streams", limit, what)}
}

// mirrorOf returns whether the mirror hears from its origin.
func mirrorOf(info *jetstream.StreamInfo, previous Store) Store {
	name := info.Config.Mirror.Name
	if info.Mirror != nil && !cut(info.Mirror, previous.Refusal == MirrorCut) {
		return Store{}
	}
	return Store{Refusal: MirrorCut, Detail: fmt.Sprintf("nothing comes from its origin, the stream %s%s: check the server there and the way to it", name, domainOf(info.Config.Mirror))}
}

// sourcesOf returns whether the sources are heard from.
func sourcesOf(info *jetstream.StreamInfo, previous Store) Store {
	for _, source := range info.Sources {
		if cut(source, previous.Refusal == MirrorCut) {
			return Store{Refusal: MirrorCut, Partial: true, Detail: fmt.Sprintf("nothing comes from its source, the stream %s: check the server there and the way to it", source.Name)}
		}
	}
	return Store{}
}

func domainOf(origin *jetstream.StreamSource) string {
	if origin.External == nil {
		return ""
	}
	return " behind " + origin.External.APIPrefix
}

// cut reports whether nothing comes from an origin. One that was cut is so until it has caught up.
func cut(origin *jetstream.StreamSourceInfo, before bool) bool {
	return origin.Active < 0 || origin.Active > cutAfter || origin.Error != nil || before && origin.Lag > 0
}

// doubtful reports whether an origin has been silent for so long that nothing can be concluded from what a key's last message
// is, although it isn't cut off yet.
func (s *streamState) doubtful() bool {
	if s == nil {
		return false
	}
	origins := s.info.Sources
	if s.info.Mirror != nil {
		origins = append(slices.Clip(origins), s.info.Mirror)
	}
	for _, origin := range origins {
		if origin.Active < 0 || origin.Active > doubtfulAfter {
			return true
		}
	}
	return false
}

// exemption is which keys' silence means nothing in a store that takes the writes of others.
type exemption struct {
	below, from uint64   // keys with fewer messages than below, or with from at least; 0: none
	through     []string // keys with these subjects, which come from a source that is cut
	subjects    uint64   // how many there are in all
}

// exempt returns which keys' heartbeats the store may refuse.
func (s *streamState) exempt(previous Store) exemption {
	var x exemption
	if s == nil {
		return x
	}
	c := &s.info.Config
	x.subjects = s.info.State.NumSubjects
	if s.fullMessages().Partial {
		x.below = uint64(max(c.MaxMsgsPerSubject, 0))
	}
	if c.DiscardNewPerSubject {
		x.from = uint64(max(c.MaxMsgsPerSubject, 0))
	}
	for _, source := range s.info.Sources {
		if cut(source, previous.Refusal == MirrorCut) {
			x.through = append(x.through, subjectsThrough(source)...)
		}
	}
	return x
}

// subjectsThrough returns the subjects of what comes from a source.
func subjectsThrough(source *jetstream.StreamSourceInfo) []string {
	if len(source.SubjectTransforms) == 0 {
		if source.FilterSubject == "" {
			return []string{">"}
		}
		return []string{source.FilterSubject}
	}
	var subjects []string
	for _, t := range source.SubjectTransforms {
		tokens := strings.Split(t.Destination, ".")
		for i, token := range tokens {
			// A token of the source takes the place of $1 or {{wildcard(1)}}.
			if strings.HasPrefix(token, "{{") || i > 0 && strings.HasPrefix(token, "$") {
				tokens[i] = "*"
			}
		}
		subjects = append(subjects, strings.Join(tokens, "."))
	}
	return subjects
}

// counts reports whether it depends on the number of a key's messages.
func (x exemption) counts() bool { return x.below > 0 || x.from > 0 }

// filters returns what to ask for to have the counts of the keys: all subjects, unless those are very many.
func (x exemption) filters(subjects, keyPrefix string, keys []string) []string {
	if x.subjects <= maxCounted {
		return []string{filterSubject(subjects, keyPrefix)}
	}
	each := make([]string, len(keys))
	for i, key := range keys {
		each[i] = subjects + key
	}
	return each
}

// concerns reports whether the store may refuse a key with that subject and so many messages.
func (x exemption) concerns(subject string, messages uint64) bool {
	if x.below > 0 && messages < x.below || x.from > 0 && messages >= x.from {
		return true
	}
	for _, pattern := range x.through {
		if pattern == "" || overlap(pattern, subject) {
			return true
		}
	}
	return false
}

// storeWatch keeps whether a bucket takes writes. It belongs to one goroutine.
type storeWatch struct {
	writer  *Writer // whose refusals count; may be nil
	seen    Store   // by the last state
	largest uint64  // the greatest record that was heard
	ttl     time.Duration
	account *jetstream.AccountInfo // as it was last told; nil: never
}

// heard notes the size of a record.
func (w *storeWatch) heard(length int) {
	if length > 0 {
		w.largest = max(w.largest, uint64(length))
	}
}

// judge completes what a server says about a bucket. Sealing a stream takes away its TTL, in which nodes have to heartbeat
// all the same.
func (w *storeWatch) judge(b Bucket) Bucket {
	if b.state != nil {
		if b.state.account == nil {
			b.state.account = w.account // It was not asked for, or gave no answer: that is no word of room.
		}
		w.account = b.state.account
		w.seen = storeOf(b.state, w.seen, w.largest)
		if b.state.info.Config.Sealed {
			b.TTL = w.ttl
		}
	}
	w.ttl = b.TTL
	b.Store = w.store()
	return b
}

// store returns whether the bucket takes writes. What the writer was refused can't always be seen in the stream's state.
func (w *storeWatch) store() Store {
	if w.seen.stands() || w.writer == nil {
		return w.seen
	}
	err := w.writer.refused()
	if w.seen.Partial && messagesFull(err) {
		return w.seen // The writer met what the state shows.
	}
	if err != nil {
		return Store{Refusal: StoreFull, Detail: fmt.Sprintf("the server refuses writes (%v), raise the limit or remove what is stored", cause(err))}
	}
	return w.seen
}

// messagesFull reports whether the refusal is for the number of messages.
func messagesFull(err error) bool {
	return hasCode(err, codeStoreFailed) && strings.Contains(cause(err).Error(), "maximum messages")
}

// cause returns the server's own words for a refusal.
func cause(err error) error {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return errors.New(api.Description)
	}
	return err
}
