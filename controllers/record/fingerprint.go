package record

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
func fingerprintOf(f *Facts) fingerprint {
	var h maphash.Hash
	h.SetSeed(fingerprintSeed)
	maphash.WriteComparable(&h, struct {
		id, displayName, zone, origin string
		anonymous, draining           bool
		fault, verdict                Fault
		addresses, ports, remarks     int
	}{
		f.ID, f.DisplayName, f.Zone, f.Origin, f.Anonymous, f.Draining, f.Fault, f.Verdict,
		len(f.Addresses), len(f.Ports), len(f.Remarks),
	})
	for _, address := range f.Addresses {
		maphash.WriteComparable(&h, address)
	}
	for _, port := range f.Ports {
		maphash.WriteComparable(&h, port)
	}
	for _, remark := range f.Remarks {
		maphash.WriteComparable(&h, remark)
	}
	maphash.WriteComparable(&h, sumOf(f.Metadata))
	maphash.WriteComparable(&h, sumOf(f.Labels))
	return fingerprint(h.Sum64())
}

// sumOf returns a hash of a map that does not depend on the order of its entries.
func sumOf(m map[string]string) (sum uint64) {
	for name, value := range m {
		sum += maphash.Comparable(fingerprintSeed, [2]string{name, value})
	}
	return sum
}
