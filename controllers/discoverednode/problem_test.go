package discoverednode

import (
	"testing"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

// Of several problems the least counts, and what is as it should be is none.
func TestProblemOf(t *testing.T) {
	phase := func(phase rollcallv1alpha1.NodePhase, reason string) func(*mirror.Node) {
		return func(n *mirror.Node) { n.Phase, n.Reason = phase, reason }
	}
	isRefused := func(n *mirror.Node) { n.Refusal = record.Fault{Reason: rollcallv1alpha1.ReasonInvalidRecord} }
	isStale := phase(rollcallv1alpha1.NodeStale, rollcallv1alpha1.ReasonStale)
	isInvalid := phase(rollcallv1alpha1.NodeInvalid, rollcallv1alpha1.ReasonInvalidRecord)
	isCordoned := func(n *mirror.Node) { n.Cordoned = true }
	isShared := func(n *mirror.Node) { n.Shared, n.Remarks = true, []string{"two writers"} }
	for name, test := range map[string]struct {
		changes []func(*mirror.Node)
		want    problem
	}{
		"it heartbeats":         {nil, fine},
		"another message":       {[]func(*mirror.Node){func(n *mirror.Node) { n.Message, n.Load = "", "9" }}, fine},
		"draining":              {[]func(*mirror.Node){phase(rollcallv1alpha1.NodeDraining, rollcallv1alpha1.ReasonDraining)}, fine},
		"remembered":            {[]func(*mirror.Node){func(n *mirror.Node) { n.Remembered = true }}, fine},
		"a remark":              {[]func(*mirror.Node){func(n *mirror.Node) { n.Remarks = []string{"odd"} }}, remarked},
		"two writers":           {[]func(*mirror.Node){isShared}, shared},
		"expired":               {[]func(*mirror.Node){phase(rollcallv1alpha1.NodeExpired, rollcallv1alpha1.ReasonExpired)}, expired},
		"expired while refused": {[]func(*mirror.Node){isRefused, phase(rollcallv1alpha1.NodeExpired, rollcallv1alpha1.ReasonExpired)}, expired},
		"never accepted":        {[]func(*mirror.Node){isRefused, isInvalid}, invalid},
		"addresses refused":     {[]func(*mirror.Node){phase(rollcallv1alpha1.NodeInvalid, rollcallv1alpha1.ReasonAddressRefused)}, invalid},
		"stale":                 {[]func(*mirror.Node){isStale}, stale},
		"superseded":            {[]func(*mirror.Node){phase(rollcallv1alpha1.NodeStale, rollcallv1alpha1.ReasonSuperseded)}, stale},
		"stale with a remark":   {[]func(*mirror.Node){isStale, isShared}, stale},
		"held":                  {[]func(*mirror.Node){phase(rollcallv1alpha1.NodeStale, rollcallv1alpha1.ReasonHeld)}, held},
		"last good":             {[]func(*mirror.Node){isRefused}, refused},
		"last good while stale": {[]func(*mirror.Node){isRefused, isStale}, refused},
		"last good while drained": {[]func(*mirror.Node){
			isRefused, phase(rollcallv1alpha1.NodeDraining, rollcallv1alpha1.ReasonDraining),
		}, refused},
		"cordoned":            {[]func(*mirror.Node){isCordoned}, cordoned},
		"cordoned, and stale": {[]func(*mirror.Node){isCordoned, isStale, isRefused}, cordoned},
		"cordoned, and dead":  {[]func(*mirror.Node){isCordoned, phase(rollcallv1alpha1.NodeExpired, "")}, cordoned},
	} {
		n := healthy()
		for _, change := range test.changes {
			change(n)
		}
		if got := problemOf(n); got != test.want {
			t.Errorf("%s: the problem is %d, want %d", name, got, test.want)
		}
	}
}
