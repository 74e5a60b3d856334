package record

import (
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// Facts are what is known of a node, as far as a projection shows it. A heartbeat leaves them as they are. Their maps and
// slices are shared and must not be written to.
type Facts struct {
	// gist is that of the record that the facts come from; zero if what repeats it would say something else.
	gist Gist
	// source is the fingerprint of the Reading that the facts come from; zero if they come from what was written down.
	source fingerprint
	// Refusal is why the last record was refused; its zero value if it was accepted.
	Refusal Fault

	ID, DisplayName string
	// Addresses are the node's IP addresses, in the record's order, without zone and unmapped.
	Addresses []netip.Addr
	Ports     []Port
	Zone      string
	Metadata  map[string]string
	Draining  bool
	// Anonymous is true if the entry does not say which node it is; its key stands in for the ID.
	Anonymous bool
	// Origin is OriginExternal, or the cluster that wrote the entry.
	Origin string
	// Good is true once a record was accepted: Addresses and Ports are those of the last one that was.
	Good bool
	// whole is the metadata as it was when it could last be read completely.
	whole map[string]string
	// leftOut are the members of the last record that only inform and of which something could not be read.
	leftOut []string
	// Failing are the fields of the NodeRegistry whose expressions fail for the last record.
	Failing []string
	// Notes are what is odd about the record, but does no harm.
	Notes []string

	// The rest follows from the above and the policy; see Judge.

	// Labels are the labels of the DiscoveredNode. Present are those of Policy.Labels whose metadata the record has, sorted.
	Labels  map[string]string
	Present []string
	// Allowed are the Addresses that may take traffic.
	Allowed []netip.Addr
	// Remarks are the notes, which labels could not be made, and which addresses are left out.
	Remarks []string
	// Verdict is why the node takes no traffic, whatever else is so; its zero value if it may.
	Verdict Fault
}

// Port is one port of a node.
type Port struct {
	Name     string
	Port     int32
	Protocol corev1.Protocol
}

// Identity returns the node ID that the entry gives itself; empty if it gives itself none.
func (f *Facts) Identity() string {
	if f.Anonymous {
		return ""
	}
	return f.ID
}

// Usable returns true if the node may take traffic.
func (f *Facts) Usable() bool { return f.Verdict.Reason == "" && len(f.Allowed) > 0 }

// Accepted returns true if the last record was accepted.
func (f *Facts) Accepted() bool { return f.Refusal.Reason == "" }

// Refused returns the facts of a record that is refused: who the node is and how it is reached stay as they were in the last good
// record, if there was one.
func (f Facts) Refused(why Fault, last *Facts) Facts {
	f.Refusal, f.Good, f.gist = why, last.Good, 0
	if last.Good {
		f.ID, f.Anonymous, f.Addresses, f.Ports = last.ID, last.Anonymous, last.Addresses, last.Ports
	}
	return f
}

// Says returns true if the reading says what the facts come from.
func (f *Facts) Says(r *Reading) bool {
	if r.Repeats() {
		return f.gist == r.repeats
	}
	return f.source == r.facts.source
}

// Gist returns the gist of the record that the facts come from, for Read.
func (f *Facts) Gist() Gist { return f.gist }

// Restate notes how a reading that says the same is written.
func (f *Facts) Restate(r *Reading) {
	if !r.Repeats() {
		f.gist = r.facts.gist
	}
}

// Shown returns the addresses that a DiscoveredNode lists: those that may take traffic or, where there are none, all.
func (f *Facts) Shown() []netip.Addr {
	if len(f.Allowed) > 0 {
		return f.Allowed
	}
	return f.Addresses
}

// ShownMetadata returns as much of the metadata as a DiscoveredNode holds: the first entries by name.
func (f *Facts) ShownMetadata() map[string]string {
	if len(f.Metadata) <= rollcallv1alpha1.MaxMetadataEntries {
		return f.Metadata
	}
	first := make(map[string]string, rollcallv1alpha1.MaxMetadataEntries)
	for _, name := range slices.Sorted(maps.Keys(f.Metadata))[:rollcallv1alpha1.MaxMetadataEntries] {
		first[name] = f.Metadata[name]
	}
	return first
}

// Published returns the addresses that endpoints are made of: the first of each family.
func Published(addresses []netip.Addr) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		var v4, v6 bool
		for _, addr := range addresses {
			seen := &v6
			if addr.Is4() {
				seen = &v4
			}
			if !*seen && !yield(addr) {
				return
			}
			*seen = true
		}
	}
}

// Judge fills in what follows from the policy. A label that can't be made stays as it was in last, the labels that the same
// policy made before.
func (f *Facts) Judge(l *Labeller, p *Policy, last map[string]string) {
	made := l.label(f.Origin, f.Metadata)
	f.Labels, f.Present = made.labels, made.present
	if len(made.lacking) > 0 {
		f.Labels = maps.Clone(f.Labels)
	}
	for _, label := range made.lacking {
		if value, found := last[label]; found {
			f.Labels[label] = value
		}
	}
	f.Allowed, f.Verdict = f.Addresses, Fault{}
	refused := f.allow(p)
	switch {
	case !f.Good:
		f.Verdict = f.Refusal
	case len(f.Allowed) == 0:
		f.Verdict = faulty(rollcallv1alpha1.ReasonAddressRefused, "%s", strings.Join(refused, "; "))
	}
	f.Remarks = f.Notes
	if f.source == 0 { // What was written down is all that was to be remarked, and all that is known.
		f.whole = f.Metadata
		return
	}
	f.Remarks = slices.Clone(f.Notes)
	for _, label := range made.lacking {
		f.Remarks = append(f.Remarks, fmt.Sprintf("there is no label %s, since the metadata %.63q is no label value", label, l.members[label]))
	}
	if f.Usable() {
		for _, why := range refused {
			f.Remarks = append(f.Remarks, why+", so it is left out")
		}
	}
}

// allow finds the addresses that may take traffic, and returns what there is to say of the others.
func (f *Facts) allow(p *Policy) (refused []string) {
	for i, address := range f.Addresses {
		why := p.Refusal(address)
		switch {
		case why != "":
			if refused == nil {
				f.Allowed = slices.Clip(f.Addresses[:i:i])
			}
			refused = append(refused, fmt.Sprintf("the address %s %s", address, why))
		case refused != nil:
			f.Allowed = append(f.Allowed, address)
		}
	}
	return refused
}

// Fault is a reason and a message of a condition.
type Fault struct{ Reason, Message string }

func faulty(reason, format string, args ...any) Fault {
	return Fault{reason, Bounded(fmt.Sprintf(format, args...))}
}
