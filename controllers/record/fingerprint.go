package record

import (
	"hash/maphash"
	"slices"
)

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
		id, displayName, zone, origin     string
		anonymous, draining, unread       bool
		refusal                           Fault
		addresses, ports, notes, failures int
	}{
		f.ID, f.DisplayName, f.Zone, f.Origin, f.Anonymous, f.Draining, unread, f.Refusal,
		len(f.Addresses), len(f.Ports), len(f.Notes), len(f.Failing) + len(f.leftOut),
	})
	for _, address := range f.Addresses {
		maphash.WriteComparable(&h, address)
	}
	for _, port := range f.Ports {
		maphash.WriteComparable(&h, port)
	}
	for _, note := range f.Notes {
		maphash.WriteComparable(&h, note)
	}
	for _, field := range slices.Concat(f.Failing, f.leftOut) {
		maphash.WriteComparable(&h, field)
	}
	maphash.WriteComparable(&h, sumOf(f.Metadata))
	return fingerprint(h.Sum64())
}

// sumOf returns a hash of a map that does not depend on the order of its entries.
func sumOf(m map[string]string) (sum uint64) {
	for name, value := range m {
		sum += maphash.Comparable(fingerprintSeed, [2]string{name, value})
	}
	return sum
}
