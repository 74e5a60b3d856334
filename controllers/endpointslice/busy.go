package endpointslice

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// precedence is for how long slices go first, from the moment that there is something to do for them. A fleet that changes
// all the time must not keep the view from ever following.
const precedence = 2 * time.Second

// busy knows whether changes of nodes are on their way into slices, so that what can wait lets them go first: the API
// server shares its time among all who write. It is safe for concurrent use.
type busy struct {
	clock clock.Clock

	mu sync.Mutex
	// pending are the Services whose nodes changed, each with the number of its last change.
	pending map[types.NamespacedName]uint64
	changes uint64
	// since is when there began to be pending Services, and over is closed once there are none.
	since time.Time
	over  chan struct{}
}

func newBusy(c clock.Clock) *busy {
	return &busy{clock: c, pending: map[types.NamespacedName]uint64{}}
}

// changed notes that there is something to do for the Services.
func (b *busy) changed(services ...types.NamespacedName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.pending) == 0 && len(services) > 0 {
		b.since, b.over = b.clock.Now(), make(chan struct{})
	}
	for _, service := range services {
		b.changes++
		b.pending[service] = b.changes
	}
}

// begin notes that a reconcile of the Service begins, and returns what end needs to know of it.
func (b *busy) begin(service types.NamespacedName) (change uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pending[service]
}

// end notes that a reconcile has ended. It counts as done whether or not it succeeded: a write that the API server refuses
// again and again is nothing to wait for.
func (b *busy) end(service types.NamespacedName, change uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last, pending := b.pending[service]
	if !pending || last != change {
		return
	}
	if delete(b.pending, service); len(b.pending) == 0 {
		close(b.over)
	}
}

// wait waits until nothing is pending, but no longer than precedence after something began to be.
func (b *busy) wait(ctx context.Context) {
	b.mu.Lock()
	pending, over, rest := len(b.pending), b.over, precedence-b.clock.Since(b.since)
	b.mu.Unlock()
	if pending == 0 || rest <= 0 {
		return
	}
	timer := b.clock.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-over:
	case <-timer.C():
	case <-ctx.Done():
	}
}
