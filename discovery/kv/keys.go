package kv

import (
	"math"
	"time"
)

// keys is what a watcher remembers of every key: enough to tell news from what was delivered before, and to find the
// keys that a listing didn't hold. It does no I/O and isn't safe for concurrent use.
type keys struct {
	byName map[string]*keyState
	// generation counts the listings.
	generation uint32
	// oldest is a lower bound of the revisions of live keys.
	oldest uint64
	// most bounds cost, the sum of what the keys cost; zero: no bound. removals counts the keys that are gone.
	most, cost, removals int
	leftOut              bool // a key, since the last listing began
}

type keyState struct {
	revision uint64
	written  int64  // the server's timestamp of the last message in Unix nanoseconds
	seen     uint32 // the last listing that held the key
	life     life
	memo     Memo // of the sink
}

// life is the TTL of a key's last message in seconds, or one of the values below.
type life int32

const (
	ofBucket life = 0  // the bucket's TTL counts
	forever  life = -1 // the message never expires
	gone     life = -2 // the message is a removal
)

func lifeOf(e Entry) life {
	switch {
	case e.Operation != Put:
		return gone
	case e.TTL < 0:
		return forever
	}
	return life(min(e.TTL/time.Second, math.MaxInt32))
}

// expired reports whether the message is past its TTL in a bucket with these settings, at a time on the server's clock.
func (s *keyState) expired(b *Bucket, now time.Time) bool {
	e := Entry{TTL: time.Duration(s.life) * time.Second}
	lifetime := b.Lifetime(e)
	return lifetime > 0 && s.written+int64(lifetime) <= now.UnixNano()
}

// candidate is a key that a listing didn't hold, with the revision it had then.
type candidate struct {
	key      string
	revision uint64
}

func newKeys(known []string) *keys {
	k := &keys{byName: make(map[string]*keyState, len(known))}
	for _, key := range known {
		if k.byName[key] == nil {
			k.add(key).life = forever
		}
	}
	return k
}

// keyBytes is how long a key may be that counts for one.
const keyBytes = 128

// costOf returns for how many keys of an ordinary length a key counts.
func costOf(key string) int { return 1 + len(key)/keyBytes }

// add adds a key that is not known.
func (k *keys) add(key string) *keyState {
	s := &keyState{}
	k.byName[key] = s
	k.cost += costOf(key)
	return s
}

// full reports whether there is no room for another key. Removals make room once they are many: what they are remembered for
// is an older message of their key, which hardly ever comes.
func (k *keys) full(key string) bool {
	if k.most == 0 || k.cost+costOf(key) <= k.most {
		return false
	}
	if k.removals > k.most/8 {
		k.forgetRemovals()
	}
	return k.cost+costOf(key) > k.most
}

func (k *keys) forgetRemovals() {
	for key, s := range k.byName {
		if s.life == gone {
			k.remove(key)
		}
	}
}

// begin begins a listing and returns its generation.
func (k *keys) begin() uint32 {
	k.generation++
	k.oldest, k.leftOut = 0, false
	return k.generation
}

// reset forgets all revisions, because the bucket is another one and counts from the beginning. Which keys were live stays known, so
// that those that the new bucket lacks can be told.
func (k *keys) reset() {
	k.forgetRemovals()
	for _, s := range k.byName {
		s.revision, s.life = 0, forever
	}
}

// apply notes an entry of the consumer whose listing has that generation. It returns what is remembered of the key, nil if the entry
// is not newer than what was delivered before. A key for which there is no room is as if it were not in the bucket.
func (k *keys) apply(e Entry, generation uint32) *keyState {
	s := k.byName[e.Key]
	switch {
	case s == nil && k.full(e.Key):
		k.leftOut = true
		return nil
	case s == nil:
		s = k.add(e.Key)
	case e.Revision <= s.revision:
		s.seen = max(s.seen, generation)
		return nil
	case s.life == gone:
		k.removals--
	}
	if s.life = lifeOf(e); s.life == gone {
		k.removals++
	}
	s.seen, s.revision, s.written = max(s.seen, generation), e.Revision, e.Written.UnixNano()
	return s
}

// sweep ends the listing with that generation, which is complete up to the revision upTo. It returns the live keys that
// the listing didn't hold, and forgets the removals that it didn't hold: no older message of theirs can come any more.
func (k *keys) sweep(generation uint32, upTo uint64) []candidate {
	var missing []candidate
	for key, s := range k.byName {
		switch {
		case s.seen == generation || s.revision > upTo:
		case s.life == gone:
			k.remove(key)
		default:
			missing = append(missing, candidate{key: key, revision: s.revision})
		}
	}
	return missing
}

// unchanged reports whether the key is still as it was when c was taken.
func (k *keys) unchanged(c candidate) bool {
	s := k.byName[c.key]
	return s != nil && s.life != gone && s.revision == c.revision
}

// remove forgets a key.
func (k *keys) remove(key string) {
	s := k.byName[key]
	if s == nil {
		return
	}
	k.cost -= costOf(key)
	if s.life == gone {
		k.removals--
	}
	delete(k.byName, key)
}

// revision returns the revision of the key's last message that was delivered; 0 if there is none.
func (k *keys) revision(key string) uint64 {
	if s := k.byName[key]; s != nil {
		return s.revision
	}
	return 0
}

// lapsed returns those of the keys that have expired, by what the server says or by its clock at a local time.
func (k *keys) lapsed(all []string, b *Bucket, at time.Time) map[string]bool {
	found := map[string]bool{}
	now := b.ServerTimeAt(at)
	for _, key := range all {
		s := k.byName[key]
		found[key] = s != nil && (s.life == gone || !now.IsZero() && s.expired(b, now))
	}
	return found
}

// purged reports whether a live key's message is older than the first one that the stream b still holds although it had not
// expired, neither by the settings of b nor by those of before, which may have been in force until just now. The caller must
// have seen everything up to the last message of b. Keys that the last listing didn't hold are left out: they are being asked
// for already. So are those that have expired, from here on: another TTL doesn't bring them back.
//
// A server that tells no time leaves it to the next listing.
func (k *keys) purged(b, before *Bucket) bool {
	if b.firstRevision <= k.oldest || b.ServerTime.IsZero() {
		return false
	}
	k.oldest = math.MaxUint64
	purged := false
	for _, s := range k.byName {
		if s.life == gone || s.seen != k.generation {
			continue
		}
		if s.revision < b.firstRevision && (s.expired(b, b.ServerTime) || s.expired(before, b.ServerTime)) {
			s.seen--
			continue
		}
		k.oldest = min(k.oldest, s.revision)
		purged = purged || s.revision < b.firstRevision
	}
	return purged
}
