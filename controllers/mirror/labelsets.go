package mirror

import (
	"reflect"

	"k8s.io/apimachinery/pkg/labels"
)

// labelSets has the entries whose nodes share a map of labels, by its address: a selector looks at each map once, and at the nodes that
// it selects.
type labelSets map[uintptr]*labelled

// labelled is the entries with the same labels. It holds the map, so that its address stays its own.
type labelled struct {
	labels  map[string]string
	entries []*entry
}

// enter adds an entry under the labels of its node, where it is not under them already.
func (a labelSets) enter(e *entry) {
	address := reflect.ValueOf(e.node.Labels).Pointer()
	l := a[address]
	if l == nil {
		l = &labelled{labels: e.node.Labels}
		a[address] = l
	}
	if e.labelled != l {
		a.leave(e)
		e.labelled, e.place = l, len(l.entries)
		l.entries = append(l.entries, e)
	}
}

// leave takes out an entry, if it is there.
func (a labelSets) leave(e *entry) {
	l := e.labelled
	if l == nil {
		return
	}
	last := len(l.entries) - 1
	l.entries[e.place] = l.entries[last]
	l.entries[e.place].place = e.place
	l.entries[last], e.labelled = nil, nil
	if l.entries = l.entries[:last]; last == 0 {
		delete(a, reflect.ValueOf(l.labels).Pointer())
	}
}

// selected returns the nodes whose labels match.
func (a labelSets) selected(selector labels.Selector) (nodes []*Node) {
	for _, l := range a {
		if selector.Matches(labels.Set(l.labels)) {
			for _, e := range l.entries {
				nodes = append(nodes, e.node)
			}
		}
	}
	return nodes
}
