package compat

import (
	"slices"
	"testing"
)

// linkerdTakes are the kinds of targets whose endpoints Linkerd's destination controller takes, besides endpoints without a target; it
// drops all others (endpointSliceToAddresses in controller/api/destination/watcher of edge-26.8.3). This is its rule and not its code,
// since no version of github.com/linkerd/linkerd2 with EndpointSlices is to be had as a Go module.
var linkerdTakes = []string{"Pod", "ExternalWorkload"}

// TestLinkerd: Linkerd takes every endpoint, but where a Service asks for targets.
func TestLinkerd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.service("plain")
	r.service("headless", headless)
	r.service("referring", targetRef)
	for service, want := range map[string]int{"plain": 4, "headless": 4, "referring": 0} {
		taken := 0
		for _, slice := range r.slices(service) {
			for _, endpoint := range slice.Endpoints {
				if endpoint.TargetRef == nil || slices.Contains(linkerdTakes, endpoint.TargetRef.Kind) {
					taken++
				}
			}
		}
		if taken != want {
			t.Errorf("Linkerd would take %d endpoints of the Service %s, not %d", taken, service, want)
		}
	}
}
