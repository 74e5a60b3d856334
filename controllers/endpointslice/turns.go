package endpointslice

import (
	"context"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

const (
	// concurrentServices is how many Services are worked on at once, workers how many may be under way: those whose writes get
	// no answer keep their worker, and nothing else.
	concurrentServices, workers = 4, 256
	// perNamespace is how many of them may be of one namespace.
	perNamespace = workers / 8
	// maxTurn is after how long a Service no longer counts as worked on: it waits for an answer.
	maxTurn = time.Second
)

// turns lets so many Services be worked on at once that the API server is not flooded. What hangs, as an admission webhook may have
// it do, gives way to others. It is safe for concurrent use.
type turns struct {
	clock clock.Clock
	free  chan struct{}

	mu sync.Mutex
	// busy is how many Services of a namespace are under way.
	busy map[string]int
}

func newTurns(clk clock.Clock) *turns {
	return &turns{clock: clk, free: make(chan struct{}, concurrentServices), busy: map[string]int{}}
}

// enter returns true if one more Service of the namespace may be under way. Then leave has to follow.
func (t *turns) enter(namespace string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.busy[namespace] >= perNamespace {
		return false
	}
	t.busy[namespace]++
	return true
}

func (t *turns) leave(namespace string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.busy[namespace]--; t.busy[namespace] == 0 {
		delete(t.busy, namespace)
	}
}

// take waits for a turn, and returns what ends it. It ends by itself after maxTurn; over is called then.
func (t *turns) take(ctx context.Context, over func()) (end func(), err error) {
	select {
	case t.free <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
		case <-t.clock.After(maxTurn):
			over()
		}
		<-t.free
	}()
	return sync.OnceFunc(func() { close(done) }), nil
}
