package record

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/discovery/kv"
	"github.com/rollcall-dev/rollcall/internal/expression"
)

// MaxRecordSize is the greatest size of a value in bytes; a larger one is refused undecoded.
const MaxRecordSize = 64 << 10

// Reading is what one message says of its node. What is known of the node besides fills it up; see Onto.
type Reading struct {
	facts Facts
	// load is the load that the node says it has.
	load string
	// unread is true if nothing could be read, so that load and facts say nothing.
	unread bool
	// repeats is the gist of the record that this one repeats, so that the facts are those of it; zero: the record was decoded.
	repeats Gist
}

// Read reads a message of the bucket. It never fails: what can't be read gives a reading that is refused. A record with the gist
// last, that of the node's Facts, repeats the one that these come from, and is not decoded.
func Read(x *kv.Entry, p *Policy, last Gist) (r Reading) {
	s := skimmedOf(x, p)
	if s.gist != 0 && s.gist == last {
		r.repeats, r.load = last, s.shown("")
		return r
	}
	r.facts.Origin = rollcallv1alpha1.OriginExternal
	r.read(x, p)
	r.facts.Good = r.facts.Accepted()
	r.facts.source = fingerprintOf(&r.facts, r.unread)
	if r.facts.Good && len(r.facts.Notes) == 0 {
		r.facts.gist = s.gist
	}
	return r
}

// Repeats returns true for a message whose record repeats that of the node's Facts, and the load that the node says it has, which was
// load. It takes no longer than the record is long.
func (f *Facts) Repeats(x *kv.Entry, p *Policy, load string) (now string, repeats bool) {
	if f.gist == 0 {
		return "", false
	}
	s := skimmedOf(x, p)
	if s.gist != f.gist {
		return "", false
	}
	return s.shown(load), true
}

// skimmedOf returns what a message's text says as far as it is known without decoding it.
func skimmedOf(x *kv.Entry, p *Policy) (s skimmed) {
	if p.Plain() && len(x.Value) <= MaxRecordSize {
		s = skim(x.Value)
	}
	if !s.seen.IsZero() && s.seen.Sub(x.Written).Abs() > maxSkew {
		s.gist = 0 // There may be something to remark.
	}
	return s
}

// Repeats returns true if the record was not decoded, so that the reading is one only for the Facts that it repeats.
func (r *Reading) Repeats() bool { return r.repeats != 0 }

// Origin returns where the entry comes from; OriginExternal if it does not say.
func (r *Reading) Origin() string { return r.facts.Origin }

// Load returns the load that the node says it has, if it could be read, else the last one.
func (r *Reading) Load(last string) string {
	if r.unread {
		return last
	}
	return r.load
}

// Onto returns what is known of the node after the reading; last is what was known before, nil for nothing. A record that is
// refused leaves who the node is and how it is reached as it was, and what else it says counts as far as it could be read.
func (r *Reading) Onto(last *Facts) Facts {
	f := r.facts
	if r.Repeats() {
		return *last
	}
	if last == nil {
		f.whole = f.Metadata
		return f
	}
	if f.Anonymous && !last.Anonymous {
		f.ID, f.Anonymous = last.ID, false // A broken record is not to change names.
	}
	if r.unread {
		f.Draining, f.Origin, f.DisplayName, f.Zone, f.Metadata = last.Draining, last.Origin, "", "", nil
	}
	if f.fill(last); !f.Accepted() {
		return f.Refused(f.Refusal, last)
	}
	return f
}

// fill takes what could not be read of the members that only inform from what was known before. A refused record that lacks
// them has not taken them back.
func (f *Facts) fill(last *Facts) {
	missing := func(member string) bool { return !f.Accepted() || slices.Contains(f.leftOut, member) }
	if missing("Name") {
		f.DisplayName = cmp.Or(f.DisplayName, last.DisplayName)
	}
	if missing(memberZone) {
		f.Zone = cmp.Or(f.Zone, last.Zone)
	}
	if slices.Contains(f.leftOut, "Draining") {
		f.Draining = last.Draining
	}
	if f.whole = f.Metadata; slices.Contains(f.leftOut, memberMetadata) || !f.Accepted() && len(f.Metadata) == 0 {
		f.whole = last.whole
		metadata := make(map[string]string, len(f.whole)+len(f.Metadata))
		maps.Copy(metadata, f.whole)
		maps.Copy(metadata, f.Metadata)
		f.Metadata = metadata
	}
}

func (r *Reading) read(x *kv.Entry, p *Policy) {
	f := &r.facts
	if f.Refusal = f.identify(x.Key, p); !f.Accepted() {
		r.unread = true
		return
	}
	if len(x.Value) > MaxRecordSize {
		r.unread = true
		f.Refusal = faulty(rollcallv1alpha1.ReasonInvalidRecord, "the record has more than %d bytes", MaxRecordSize)
		return
	}
	c := p.reader().Read(x.Key, x.Value)
	r.unread, f.Failing, f.leftOut = c.Unread, c.Failing, c.LeftOut
	for _, remark := range c.Remarks {
		f.Notes = append(f.Notes, remark.String())
	}
	f.inform(&c.Node)
	f.remark(&c.Node, x.Written)
	r.load = loadText(c.Node.Load)
	if c.Err != nil {
		f.Refusal = refusal(c.Err)
		return
	}
	if f.Refusal = r.name(c.Node.ID, p); f.Accepted() {
		f.Refusal = f.reach(&c.Node)
	}
}

// refusal returns why a Reader refuses a record.
func refusal(err error) Fault {
	reason := rollcallv1alpha1.ReasonInvalidRecord
	if wrong, ok := errors.AsType[*discovery.RecordError](err); ok && wrong.Reason == expression.ReasonFailed {
		reason = rollcallv1alpha1.ReasonExpressionFailed
	}
	return faulty(reason, "%v", err)
}

// identify says who the node is as far as its key tells.
func (f *Facts) identify(key string, p *Policy) Fault {
	id := strings.TrimPrefix(key, p.KeyPrefix)
	if _, err := discovery.Key(p.KeyPrefix, id); err != nil {
		f.ID, f.Anonymous = strings.ToValidUTF8(key, "\uFFFD"), true
		return faulty(rollcallv1alpha1.ReasonInvalidKey,
			"the key %.80q is none: after the prefix %q there are to be letters, digits and -/_=. without a dot at either end or two in a row, %d bytes in all at most",
			key, p.KeyPrefix, discovery.MaxKeyLength)
	}
	f.ID, f.Anonymous = id, !p.reader().KeyHoldsID()
	if f.Anonymous {
		f.ID = key
	}
	return Fault{}
}

// name takes over the ID that the record gives its node.
func (r *Reading) name(id string, p *Policy) Fault {
	f := &r.facts
	switch {
	case p.reader().KeyHoldsID():
		if id != f.ID {
			r.unread = true // It is a record of another node, whatever else it says.
			return faulty(rollcallv1alpha1.ReasonNodeIDMismatch,
				"the record's NodeId is %.80q, its key says %.80q: write it under the key of its own ID", id, f.ID)
		}
	case utf8.RuneCountInString(id) > rollcallv1alpha1.MaxKeyLength:
		return faulty(rollcallv1alpha1.ReasonInvalidRecord, "the node ID is longer than %d characters", rollcallv1alpha1.MaxKeyLength)
	case !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl):
		return faulty(rollcallv1alpha1.ReasonInvalidRecord, "the node ID %.80q has control characters", id)
	default:
		f.ID, f.Anonymous = id, false
	}
	return Fault{}
}

// reach takes over where the node is reached, or says why it can't be.
func (f *Facts) reach(record *discovery.Node) Fault {
	addresses, ports, err := record.Reach()
	if err != nil {
		return faulty(rollcallv1alpha1.ReasonInvalidRecord, "%v", err)
	}
	f.Addresses = addresses
	f.Ports = make([]Port, 0, len(ports))
	for _, port := range ports {
		f.Ports = append(f.Ports, Port{Name: port.Name, Port: int32(port.Port), Protocol: corev1.Protocol(port.Protocol)})
	}
	// Some writers keep their ports in a map, and so give them in another order each time.
	slices.SortFunc(f.Ports, func(a, b Port) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
	})
	return Fault{}
}

// inform takes over the members that only inform, and says what of them a DiscoveredNode does not hold.
func (f *Facts) inform(record *discovery.Node) {
	if record.Owner != nil && record.Owner.Cluster != "" {
		f.Origin = record.Owner.Cluster
	}
	f.Draining, f.DisplayName, f.Zone, f.Metadata = record.Draining, record.Name, record.Zone, record.Metadata
	if runes := []rune(record.Name); len(record.Name) > rollcallv1alpha1.MaxDisplayNameLength && len(runes) > rollcallv1alpha1.MaxDisplayNameLength {
		f.DisplayName = string(runes[:rollcallv1alpha1.MaxDisplayNameLength])
		f.note("Name has more than %d characters: the rest is left out", rollcallv1alpha1.MaxDisplayNameLength)
	}
	if utf8.RuneCountInString(record.Zone) > rollcallv1alpha1.MaxZoneLength {
		f.Zone, f.leftOut = "", append(f.leftOut, memberZone)
		f.note("Zone has more than %d characters: it is left out", rollcallv1alpha1.MaxZoneLength)
	}
	if len(record.Metadata) > rollcallv1alpha1.MaxMetadataEntries {
		f.note("Metadata has more than %d entries: the first by name are shown", rollcallv1alpha1.MaxMetadataEntries)
	}
}

func (f *Facts) note(format string, args ...any) {
	f.Notes = append(f.Notes, fmt.Sprintf(format, args...))
}

// loadText returns the load as it is shown: in full where that is short enough.
func loadText(load *float64) string {
	if load == nil {
		return ""
	}
	text := strconv.FormatFloat(*load, 'f', -1, 64)
	if len(text) > rollcallv1alpha1.MaxLoadLength {
		return strconv.FormatFloat(*load, 'g', -1, 64)
	}
	return text
}

// maxSkew is how far the clock of a node may be off before that is worth a note. A time written without its zone is off by
// less.
const maxSkew = 24 * time.Hour

// remark says what is odd about a record, but does no harm.
func (f *Facts) remark(record *discovery.Node, written time.Time) {
	if _, at, _ := strings.Cut(record.Endpoint, "://"); strings.ContainsAny(strings.TrimRight(at, "/?#"), "/?#") && (len(record.Addresses) == 0 || len(record.Ports) == 0) {
		f.note("only the scheme, address and port of Endpoint are used")
	}
	if !record.LastSeen.IsZero() && !written.IsZero() && record.LastSeen.Sub(written).Abs() > maxSkew {
		f.note("LastSeen is more than a day away from the time at which the server had it")
	}
}
