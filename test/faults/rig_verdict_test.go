package faults

import (
	"cmp"
	"fmt"
	"maps"
	"strings"
	"time"
)

// allowance is how much later than promised anything may be in the short run, which shares its machine with other tests.
func allowance() time.Duration { return time.Duration(times(2, 0)) * time.Second }

// limits returns the bounds of what shows where nothing is broken.
func limits() (endpoints, nodes bounds) {
	bound := time.Second + allowance()
	endpoints = bounds{arrive: bound, leave: bound, expire: bound}
	late := 5*time.Second + allowance()
	nodes = bounds{arrive: late, leave: late, expire: late}
	return endpoints, nodes
}

// settle waits until everything shows as it is.
func (r *rig) settle() {
	r.Helper()
	if !wait(patience, func() bool { return r.shown(r.observer.endpoints) && r.shown(r.observer.nodes) }) {
		alive := r.fleet.alive()
		r.Errorf("after %s not everything shows as it is: %s", patience,
			differences(alive, r.observer.endpoints.present(), "endpoint")+differences(alive, r.observer.nodes.present(), "DiscoveredNode"))
	}
}

// shown says whether everything shows as it is. The counts are compared first: a large fleet takes its time.
func (r *rig) shown(v *view) bool {
	return v.count() == r.fleet.count() && maps.Equal(v.present(), r.fleet.alive())
}

// differences says what is not shown, and what is that should not be.
func differences(want, got map[string]bool, kind string) string {
	var text strings.Builder
	for e := range want {
		if !got[e] {
			fmt.Fprintf(&text, "\n%s %s is missing", kind, e)
		}
	}
	for e := range got {
		if !want[e] {
			fmt.Fprintf(&text, "\n%s %s is still there", kind, e)
		}
	}
	return text.String()
}

// linger lets pass the time in which what is noticed late, or follows from a grace, would show.
func (r *rig) linger() { pass(r.ttl + infoInterval + time.Second) }

// judge settles, and judges all that happened.
func (r *rig) judge() {
	r.Helper()
	r.settle()
	r.verdict(limits())
}

func (r *rig) verdict(endpoints, nodes bounds) {
	r.Helper()
	r.verdictOn("endpoint", r.observer.endpoints, r.concerning(false), endpoints)
	r.verdictOn("DiscoveredNode", r.observer.nodes, r.concerning(true), nodes)
}

// verdictOn judges what one view has shown.
func (r *rig) verdictOn(kind string, v *view, windows []window, b bounds) {
	r.Helper()
	// In this order: until then all was seen, and of what was seen all that the nodes did is known.
	until := time.Now()
	seen := v.sightings()
	found := judge(&history{ttl: cmp.Or(r.silence, r.ttl), lives: r.fleet.lives(), windows: windows, seen: seen, until: until}, b)
	r.row.add(found)
	if found.stalled > 0 {
		r.Logf("%s: %d times a node fell silent for longer than the TTL because this machine stalled", kind, found.stalled)
	}
	for i, note := range found.notes {
		if i == 20 {
			r.Errorf("… and %d more", len(found.notes)-i)
			break
		}
		r.Errorf("%s %s", kind, note)
	}
}

// concerning returns the windows that concern the endpoints, or the DiscoveredNodes.
func (r *rig) concerning(nodes bool) []window {
	r.mu.Lock()
	defer r.mu.Unlock()
	var windows []window
	for _, w := range r.windows {
		if nodes || !w.nodesOnly {
			windows = append(windows, *w)
		}
	}
	return windows
}
