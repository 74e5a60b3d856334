package podregistration

import (
	"context"
	"maps"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/podregistration/roster"
	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// starter is a manager.Runnable.
type starter func(context.Context) error

// Start implements manager.Runnable.
func (f starter) Start(ctx context.Context) error { return f(ctx) }

// start notes which PodRegistrations there are, so that nothing is taken for unwanted before all of them have been
// reconciled, and ends the Rosters with the manager.
func (c *Controller) start(ctx context.Context, mgr ctrl.Manager) error {
	list := &rollcallv1alpha1.PodRegistrationList{}
	if err := mgr.GetCache().List(ctx, list, client.UnsafeDisableDeepCopy); err != nil && ctx.Err() == nil {
		return err
	}
	var expected []types.NamespacedName
	for i := range list.Items {
		expected = append(expected, client.ObjectKeyFromObject(&list.Items[i]))
	}
	c.ledger.expect(expected)
	<-ctx.Done()
	c.mu.Lock()
	rosters := c.rosters
	c.rosters = nil
	c.mu.Unlock()
	for _, r := range rosters {
		r.Close()
	}
	return nil
}

// roster returns the registry's Roster.
func (c *Controller) roster(registry types.NamespacedName) *roster.Roster {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rosters[registry]
	if r == nil {
		r = roster.New(roster.Options{
			Cluster:  c.cluster,
			Settled:  func() bool { return c.ledger.settledFor(registry) },
			Standing: func(owner *discovery.Owner) roster.Standing { return c.ledger.standing(registry, owner) },
			Changed:  c.changed,
			Followed: func() { c.tellAll(registry) },
			Beaten:   func(b roster.Beat) { c.metrics.HeartbeatSent(registry, b) },
		})
		if c.rosters == nil {
			// The manager is ending: this one is of no more use.
			r.Close()
			return r
		}
		c.rosters[registry] = r
	}
	return r
}

// Follow has the registry's entries written through w, and returns what is to hear of what the bucket's Watcher sees,
// until Unfollow. It does not block.
func (c *Controller) Follow(registry types.NamespacedName, w *kv.Writer) kv.Observer {
	c.mu.Lock()
	c.left.Delete(registry)
	c.mu.Unlock()
	return c.roster(registry).Follow(w)
}

// Unfollow ends what Follow began, after the writer has been closed. It does not block.
func (c *Controller) Unfollow(registry types.NamespacedName) { c.roster(registry).Unfollow() }

// Leave removes the registry's entries from the bucket, for the NodeRegistry is gone or names another bucket. It returns
// when they are, or ctx ends; without a connection it returns at once.
func (c *Controller) Leave(ctx context.Context, registry types.NamespacedName) {
	c.roster(registry).Leave(ctx)
	c.mu.Lock()
	c.left.Insert(registry)
	c.mu.Unlock()
	c.tellAll(registry)
}

// changed has looked at what depends on the claims that changed.
func (c *Controller) changed(claims []roster.Claim) {
	for i := range claims {
		claim := &claims[i]
		c.queue.Add(claim.Registration)
		if c.attentive(claim) {
			c.pods.queue.Add(claim.Pod)
		}
	}
}

// attentive reports whether the pod, or somebody who looks at it, has to hear of what became of the claim.
func (c *Controller) attentive(claim *roster.Claim) bool {
	if c.ledger.gated(claim.Pod) || c.pods.complained(claim.Pod) {
		return true
	}
	registry := types.NamespacedName{}
	if p := c.ledger.plan(claim.Registration); p != nil {
		registry = p.registry
	}
	phase := c.roster(registry).State(claim.ID).Phase
	return phase == roster.Conflict || phase == roster.Failed
}

// tellAll has the PodRegistrations of a registry looked at.
func (c *Controller) tellAll(registry types.NamespacedName) {
	plans, _ := c.ledger.plansOf(registry.Namespace)
	for _, p := range plans {
		if p.registry == registry {
			c.queue.Add(p.name)
		}
	}
}

// Tallies returns what was counted for each registry. It does not block.
func (c *Controller) Tallies() map[types.NamespacedName]roster.Tally {
	c.mu.Lock()
	rosters := maps.Clone(c.rosters)
	c.mu.Unlock()
	tallies := make(map[types.NamespacedName]roster.Tally, len(rosters))
	for name, r := range rosters {
		tallies[name] = r.Tally()
	}
	return tallies
}
