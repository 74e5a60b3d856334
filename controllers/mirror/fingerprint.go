package mirror

import "hash/maphash"

// fingerprint is a hash of facts. Two that differ have the same one with a probability of 2⁻⁶⁴, and nobody who writes
// records can bring that about, since the seed is of this process alone.
//
// It is there for the heartbeats: to compare a record with what is known of its node, member by member, would read some
// twenty places in memory that no cache holds in a large fleet, and so cost more with every node. A hash of what was just
// decoded costs the same in any fleet.
type fingerprint uint64

var fingerprintSeed = maphash.MakeSeed()

// fingerprintOf returns the fingerprint of facts that have been judged.
func fingerprintOf(f *facts) fingerprint {
	var h maphash.Hash
	h.SetSeed(fingerprintSeed)
	maphash.WriteComparable(&h, struct {
		id, displayName, zone, origin string
		anonymous, draining           bool
		fault, verdict                fault
		addresses, ports, remarks     int
	}{
		f.id, f.displayName, f.zone, f.origin, f.anonymous, f.draining, f.fault, f.verdict,
		len(f.addresses), len(f.ports), len(f.remarks),
	})
	for _, address := range f.addresses {
		maphash.WriteComparable(&h, address)
	}
	for _, port := range f.ports {
		maphash.WriteComparable(&h, port)
	}
	for _, remark := range f.remarks {
		maphash.WriteComparable(&h, remark)
	}
	maphash.WriteComparable(&h, sumOf(f.metadata))
	maphash.WriteComparable(&h, sumOf(f.labels))
	return fingerprint(h.Sum64())
}

// sumOf returns a hash of a map that does not depend on the order of its entries.
func sumOf(m map[string]string) (sum uint64) {
	for name, value := range m {
		sum += maphash.Comparable(fingerprintSeed, [2]string{name, value})
	}
	return sum
}
