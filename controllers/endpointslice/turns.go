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
	// perNamespace is how many Services of one namespace may wait for an answer.
	perNamespace = workers / 32
	// maxTurn is after how long a Service no longer counts as worked on: it waits for an answer.
	maxTurn = time.Second
)

// turns lets so many Services be worked on at once that the API server is not flooded. What hangs, as an admission webhook may have
// it do, gives way to others. It is safe for concurrent use.
type turns struct {
	clock clock.Clock
	free  chan struct{}

	mu sync.Mutex
	// hanging is how many Services of a namespace have been worked on for longer than maxTurn.
	hanging map[string]int
}

func newTurns(clk clock.Clock) *turns {
	return &turns{clock: clk, free: make(chan struct{}, concurrentServices), hanging: map[string]int{}}
}

// take waits for a turn, and returns what ends it; nil: too many Services of the namespace wait for an answer. It ends by itself after
// maxTurn; over is called then.
func (t *turns) take(ctx context.Context, namespace string, over func()) (end func(), err error) {
	select {
	case t.free <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if t.crowded(namespace) {
		<-t.free
		return nil, nil
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
			<-t.free
			return
		case <-t.clock.After(maxTurn):
		}
		t.hang(namespace, 1)
		over()
		<-t.free
		<-done
		t.hang(namespace, -1)
	}()
	return sync.OnceFunc(func() { close(done) }), nil
}

func (t *turns) crowded(namespace string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.hanging[namespace] >= perNamespace
}

func (t *turns) hang(namespace string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hanging[namespace] += n; t.hanging[namespace] == 0 {
		delete(t.hanging, namespace)
	}
}
