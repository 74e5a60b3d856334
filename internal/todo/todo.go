// Package todo hands the names of objects from whoever observes that they need a look to the controller that looks.
package todo

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// List is a list of names, each once, and the source.Source through which one controller takes them. Add never blocks, and
// what is added before the controller has started waits for it. It is safe for concurrent use.
type List struct {
	wake chan struct{}

	mu      sync.Mutex
	pending sets.Set[types.NamespacedName]
}

var _ source.Source = &List{}

// New returns an empty List.
func New() *List {
	return &List{wake: make(chan struct{}, 1), pending: sets.New[types.NamespacedName]()}
}

// Add has the controller look at the objects.
func (l *List) Add(names ...types.NamespacedName) {
	l.mu.Lock()
	l.pending.Insert(names...)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default: // The controller has not looked since it was last woken.
	}
}

func (l *List) take() sets.Set[types.NamespacedName] {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.pending
	l.pending = sets.New[types.NamespacedName]()
	return taken
}

// Start implements source.Source.
func (l *List) Start(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-l.wake:
			}
			for name := range l.take() {
				queue.Add(reconcile.Request{NamespacedName: name})
			}
		}
	}()
	return nil
}
