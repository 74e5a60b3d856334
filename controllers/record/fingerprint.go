package record

import "hash/maphash"

// fingerprint is a hash of what a message says of its node. Two that differ have the same one with a probability of 2⁻⁶⁴, and
// nobody who writes records can bring that about, since the seed is of this process alone.
//
// It is there for the heartbeats: to compare a record with what is known of its node, member by member, would read some
// twenty places in memory that no cache holds in a large fleet, and so cost more with every node. A hash of what was just
// decoded costs the same in any fleet.
type fingerprint uint64

var fingerprintSeed = maphash.MakeSeed()

// fingerprintOf returns the fingerprint of facts as a message gives them, unread if it gives none.
func fingerprintOf(f *Facts, unread bool) fingerprint {
	var h maphash.Hash
	h.SetSeed(fingerprintSeed)
	maphash.WriteComparable(&h, struct {
		id, displayName, zone, origin string
		anonymous, draining, unread   bool
		refusal                       Fault
	}{f.ID, f.DisplayName, f.Zone, f.Origin, f.Anonymous, f.Draining, unread, f.Refusal})
	write(&h, f.Addresses)
	write(&h, f.Ports)
	for _, texts := range [][]string{f.Notes, f.Failing, f.leftOut} {
		write(&h, texts)
	}
	var metadata uint64 // in whatever order
	for name, value := range f.Metadata {
		metadata += maphash.Comparable(fingerprintSeed, [2]string{name, value})
	}
	maphash.WriteComparable(&h, metadata)
	return fingerprint(h.Sum64())
}

func write[T comparable](h *maphash.Hash, all []T) {
	maphash.WriteComparable(h, len(all))
	for _, one := range all {
		maphash.WriteComparable(h, one)
	}
}
