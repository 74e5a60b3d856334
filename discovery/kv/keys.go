package kv

import (
	"math"
	"time"
)

// keys is what a watcher remembers of every key: enough to tell news from what was delivered before, and to find the
// keys that a listing didn't hold. It does no I/O and isn't safe for concurrent use.
type keys struct {
	byName map[string]keyState
	// generation counts the listings.
	generation uint32
	// oldest is a lower bound of the revisions of live keys.
	oldest uint64
}

type keyState struct {
	revision uint64
	expires  int64  // on the server's clock in Unix nanoseconds
	seen     uint32 // the last listing that held the key
	gone     bool   // the last message was a removal
}

// candidate is a key that a listing didn't hold, with the revision it had then.
type candidate struct {
	key      string
	revision uint64
}

func newKeys(known []string) *keys {
	k := &keys{byName: make(map[string]keyState, len(known))}
	for _, key := range known {
		k.byName[key] = keyState{expires: math.MaxInt64}
	}
	return k
}

// begin begins a listing and returns its generation.
func (k *keys) begin() uint32 {
	k.generation++
	k.oldest = 0
	return k.generation
}

// reset forgets all revisions, because the bucket is another one and counts anew. Which keys were live stays known, so
// that those that the new bucket lacks can be told.
func (k *keys) reset() {
	for key, s := range k.byName {
		if s.gone {
			delete(k.byName, key)
			continue
		}
		s.revision, s.expires = 0, math.MaxInt64
		k.byName[key] = s
	}
}

// apply notes an entry of the consumer whose listing has that generation, and reports whether it is news. lifetime is 0
// for an entry that never expires.
func (k *keys) apply(e Entry, lifetime time.Duration, generation uint32) bool {
	s, known := k.byName[e.Key]
	s.seen = max(s.seen, generation)
	if known && e.Revision <= s.revision {
		k.byName[e.Key] = s
		return false
	}
	s.revision, s.gone, s.expires = e.Revision, e.Operation != Put, math.MaxInt64
	if lifetime > 0 {
		s.expires = e.Written.Add(lifetime).UnixNano()
	}
	k.byName[e.Key] = s
	return true
}

// sweep ends the listing with that generation, which is complete up to the revision upTo. It returns the live keys that
// the listing didn't hold, and forgets the removals that it didn't hold: no older message of theirs can come any more.
func (k *keys) sweep(generation uint32, upTo uint64) []candidate {
	var missing []candidate
	for key, s := range k.byName {
		switch {
		case s.seen == generation || s.revision > upTo:
		case s.gone:
			delete(k.byName, key)
		default:
			missing = append(missing, candidate{key: key, revision: s.revision})
		}
	}
	return missing
}

// unchanged reports whether the key is still as it was when c was taken.
func (k *keys) unchanged(c candidate) bool {
	s, ok := k.byName[c.key]
	return ok && !s.gone && s.revision == c.revision
}

// remove forgets a key.
func (k *keys) remove(key string) { delete(k.byName, key) }

// purged reports whether a live key's message, which had not expired at the time now on the server's clock, is older
// than the first one that the stream still holds. The caller must have seen everything up to the stream's last message.
// Keys that the last listing didn't hold are left out: they are being asked for already.
func (k *keys) purged(firstRevision uint64, now time.Time) bool {
	if firstRevision <= k.oldest {
		return false
	}
	k.oldest = math.MaxUint64
	purged := false
	for _, s := range k.byName {
		if s.gone || s.seen != k.generation {
			continue
		}
		k.oldest = min(k.oldest, s.revision)
		purged = purged || s.revision < firstRevision && s.expires > now.UnixNano()
	}
	return purged
}
