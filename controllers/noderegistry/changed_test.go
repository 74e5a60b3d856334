package noderegistry

import (
	"errors"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/natsconn"
)

// What a registry goes through, a status each, and the Events that this makes.
func TestChanged(t *testing.T) {
	well := func(*observation) {}
	lost := func(o *observation) {
		o.session.link.Connected, o.session.link.Trouble, o.mirror.Reading = false, natsconn.Classify(errors.New("EOF"), true, true), false
	}
	refused := func(o *observation) {
		lost(o)
		o.session.link.Trouble = natsconn.Classify(nats.ErrAuthorization, true, true)
	}
	listing := func(o *observation) { o.mirror.Reading = false }
	held := func(o *observation) {
		o.mirror.Held = &mirror.Held{Since: epoch, Reason: rollcallv1alpha1.HeldGuard, Silent: 3, Of: 4}
	}
	full := func(o *observation) { held(o); o.mirror.Held.Reason = rollcallv1alpha1.HeldStoreFull }
	many := func(o *observation) { o.mirror.Excess = 1 }
	for _, test := range []struct {
		name string
		all  []func(*observation)
		want []string
	}{
		{"a restart of NATS", []func(*observation){well, lost, listing, well}, []string{"ConnectionLost", "Ready"}},
		{"a restart after which the login is refused", []func(*observation){well, lost, refused, listing, well}, []string{"ConnectionLost", "AuthenticationFailed", "Ready"}},
		{"the guard", []func(*observation){well, held, well}, []string{"ExpiryGuard", "Ready"}},
		{"the guard, then a full store", []func(*observation){well, held, full, well}, []string{"ExpiryGuard", "StoreFull", "Ready"}},
		{"a restart under the guard", []func(*observation){held, lost, listing, held}, []string{"ExpiryGuard"}},
		{"too many nodes", []func(*observation){well, many, well}, []string{"TooManyNodes", "AsExpected"}},
		{"a restart with too many nodes", []func(*observation){many, lost, many}, []string{"ConnectionLost", "Ready"}},
	} {
		registry := &rollcallv1alpha1.NodeRegistry{}
		var told []string
		for _, change := range test.all {
			o := healthy()
			change(o)
			before := registry.Status.Conditions
			registry.Status = statusOf(registry, o)
			for _, c := range changed(before, registry.Status.Conditions) {
				told = append(told, c.Reason)
			}
		}
		if !slices.Equal(told, test.want) {
			t.Errorf("%s: the Events are %v, want %v", test.name, told, test.want)
		}
	}
}
