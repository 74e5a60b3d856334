package mirror

import (
	"fmt"
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

// facts are what a record says of its node, as far as a projection shows it. A heartbeat leaves them as they are.
type facts struct {
	id, displayName string
	addresses       []netip.Addr
	ports           []Port
	zone            string
	metadata        map[string]string
	draining        bool
	// anonymous says that the entry does not say which node it is; its key stands in for the ID.
	anonymous bool
	// origin is OriginExternal, or the cluster that wrote the entry.
	origin string
	// fault says why the record is no node that can be reached; its zero value if it is one.
	fault fault
	// notes are what is odd about the record, but does no harm.
	notes []string

	// labels, remarks and verdict follow from the above and the policy: the labels of the DiscoveredNode, the notes and
	// which labels could not be made, and the fault or, where there is none, why the policy refuses the node.
	labels  map[string]string
	remarks []string
	verdict fault
	// fingerprint is of all of the above, as it was judged.
	fingerprint fingerprint
}

// fault is a reason and a message of the condition Ready.
type fault struct{ reason, message string }

func faulty(reason, format string, args ...any) fault {
	return fault{reason, bounded(fmt.Sprintf(format, args...))}
}

// maxMessage is the greatest length of a message, in characters.
const maxMessage = 300

// bounded returns a text that others had a hand in as one line of bounded length, without control characters.
func bounded(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > maxMessage {
		return string(runes[:maxMessage-1]) + "…"
	}
	return text
}

// equal says whether both say the same of the node. Both must have been judged.
func (f *facts) equal(o *facts) bool { return f.fingerprint == o.fingerprint }

// maxRecordSize is the greatest size of a value in bytes; a larger one is not even decoded. maxNodeSize is that of what a
// record says of its node: the API server keeps an object of 1.5 MiB at most, and JSON may take six times the room.
const (
	maxRecordSize = 256 << 10
	maxNodeSize   = 128 << 10
)

// read turns an entry of the bucket into facts and the load that it says it has. It never fails: what can't be read gives
// facts with a fault.
func read(x *kv.Entry, p *Policy) (f facts, load string) {
	f.origin = rollcallv1alpha1.OriginExternal
	if f.fault = f.identify(x.Key, p); f.fault.reason != "" {
		return f, ""
	}
	if len(x.Value) > maxRecordSize {
		f.fault = faulty(rollcallv1alpha1.ReasonInvalidRecord, "the record has %d bytes, the most is %d", len(x.Value), maxRecordSize)
		return f, ""
	}
	record, err := p.reader().Read(x.Key, x.Value)
	if err != nil {
		f.fault = faulty(rollcallv1alpha1.ReasonInvalidRecord, "%v", err)
		return f, ""
	}
	if record.Owner != nil && record.Owner.Cluster != "" {
		f.origin = record.Owner.Cluster
	}
	f.fault = f.name(record.ID, p)
	if excess := tooMuch(&record); excess != "" {
		f.fault = faulty(rollcallv1alpha1.ReasonInvalidRecord, "%s", excess)
		return f, ""
	}
	if f.fault.reason == "" {
		f.fault = f.reach(&record)
	}
	f.displayName, f.zone, f.draining, f.metadata = record.Name, record.Zone, record.Draining, record.Metadata
	f.notes = notesOn(&record, x.Written)
	return f, loadText(record.Load)
}

// identify says who the node is as far as its key tells.
func (f *facts) identify(key string, p *Policy) fault {
	id := strings.TrimPrefix(key, p.KeyPrefix)
	if _, err := discovery.Key(p.KeyPrefix, id); err != nil {
		f.id, f.anonymous = strings.ToValidUTF8(key, "\uFFFD"), true
		return faulty(rollcallv1alpha1.ReasonInvalidKey,
			"the key %.80q is none: after the prefix %q there are to be letters, digits and -/_=. without a dot at either end or two in a row, %d bytes in all at most",
			key, p.KeyPrefix, discovery.MaxKeyLength)
	}
	f.id, f.anonymous = id, !p.reader().KeyHoldsID()
	if f.anonymous {
		f.id = key
	}
	return fault{}
}

// name takes in the ID that the record gives its node.
func (f *facts) name(id string, p *Policy) fault {
	switch {
	case p.reader().KeyHoldsID():
		if id != f.id {
			return faulty(rollcallv1alpha1.ReasonNodeIDMismatch,
				"the record's NodeId is %.80q, its key says %.80q: write it under the key of its own ID", id, f.id)
		}
	case utf8.RuneCountInString(id) > rollcallv1alpha1.MaxKeyLength:
		return faulty(rollcallv1alpha1.ReasonInvalidRecord, "the node ID is longer than %d characters", rollcallv1alpha1.MaxKeyLength)
	case !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl):
		return faulty(rollcallv1alpha1.ReasonInvalidRecord, "the node ID %.80q has control characters", id)
	default:
		f.id, f.anonymous = id, false
	}
	return fault{}
}

// reach fills in where the node is reached, or says why it can't be.
func (f *facts) reach(record *discovery.Node) fault {
	addresses, ports, err := record.Reach()
	if err != nil {
		return faulty(rollcallv1alpha1.ReasonInvalidRecord, "%v", err)
	}
	for _, port := range ports {
		if utf8.RuneCountInString(port.Name) > rollcallv1alpha1.MaxPortNameLength {
			return faulty(rollcallv1alpha1.ReasonInvalidRecord, "the name of port %d is longer than %d characters", port.Port, rollcallv1alpha1.MaxPortNameLength)
		}
	}
	f.addresses = addresses
	f.ports = make([]Port, 0, len(ports))
	for _, port := range ports {
		f.ports = append(f.ports, Port{Name: port.Name, Port: int32(port.Port), Protocol: corev1.Protocol(port.Protocol)})
	}
	return fault{}
}

// judge fills in what follows from the policy.
func (f *facts) judge(l *labeller, p *Policy) {
	made := l.label(f.origin, f.metadata)
	f.labels = made.labels
	f.remarks = slices.Concat(f.notes, made.unfit)
	f.verdict = f.fault
	if f.fault.reason == "" {
		f.verdict = f.refusal(p)
	}
	f.fingerprint = fingerprintOf(f)
}

// refusal says why the policy refuses the node; the zero fault if it does not.
func (f *facts) refusal(p *Policy) fault {
	for _, address := range f.addresses {
		if why := p.refusal(address); why != "" {
			return faulty(rollcallv1alpha1.ReasonAddressRefused, "the address %s %s", address, why)
		}
	}
	return fault{}
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
	if size > maxNodeSize {
		return fmt.Sprintf("the record's strings have %d bytes, the most is %d", size, maxNodeSize)
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
	noteEndpoint = "only the scheme, address and port of Endpoint are used"
	noteClock    = "LastSeen is more than a day away from the time at which the server had it"
)

// maxSkew is how far the clock of a node may be off before that is worth a note. A time written without its zone is off by
// less.
const maxSkew = 24 * time.Hour

// notesOn says what is odd about a record, but does no harm.
func notesOn(record *discovery.Node, written time.Time) (notes []string) {
	if len(record.Addresses) == 0 || len(record.Ports) == 0 {
		u, err := url.Parse(record.Endpoint)
		if err == nil && u.Host != "" && (strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "") {
			notes = append(notes, noteEndpoint)
		}
	}
	if !record.LastSeen.IsZero() && !written.IsZero() && record.LastSeen.Sub(written).Abs() > maxSkew {
		notes = append(notes, noteClock)
	}
	return notes
}
