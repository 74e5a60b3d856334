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
	// leastQuiet is after how long without a change a batch is complete at the earliest, however fast they came.
	leastQuiet = 2 * time.Millisecond
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
	b := gathering{began: c.clock.Now()}
	for {
		changes := c.cursor.Take()
		concerned.Insert(c.hand(changes)...)
		b.add(len(changes.Nodes), c.clock.Now())
		rest := b.over(c.states.tracked(concerned)).Sub(c.clock.Now())
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

// gathering is what is known of a batch while it is gathered.
type gathering struct {
	began, last time.Time
	changes     int
	// pause is the longest from one change to the next.
	pause time.Duration
}

// add notes so many changes that have come in by now.
func (b *gathering) add(changes int, now time.Time) {
	switch {
	case changes == 0:
		return
	case b.changes > 0:
		b.pause = max(b.pause, now.Sub(b.last))
	}
	b.changes, b.last = b.changes+changes, now
}

// over returns when the batch is complete if no more changes come, which touch at most so many slices so far. Once it has lasted
// for half the time that it waits for more, their own pace tells when no more are to be expected.
func (b *gathering) over(slices int) time.Time {
	wait := quiet(b.changes, slices)
	if b.last.Sub(b.began) >= wait/2 {
		wait = min(wait, max(leastQuiet, 2*b.pause))
	}
	over, end := b.last.Add(wait), b.began.Add(maxBatchDelay)
	if end.Before(over) {
		return end
	}
	return over
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
