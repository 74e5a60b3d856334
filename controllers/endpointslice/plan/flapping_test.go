package plan

import (
	"testing"

	"github.com/rollcall-dev/rollcall/controllers/endpointslice/internal/fixture"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// TestAFlappingNodeGetsNoEndpoint: it keeps the endpoints that it has, loses those that it must, and gets none until it is steady or the
// Service is looked at as a whole, since what somebody took away is put back.
func TestAFlappingNodeGetsNoEndpoint(t *testing.T) {
	db := func(n *mirror.Node) { n.Labels = map[string]string{"role": "db"} }
	steady := fixture.Node("catga", "web-1", "10.0.0.1")
	flapping := fixture.But(steady, fixture.Flapping)
	revise := func(c *cluster, n *mirror.Node) []Operation { return c.change([]*mirror.Node{n}) }
	build := func(c *cluster, n *mirror.Node) []Operation { c.know(n); return c.full() }
	c := newCluster(t, fixture.Service(), fixture.Node("catga", "web-2", "10.0.0.2"))
	c.full()
	for _, step := range []struct {
		plan   func(c *cluster, n *mirror.Node) []Operation
		node   *mirror.Node
		shown  bool
		writes int
	}{
		{revise, flapping, false, 0},
		{revise, steady, true, 1},
		{revise, flapping, true, 0},
		{revise, fixture.But(flapping, db), false, 1},
		{revise, flapping, false, 0},
		{revise, fixture.But(steady, db), false, 0},
		{revise, flapping, false, 0},
		{revise, steady, true, 1},
		{build, flapping, true, 0},
		{build, fixture.But(flapping, db), false, 1},
		{build, flapping, true, 1},
	} {
		operations := step.plan(c, step.node)
		if shown := len(c.shown()[step.node.Name]) > 0; shown != step.shown || len(operations) != step.writes {
			t.Fatalf("flapping %v, labels %v: shown %v after %d writes, want %v after %d",
				step.node.Flapping, step.node.Labels, shown, len(operations), step.shown, step.writes)
		}
	}
}
