package outage

import (
	"context"
	"errors"
	"math"
	"reflect"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

const (
	// jitter is how much is added to a pause, at random and at most, so that managers do not ask all at once.
	jitter = 0.5
	// watchFirst and watchLast are the first and the longest pause before a watch that got no answer is tried again.
	watchFirst, watchLast = 100 * time.Millisecond, 700 * time.Millisecond
	// watchUnserved is the pause where the API server does not serve the resource: that may be so for long.
	watchUnserved = 2 * time.Second
)

// errEnded is the error of a watch that ended before it began.
var errEnded = errors.New("the connection of the watch was closed")

// emptyWatch is the type of what the client library returns, without an error, if the connection broke before the answer.
var emptyWatch = reflect.TypeOf(watch.NewEmptyWatch())

// NewInformer returns an informer like cache.NewSharedIndexInformer does, whose watch is back within about a second of the
// API server's first answer, and within about three of its resource being served again. It fits cache.Options.NewInformer
// of controller-runtime.
//
// The reflector itself can't be told how long to wait, so it does not hear of such a failure before the outage is over.
// All other errors it hears of: what to do about an expired resource version is its business.
func (o *Outage) NewInformer(lw cache.ListerWatcher, object runtime.Object, resync time.Duration, indexers cache.Indexers) cache.SharedIndexInformer {
	return cache.NewSharedIndexInformer(o.patient(lw), object, resync, indexers)
}

// patient returns lw as one that keeps trying.
func (o *Outage) patient(lw cache.ListerWatcher) cache.ListerWatcher {
	asked := cache.ToListerWatcherWithContext(lw)
	r := &retrier{outage: o}
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (list runtime.Object, err error) {
			err = r.retry(ctx, true, func() error {
				list, err = asked.ListWithContext(ctx, options)
				return err
			})
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (w watch.Interface, err error) {
			err = r.retry(ctx, false, func() error {
				w, err = asked.WatchWithContext(ctx, options)
				if err == nil && reflect.TypeOf(w) == emptyWatch {
					return errEnded
				}
				return err
			})
			return w, err
		},
	}, lw)
}

// retrier tries one informer's requests again. Its address stands for the informer in the Outage.
type retrier struct{ outage *Outage }

// retry calls do, which lists or watches, until it succeeds, fails with an answer, or ctx ends.
func (r *retrier) retry(ctx context.Context, lists bool, do func() error) error {
	backoff := &wait.Backoff{Duration: watchFirst, Factor: 2, Jitter: jitter, Steps: math.MaxInt, Cap: watchLast}
	for {
		err := do()
		if ctx.Err() != nil {
			return err
		}
		var pause time.Duration
		switch {
		case Unanswered(err), errors.Is(err, errEnded):
			pause = backoff.Step()
		case lists && Unserved(err):
			pause = wait.Jitter(watchUnserved, jitter)
		default: // What was watched and is not served is listed anew: what comes back need not be what was there.
			r.outage.answered(r)
			return err
		}
		r.outage.failed(r, err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.outage.clock.After(pause):
		}
	}
}
