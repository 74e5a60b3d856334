package record

import (
	"fmt"
	"iter"
	"net/netip"
	"net/url"
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
)

// Facts are what a record says of its node, as far as a projection shows it. A heartbeat leaves them as they are. Their maps
// and slices are shared and must not be written to.
type Facts struct {
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
	// Fault is why the record is no node that can be reached; its zero value if it is one.
	Fault Fault
	// Notes are what is odd about the record, but does no harm.
	Notes []string

	// Labels, Remarks and Verdict follow from the above and the policy: the labels of the DiscoveredNode, the notes and
	// which labels could not be made, and the fault or, where there is none, why the policy refuses the node.
	Labels  map[string]string
	Remarks []string
	Verdict Fault
	// fingerprint is of all of the above, as it was judged.
	fingerprint fingerprint
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

// Usable returns true if the record is good and has an address that may take traffic.
func (f *Facts) Usable() bool { return f.Verdict.Reason == "" && len(f.Addresses) > 0 }

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

// Fault is a reason and a message of the condition Ready.
type Fault struct{ Reason, Message string }

func faulty(reason, format string, args ...any) Fault {
	return Fault{reason, Bounded(fmt.Sprintf(format, args...))}
}

// MaxMessage is the greatest length of a message, in characters.
const MaxMessage = 300

// Bounded returns a text that others had a hand in as one line of bounded length, without control characters.
func Bounded(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > MaxMessage {
		return string(runes[:MaxMessage-1]) + "…"
	}
	return text
}

// Equal returns true if both say the same of the node. Both must have been judged.
func (f *Facts) Equal(o *Facts) bool { return f.fingerprint == o.fingerprint }

// MaxRecordSize is the greatest size of a value in bytes; a larger one is not even decoded. MaxNodeSize is that of what a
// record says of its node: the API server keeps an object of 1.5 MiB at most, and JSON may take six times the room.
const (
	MaxRecordSize = 256 << 10
	MaxNodeSize   = 128 << 10
)

// Read turns an entry of the bucket into facts and the load that it says it has. It never fails: what can't be read gives
// facts with a fault.
func Read(x *kv.Entry, p *Policy) (f Facts, load string) {
	f.Origin = rollcallv1alpha1.OriginExternal
	if f.Fault = f.identify(x.Key, p); f.Fault.Reason != "" {
		return f, ""
	}
	if len(x.Value) > MaxRecordSize {
		f.Fault = faulty(rollcallv1alpha1.ReasonInvalidRecord, "the record has %d bytes, the most is %d", len(x.Value), MaxRecordSize)
		return f, ""
	}
	content := p.reader().Read(x.Key, x.Value)
	if content.Err != nil {
		f.Fault = faulty(rollcallv1alpha1.ReasonInvalidRecord, "%v", content.Err)
		return f, ""
	}
	record := content.Node
	if record.Owner != nil && record.Owner.Cluster != "" {
		f.Origin = record.Owner.Cluster
	}
	f.Fault = f.name(record.ID, p)
	if excess := tooMuch(&record); excess != "" {
		f.Fault = faulty(rollcallv1alpha1.ReasonInvalidRecord, "%s", excess)
		return f, ""
	}
	if f.Fault.Reason == "" {
		f.Fault = f.reach(&record)
	}
	f.DisplayName, f.Zone, f.Draining, f.Metadata = record.Name, record.Zone, record.Draining, record.Metadata
	f.Notes = notesOn(&record, x.Written)
	return f, loadText(record.Load)
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

// name takes in the ID that the record gives its node.
func (f *Facts) name(id string, p *Policy) Fault {
	switch {
	case p.reader().KeyHoldsID():
		if id != f.ID {
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

// reach fills in where the node is reached, or says why it can't be.
func (f *Facts) reach(record *discovery.Node) Fault {
	addresses, ports, err := record.Reach()
	if err != nil {
		return faulty(rollcallv1alpha1.ReasonInvalidRecord, "%v", err)
	}
	for _, port := range ports {
		if utf8.RuneCountInString(port.Name) > rollcallv1alpha1.MaxPortNameLength {
			return faulty(rollcallv1alpha1.ReasonInvalidRecord, "the name of port %d is longer than %d characters", port.Port, rollcallv1alpha1.MaxPortNameLength)
		}
	}
	f.Addresses = addresses
	f.Ports = make([]Port, 0, len(ports))
	for _, port := range ports {
		f.Ports = append(f.Ports, Port{Name: port.Name, Port: int32(port.Port), Protocol: corev1.Protocol(port.Protocol)})
	}
	return Fault{}
}

// Judge fills in what follows from the policy.
func (f *Facts) Judge(l *Labeller, p *Policy) {
	made := l.label(f.Origin, f.Metadata)
	f.Labels = made.labels
	f.Remarks = slices.Concat(f.Notes, made.unfit)
	f.Verdict = f.Fault
	if f.Fault.Reason == "" {
		f.Verdict = f.refusal(p)
	}
	f.fingerprint = fingerprintOf(f)
}

// refusal says why the policy refuses the node; the zero fault if it does not.
func (f *Facts) refusal(p *Policy) Fault {
	for _, address := range f.Addresses {
		if why := p.Refusal(address); why != "" {
			return faulty(rollcallv1alpha1.ReasonAddressRefused, "the address %s %s", address, why)
		}
	}
	return Fault{}
}

// tooMuch says which limit of a DiscoveredNode the record breaks; empty if none. The API server would refuse it.
func tooMuch(record *discovery.Node) string {
	for _, limit := range []struct {
		member       string
		length, most int
	}{
		{"Name", utf8.RuneCountInString(record.Name), rollcallv1alpha1.MaxDisplayNameLength},
		{"Zone", utf8.RuneCountInString(record.Zone), rollcallv1alpha1.MaxZoneLength},
		{"Addresses", len(record.Addresses), rollcallv1alpha1.MaxAddresses},
		{"Ports", len(record.Ports), rollcallv1alpha1.MaxPorts},
		{"Metadata", len(record.Metadata), rollcallv1alpha1.MaxMetadataEntries},
	} {
		if limit.length > limit.most {
			return fmt.Sprintf("the record's %s has a length of %d, the most is %d", limit.member, limit.length, limit.most)
		}
	}
	size := len(record.ID) + len(record.Name) + len(record.Zone)
	for name, value := range record.Metadata {
		size += len(name) + len(value)
	}
	if size > MaxNodeSize {
		return fmt.Sprintf("the record's strings have %d bytes, the most is %d", size, MaxNodeSize)
	}
	return ""
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

// The notes on a record.
const (
	NoteEndpoint = "only the scheme, address and port of Endpoint are used"
	NoteClock    = "LastSeen is more than a day away from the time at which the server had it"
)

// maxSkew is how far the clock of a node may be off before that is worth a note. A time written without its zone is off by
// less.
const maxSkew = 24 * time.Hour

// notesOn says what is odd about a record, but does no harm.
func notesOn(record *discovery.Node, written time.Time) (notes []string) {
	if len(record.Addresses) == 0 || len(record.Ports) == 0 {
		u, err := url.Parse(record.Endpoint)
		if err == nil && u.Host != "" && (strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "") {
			notes = append(notes, NoteEndpoint)
		}
	}
	if !record.LastSeen.IsZero() && !written.IsZero() && record.LastSeen.Sub(written).Abs() > maxSkew {
		notes = append(notes, NoteClock)
	}
	return notes
}
