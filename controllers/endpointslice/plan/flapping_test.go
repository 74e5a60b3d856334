package plan

import (
	"testing"

	"github.com/rollcall-dev/rollcall/controllers/endpointslice/internal/fixture"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// TestAFlappingNodeGetsNoEndpoint: it keeps the endpoints that it has, loses those that it must, and gets none until it is steady.
func TestAFlappingNodeGetsNoEndpoint(t *testing.T) {
	db := func(n *mirror.Node) { n.Labels = map[string]string{"role": "db"} }
	steady := fixture.Node("catga", "web-1", "10.0.0.1")
	flapping := fixture.But(steady, fixture.Flapping)
	for _, pass := range []struct {
		name string
		plan func(c *cluster, n *mirror.Node) []Operation
	}{
		{"revised", func(c *cluster, n *mirror.Node) []Operation { return c.change([]*mirror.Node{n}) }},
		{"looked at as a whole", func(c *cluster, n *mirror.Node) []Operation { c.know(n); return c.full() }},
	} {
		t.Run(pass.name, func(t *testing.T) {
			c := newCluster(t, fixture.Service(), fixture.Node("catga", "web-2", "10.0.0.2"))
			c.full()
			for _, step := range []struct {
				node   *mirror.Node
				shown  bool
				writes int
			}{
				{flapping, false, 0},
				{steady, true, 1},
				{flapping, true, 0},
				{fixture.But(flapping, db), false, 1},
				{flapping, false, 0},
				{fixture.But(steady, db), false, 0},
				{flapping, false, 0},
				{steady, true, 1},
			} {
				operations := pass.plan(c, step.node)
				if shown := len(c.shown()[step.node.Name]) > 0; shown != step.shown || len(operations) != step.writes {
					t.Fatalf("flapping %v, labels %v: shown %v after %d writes, want %v after %d",
						step.node.Flapping, step.node.Labels, shown, len(operations), step.shown, step.writes)
				}
			}
		})
	}
}
