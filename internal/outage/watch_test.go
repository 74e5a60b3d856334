package outage

import (
	"context"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/watchlist"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// source is a ListerWatcher whose requests end as it says. It is safe for concurrent use.
type source struct {
	mu    sync.Mutex
	err   error
	empty bool
	asked int
}

func (s *source) set(err error, empty bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.empty = err, empty
}

func (s *source) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *source) ask() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return s.empty, s.err
}

func (s *source) lister() *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			_, err := s.ask()
			return &rollcallv1alpha1.DiscoveredNodeList{}, err
		},
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
			empty, err := s.ask()
			if empty || err != nil {
				return watch.NewEmptyWatch(), err
			}
			return watch.NewFake(), nil
		},
	}
}

func patientSource(away *Outage) (*source, cache.ListerWatcherWithContext) {
	s := &source{}
	return s, cache.ToListerWatcherWithContext(away.patient(s.lister()))
}

func TestARequestIsTriedUntilItIsAnswered(t *testing.T) {
	refused := of(syscall.ECONNREFUSED)
	list := func(ctx context.Context, lw cache.ListerWatcherWithContext) error {
		_, err := lw.ListWithContext(ctx, metav1.ListOptions{})
		return err
	}
	open := func(ctx context.Context, lw cache.ListerWatcherWithContext) error {
		_, err := lw.WatchWithContext(ctx, metav1.ListOptions{})
		return err
	}
	const outage = 30 * time.Second
	longest := func(pause time.Duration) time.Duration { return pause + time.Duration(jitter*float64(pause)) }
	for name, test := range map[string]struct {
		do      func(context.Context, cache.ListerWatcherWithContext) error
		err     error
		empty   bool
		late    time.Duration
		atMost  int
		message string
	}{
		"list, refused":    {do: list, err: refused, late: longest(watchLast), atMost: 50, message: "connection refused"},
		"watch, refused":   {do: open, err: refused, late: longest(watchLast), atMost: 50, message: "connection refused"},
		"watch, cut off":   {do: open, empty: true, late: longest(watchLast), atMost: 50, message: "closed"},
		"list, not served": {do: list, err: answered(http.StatusNotFound), late: longest(watchUnserved), atMost: 16, message: "not find"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				away, said := newOutage()
				s, lw := patientSource(away)
				s.set(test.err, test.empty)
				time.AfterFunc(outage, func() { s.set(nil, false) })
				start := time.Now()
				if err := test.do(t.Context(), lw); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took > outage+test.late {
					t.Errorf("answered %s late", took-outage)
				}
				if n := s.requests(); n > test.atMost {
					t.Errorf("asked %d times in %s", n, outage)
				}
				said.has(t, test.message, "answers again")
			})
		})
	}
}

func TestTheReflectorHearsOfAllElse(t *testing.T) {
	away, said := newOutage()
	s, lw := patientSource(away)
	for _, err := range []error{
		apierrors.NewResourceExpired("too old resource version"), tooNew(), apierrors.NewTooManyRequests("later", 1),
		apierrors.NewForbidden(nodes, "", nil),
	} {
		s.set(err, false)
		if _, got := lw.ListWithContext(t.Context(), metav1.ListOptions{}); got != err { //nolint:errorlint // The very same.
			t.Errorf("the reflector gets %v, not %v", got, err)
		}
		if _, got := lw.WatchWithContext(t.Context(), metav1.ListOptions{}); got != err { //nolint:errorlint // The very same.
			t.Errorf("the reflector gets %v, not %v", got, err)
		}
	}
	// What comes back need not be what was there: it has to be listed.
	s.set(answered(http.StatusNotFound), false)
	if _, err := lw.WatchWithContext(t.Context(), metav1.ListOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the watch of a resource that is not served ends with %v", err)
	}
	said.has(t)
}

func TestWhoWatchesLeavesWhenTheManagerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away, said := newOutage()
		s, lw := patientSource(away)
		s.set(of(syscall.ECONNREFUSED), false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if _, err := lw.ListWithContext(ctx, metav1.ListOptions{}); err == nil || time.Since(start) != time.Minute {
			t.Errorf("ended after %s with %v", time.Since(start), err)
		}
		said.has(t, "connection refused")
	})
}

// noStream is a ListerWatcher that can't stream a list.
type noStream struct{ cache.ListerWatcher }

func (noStream) IsWatchListSemanticsUnSupported() bool { return true }

func TestStreamedListsAreLeftAsTheyWere(t *testing.T) {
	away, _ := newOutage()
	can := &cache.ListWatch{}
	if watchlist.DoesClientNotSupportWatchListSemantics(away.patient(can)) {
		t.Error("what can stream a list does not")
	}
	if !watchlist.DoesClientNotSupportWatchListSemantics(away.patient(noStream{can})) {
		t.Error("what can't stream a list does")
	}
}
