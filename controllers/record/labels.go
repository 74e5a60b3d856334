package record

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

const (
	// maxLabellings and maxLabellingKey bound what a Labeller keeps: how many sets of labels, and the length of what a set is
	// known by, in bytes. A fleet has few sets, unless each node has a label of its own.
	maxLabellings   = 1024
	maxLabellingKey = 1024
)

// Labeller makes the labels of a registry's DiscoveredNodes. Nodes that are labelled alike share one map: it is most of
// what a node would need for itself, and of what a heartbeat would leave to the garbage collector. It is not safe for
// concurrent use.
type Labeller struct {
	registry string
	// labels are those that come from the metadata, sorted, and members says from which entry of it each does.
	labels  []string
	members map[string]string
	known   map[string]labelling // by what they are made of
	key     []byte
}

// labelling is a set of labels.
type labelling struct {
	labels map[string]string
	// present are the labels whose metadata is there, sorted, lacking those of them whose metadata is no label value.
	present, lacking []string
}

// NewLabeller returns a Labeller for the registry. members are Policy.Labels.
func NewLabeller(registry string, members map[string]string) *Labeller {
	return &Labeller{
		registry: registry, labels: slices.Sorted(maps.Keys(members)), members: members, known: map[string]labelling{},
	}
}

// Labels returns the labels that come from the metadata, sorted.
func (l *Labeller) Labels() []string { return l.labels }

// label returns the labels of a node with that origin and metadata. They are shared and must not be written to.
func (l *Labeller) label(origin string, metadata map[string]string) labelling {
	l.key = append(l.key[:0], origin...)
	for _, label := range l.labels {
		value, found := metadata[l.members[label]]
		l.key = fmt.Appendf(l.key, "/%t%q", found, value)
	}
	if known, found := l.known[string(l.key)]; found {
		return known
	}
	made := l.make(origin, metadata)
	if len(l.key) <= maxLabellingKey {
		if len(l.known) >= maxLabellings {
			clear(l.known)
		}
		l.known[string(l.key)] = made
	}
	return made
}

// make makes labels. A metadata value that is no valid label value gives no label, since a changed one could select what
// nobody meant.
func (l *Labeller) make(origin string, metadata map[string]string) labelling {
	made := labelling{labels: make(map[string]string, len(l.labels)+2)}
	for _, label := range l.labels {
		value, found := metadata[l.members[label]]
		if found {
			made.present = append(made.present, label)
		}
		switch {
		case found && len(validation.IsValidLabelValue(value)) == 0:
			made.labels[label] = value
		case found:
			made.lacking = append(made.lacking, label)
		}
	}
	made.labels[rollcallv1alpha1.LabelRegistry] = l.registry
	made.labels[rollcallv1alpha1.LabelOrigin] = labelValue(origin)
	return made
}

// FormatLabels returns labels as the annotation rollcall.dev/labels holds them, without those that every DiscoveredNode has.
func FormatLabels(labels map[string]string) string {
	var text strings.Builder
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		if label == rollcallv1alpha1.LabelRegistry || label == rollcallv1alpha1.LabelOrigin {
			continue
		}
		if text.Len() > 0 {
			text.WriteByte(',')
		}
		text.WriteString(label)
		text.WriteByte('=')
		text.WriteString(labels[label])
	}
	return text.String()
}

// WrittenLabels returns the labels that Rollcall has given a DiscoveredNode for spec.labels. Others may have labelled it as well.
func WrittenLabels(dn *rollcallv1alpha1.DiscoveredNode) map[string]string {
	written := map[string]string{}
	for item := range strings.SplitSeq(dn.Annotations[rollcallv1alpha1.AnnotationLabels], ",") {
		if label, value, found := strings.Cut(item, "="); found {
			written[label] = value
		}
	}
	return written
}
