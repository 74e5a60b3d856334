package record

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

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
	known   map[string]labelling
	key     []byte
}

// labelling is a set of labels, and what there is to say of those that could not be made.
type labelling struct {
	labels map[string]string
	// lacking are the labels that could not be made, unfit what there is to say of them.
	lacking, unfit []string
	// present are the labels whose metadata is there, sorted, whether or not it is a label value.
	present []string
}

// keep returns the labels with those of before that can't be made now.
func (l labelling) keep(before map[string]string) labelling {
	shared := true
	for _, label := range l.lacking {
		value, found := before[label]
		if !found {
			continue
		}
		if shared {
			l.labels, shared = maps.Clone(l.labels), false
		}
		l.labels[label] = value
	}
	return l
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
		if value, found := metadata[l.members[label]]; found {
			// With its length before it no value can be taken for the end of one and the beginning of another.
			l.key = strconv.AppendInt(append(l.key, '/'), int64(len(value)), 10)
			l.key = append(append(l.key, ':'), value...)
		} else {
			l.key = append(l.key, '/')
		}
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
		member := l.members[label]
		value, found := metadata[member]
		if found {
			made.present = append(made.present, label)
		}
		switch {
		case found && len(validation.IsValidLabelValue(value)) == 0:
			made.labels[label] = value
		case found:
			made.lacking = append(made.lacking, label)
			made.unfit = append(made.unfit, fmt.Sprintf("there is no label %s, since the metadata %.63q is no label value", label, member))
		}
	}
	made.labels[rollcallv1alpha1.LabelRegistry] = l.registry
	made.labels[rollcallv1alpha1.LabelOrigin] = labelValue(origin)
	return made
}
