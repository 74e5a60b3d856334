package endpointslice

import (
	"context"
	"time"

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
			for c.batch(ctx) {
				c.hand(c.cursor.Take(), queue)
			}
		}()
		return nil
	})
}

// batch waits until there are changes and no more are coming in; false once ctx has ended.
func (c *Controller) batch(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-c.cursor.Wake():
	}
	began := c.clock.Now()
	for seen := c.cursor.Len(); ; {
		rest := min(c.quiet(seen), began.Add(maxBatchDelay).Sub(c.clock.Now()))
		if rest <= 0 {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-c.clock.After(rest):
		}
		now := c.cursor.Len()
		if now == seen {
			return true
		}
		seen = now
	}
}

// quiet returns for how long no change must come for so many to be a batch.
func (c *Controller) quiet(changes int) time.Duration {
	if changes <= 1 {
		return 0
	}
	return min(quietPeriod, time.Duration(min(changes-1, c.states.tracked()))*perSlice)
}

// hand makes changed nodes dirty in the Services that select them, and has those reconciled.
func (c *Controller) hand(changes mirror.Changes, queue requests) {
	affected := c.states.change(changes.Nodes, c.clock.Now())
	c.progress.handed(changes.Revision, affected)
	affected = append(affected, c.states.lookAgain(c.settled(changes))...)
	for _, service := range affected {
		queue.Add(reconcile.Request{NamespacedName: service})
	}
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
