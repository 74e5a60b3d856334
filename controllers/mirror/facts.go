package mirror

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
)

// facts are what a record says of its node, as far as a projection shows it. A heartbeat leaves them as they are.
type facts struct {
	id, displayName string
	addresses       []netip.Addr
	ports           []Port
	zone            string
	metadata        map[string]string
	draining        bool
	// origin is OriginExternal, or the cluster that wrote the entry.
	origin string
	// fault says why the record is no node that can be reached; its zero value if it is one.
	fault fault

	// labels and verdict follow from the above and the policy: the labels of the DiscoveredNode, and the fault or, where
	// there is none, why the policy refuses the node.
	labels  map[string]string
	verdict fault
}

// fault is a reason and a message of the condition Ready.
type fault struct{ reason, message string }

func (f *facts) equal(o *facts) bool {
	return f.id == o.id && f.displayName == o.displayName && f.zone == o.zone && f.draining == o.draining &&
		f.origin == o.origin && f.fault == o.fault && f.verdict == o.verdict &&
		slices.Equal(f.addresses, o.addresses) && slices.Equal(f.ports, o.ports) &&
		maps.Equal(f.metadata, o.metadata) && maps.Equal(f.labels, o.labels)
}

// read turns the value of a key into facts and the load that it says it has. It never fails: what can't be read gives
// facts with a fault.
func read(key string, value []byte, p *Policy) (f facts, load string) {
	f.id, f.origin = strings.TrimPrefix(key, p.KeyPrefix), rollcallv1alpha1.OriginExternal
	record, err := discovery.Decode(value)
	if err != nil {
		f.fault = fault{rollcallv1alpha1.ReasonInvalidRecord, err.Error()}
		return f, ""
	}
	if record.Owner != nil && record.Owner.Cluster != "" {
		f.origin = record.Owner.Cluster
	}
	if excess := tooMuch(&record); excess != "" {
		f.fault = fault{rollcallv1alpha1.ReasonInvalidRecord, excess}
		return f, ""
	}
	f.displayName, f.zone, f.draining, f.metadata = record.Name, record.Zone, record.Draining, record.Metadata
	f.reach(&record)
	if record.Load != nil {
		load = strconv.FormatFloat(*record.Load, 'f', -1, 64)
	}
	return f, load
}

// reach fills in where the node is reached, or why it can't be.
func (f *facts) reach(record *discovery.Node) {
	if record.ID != f.id {
		f.fault = fault{
			rollcallv1alpha1.ReasonNodeIDMismatch,
			fmt.Sprintf("the record's NodeId is %q, its key says %q: write it under the key of its own ID", record.ID, f.id),
		}
		return
	}
	addresses, ports, err := record.Reach()
	if err != nil {
		f.fault = fault{rollcallv1alpha1.ReasonInvalidRecord, err.Error()}
		return
	}
	f.addresses = addresses
	f.ports = make([]Port, 0, len(ports))
	for _, port := range ports {
		f.ports = append(f.ports, Port{Name: port.Name, Port: int32(port.Port), Protocol: corev1.Protocol(port.Protocol)})
	}
}

// judge fills in what follows from the policy.
func (f *facts) judge(registry string, p *Policy) {
	f.labels = labelsOf(registry, f.origin, f.metadata, p)
	f.verdict = f.fault
	if f.fault.reason != "" {
		return
	}
	for _, address := range f.addresses {
		if why := p.refusal(address); why != "" {
			f.verdict = fault{rollcallv1alpha1.ReasonAddressRefused, fmt.Sprintf("the address %s %s", address, why)}
			return
		}
	}
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
	for _, port := range record.Ports {
		if len(port.Name) > rollcallv1alpha1.MaxPortNameLength {
			return fmt.Sprintf("the name of port %d is longer than %d characters", port.Port, rollcallv1alpha1.MaxPortNameLength)
		}
	}
	return ""
}

// labelsOf returns the labels of a DiscoveredNode. A metadata value that is no valid label value gives no label, since
// a changed one could select what nobody meant.
func labelsOf(registry, origin string, metadata map[string]string, p *Policy) map[string]string {
	labels := make(map[string]string, len(p.Labels)+2)
	for label, member := range p.Labels {
		if value, found := metadata[member]; found && len(validation.IsValidLabelValue(value)) == 0 {
			labels[label] = value
		}
	}
	labels[rollcallv1alpha1.LabelRegistry] = registry
	labels[rollcallv1alpha1.LabelOrigin] = labelValue(origin)
	return labels
}
