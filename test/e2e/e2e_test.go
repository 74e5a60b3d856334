//go:build e2e && linux

package e2e

import (
	"os"
	"testing"
	"time"

	"github.com/rollcall-dev/rollcall/test/e2e/machine"
)

// bringUpLimit is how long a cluster may take from its first process until its node takes pods.
const bringUpLimit = 90 * time.Second

func TestMain(m *testing.M) {
	os.Exit(machine.Main(machine.Options{Prepare: prepare, Run: m.Run}))
}

// TestRollcall does on a cluster what its users do, one act after the other.
func TestRollcall(t *testing.T) {
	start := time.Now()
	s := setUp(t)
	done("the cluster is up", start)
	t.Cleanup(s.in(t).report)
	for _, act := range []struct {
		name string
		play func(*stage)
	}{
		{"a hand-written EndpointSlice carries traffic", (*stage).byHand},
		{"helm installs Rollcall on a bare cluster", (*stage).install},
		{"requests reach every machine that registered", (*stage).join},
		{"no request fails while NATS is away for longer than the TTL", (*stage).natsAway},
		{"no request fails when the leader is killed", (*stage).leaderKilled},
		{"no request fails while the chart is upgraded", (*stage).upgrade},
		{"a machine that unregisters gets no request any more", (*stage).unregister},
		{"a machine that died gets no request after the TTL", (*stage).die},
		{"machines call pods at the addresses in the bucket", (*stage).callPods},
		{"helm uninstalls what it installed", (*stage).uninstall},
	} {
		start := time.Now()
		if !t.Run(act.name, func(t *testing.T) { act.play(s.in(t)) }) {
			t.Fatal("the acts that follow need this one")
		}
		done(act.name, start)
	}
}
