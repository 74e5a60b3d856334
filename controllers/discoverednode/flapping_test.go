package discoverednode

import (
	"maps"
	"strconv"
	"testing"
	"time"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// The object of a node that flaps says so, and that it lost its traffic; what else changes is written once it is steady.
func TestAFlappingNodeIsWrittenOnceItIsSteady(t *testing.T) {
	r := newRig(t, time.Hour)
	label := func(value string) {
		r.update(func(n *mirror.Node) {
			n.Labels = maps.Clone(n.Labels)
			n.Labels["load"] = value
		})
		r.reconcile()
	}
	r.update(func(n *mirror.Node) {
		n.Flapping, n.Most, n.Reason = true, mirror.TrafficReady, rollcallv1alpha1.ReasonFlapping
	})
	for i := range 100 {
		label(strconv.Itoa(i))
	}
	r.wantWrites(1, "while it flaps")
	r.update(func(n *mirror.Node) { n.Most = mirror.TrafficNone })
	label("none")
	r.wantWrites(2, "after it has lost its traffic")
	label("still none")
	r.wantWrites(2, "after that")
	r.update(func(n *mirror.Node) { n.Flapping, n.Reason = false, rollcallv1alpha1.ReasonHeartbeating })
	r.reconcile()
	r.wantWrites(3, "once it is steady")
	if dn := r.object(); dn.Labels["load"] != "still none" || gistOf(&dn.Status).reason != rollcallv1alpha1.ReasonHeartbeating {
		t.Errorf("the object is %+v", dn)
	}
}
