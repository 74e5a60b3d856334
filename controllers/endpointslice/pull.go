package endpointslice

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

const (
	// perSlice bounds how long a batch waits for more changes, for each slice that it may touch. It is far shorter than a
	// write, so that a few changes are not delayed noticeably, and a single one is not delayed at all.
	perSlice = 800 * time.Microsecond
	// quietPeriod is after how long without a change a batch is complete at the latest.
	quietPeriod = 25 * time.Millisecond
	// maxBatchDelay bounds how long a batch waits in all.
	maxBatchDelay = 100 * time.Millisecond
)

// Changes is the source of the controller that hands what changes in the Store to the Services that select it. A storm becomes
// one batch, since slices that are written halfway through it are written twice.
func (c *Controller) Changes() source.Source {
	return source.Func(func(ctx context.Context, queue requests) error {
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-c.cursor.Wake():
				}
				for service := range c.batch(ctx) {
					queue.Add(reconcile.Request{NamespacedName: service})
				}
			}
		}()
		return nil
	})
}

// batch hands on changes until no more are coming in, and returns the Services that they concern.
func (c *Controller) batch(ctx context.Context) sets.Set[types.NamespacedName] {
	concerned := sets.New[types.NamespacedName]()
	began, seen := c.clock.Now(), 0
	last := began
	for {
		changes := c.cursor.Take()
		concerned.Insert(c.hand(changes)...)
		if len(changes.Nodes) > 0 {
			seen, last = seen+len(changes.Nodes), c.clock.Now()
		}
		over := last.Add(quiet(seen, c.states.tracked(concerned)))
		if end := began.Add(maxBatchDelay); end.Before(over) {
			over = end
		}
		rest := over.Sub(c.clock.Now())
		if rest <= 0 {
			return concerned
		}
		select {
		case <-ctx.Done():
			return concerned
		case <-c.clock.After(rest):
		case <-c.cursor.Wake():
		}
	}
}

// quiet returns for how long no change must come for so many, which touch at most so many slices, to be a batch.
func quiet(changes, slices int) time.Duration {
	if changes <= 1 {
		return 0
	}
	return min(quietPeriod, time.Duration(min(changes-1, slices))*perSlice)
}

// hand gives changed nodes to the Services that select them, and returns the Services that have something to do.
func (c *Controller) hand(changes mirror.Changes) []types.NamespacedName {
	concerned := c.states.change(changes.Nodes, c.clock.Now())
	c.progress.handed(changes.Revision, concerned)
	return append(concerned, c.states.lookAgain(c.settled(changes))...)
}

// settled returns the namespaces with registries of which endpoints may be removed from now on.
func (c *Controller) settled(changes mirror.Changes) sets.Set[string] {
	if changes.All {
		return c.states.namespaces()
	}
	namespaces := sets.New[string]()
	for registry := range changes.Settled {
		namespaces.Insert(registry.Namespace)
	}
	return namespaces
}
