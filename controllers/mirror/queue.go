package mirror

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// Queue is the source.Source through which a Mirror's changes enter a controller: an Observer adds the names to be
// looked at. Add never blocks, and names added before the controller has started are kept. The zero value is ready for
// use; it is safe for concurrent use.
type Queue struct {
	mu     sync.Mutex
	queue  workqueue.TypedRateLimitingInterface[reconcile.Request]
	before sets.Set[types.NamespacedName]
}

var _ source.Source = &Queue{}

// Start implements source.Source.
func (q *Queue) Start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = queue
	for name := range q.before {
		queue.Add(reconcile.Request{NamespacedName: name})
	}
	q.before = nil
	return nil
}

// Add makes the controller look at that name.
func (q *Queue) Add(name types.NamespacedName) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.queue != nil {
		q.queue.Add(reconcile.Request{NamespacedName: name})
		return
	}
	if q.before == nil {
		q.before = sets.New[types.NamespacedName]()
	}
	q.before.Insert(name)
}
