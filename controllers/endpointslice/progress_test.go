package endpointslice

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/rollcall-dev/rollcall/controllers/endpointslice/internal/fixture"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

var (
	web = types.NamespacedName{Namespace: fixture.Namespace, Name: "web"}
	db  = types.NamespacedName{Namespace: fixture.Namespace, Name: "db"}
)

func TestProgress(t *testing.T) {
	p := NewProgress(testclock.NewFakeClock(fixture.Epoch))
	expect := func(what string, reached ...uint64) {
		t.Helper()
		for revision := range uint64(10) {
			want := len(reached) > 0 && revision <= reached[0]
			if got := p.reached(revision); got != want {
				t.Errorf("%s: revision %d is reached: %t", what, revision, got)
			}
		}
	}
	services := func(names ...types.NamespacedName) []types.NamespacedName { return names }
	expect("nothing has happened", 0)

	p.handed(1, nil)
	expect("a change that no Service selects", 1)
	p.handed(3, services(web, db))
	expect("two Services have changed", 1)
	began := p.begin(web)
	p.handed(4, services(web))
	p.end(web, began)
	expect("one was written, and the other was not", 1)
	p.end(db, p.begin(db))
	expect("one has changed again while it was written", 3)
	p.handed(5, nil)
	expect("something else has changed", 3)
	p.end(web, p.begin(web))
	expect("all is written", 5)
	p.end(web, p.begin(web))
	expect("a reconcile without a change", 5)
}

// TestWaitForSlices: whoever waits goes on once the slices are written, or after some time.
func TestWaitForSlices(t *testing.T) {
	clk := testclock.NewFakeClock(fixture.Epoch)
	p := NewProgress(clk)
	wait := func() <-chan struct{} {
		done := make(chan struct{})
		go func() {
			p.Wait(t.Context(), 1, time.Second)
			close(done)
		}()
		eventually(t, func() error {
			if !clk.HasWaiters() {
				return context.DeadlineExceeded
			}
			return nil
		})
		return done
	}
	goesOn := func(done <-chan struct{}) {
		t.Helper()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("still waits")
		}
	}
	waiting := wait()
	clk.Step(time.Second - 1)
	select {
	case <-waiting:
		t.Error("did not wait")
	default:
	}
	clk.Step(1)
	goesOn(waiting)

	waiting = wait()
	p.handed(1, []types.NamespacedName{web})
	p.end(web, p.begin(web))
	goesOn(waiting)
}

// TestGathering: a batch that has lasted for a while waits no longer for more changes than their own pace tells.
func TestGathering(t *testing.T) {
	const slices, whole = 10, 10 * perSlice
	for _, test := range []struct {
		name string
		// at is when changes came, 64 at a time; wait is for how long none must come after the last.
		at   []time.Duration
		wait time.Duration
	}{
		{name: "the first", at: []time.Duration{0}, wait: whole},
		{name: "a few", at: []time.Duration{0, time.Millisecond, 2 * time.Millisecond}, wait: whole},
		{name: "many, fast", at: []time.Duration{0, time.Millisecond, 2 * time.Millisecond, 4 * time.Millisecond}, wait: 4 * time.Millisecond},
		{name: "many, faster", at: []time.Duration{0, whole / 8, whole / 4, whole * 3 / 8, whole / 2}, wait: leastQuiet},
		{name: "many, slowly", at: []time.Duration{0, 5 * time.Millisecond, 7 * time.Millisecond}, wait: whole},
		{name: "without an end", at: []time.Duration{0, maxBatchDelay - time.Millisecond}, wait: time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := gathering{began: fixture.Epoch}
			for _, at := range test.at {
				b.add(64, fixture.Epoch.Add(at))
				b.add(0, fixture.Epoch.Add(at+time.Microsecond))
			}
			if got := b.over(slices).Sub(b.last); got != test.wait {
				t.Errorf("waits for %s, not %s", got, test.wait)
			}
		})
	}
}

// TestAStormIsOneBatch: changes that come in together are handed on together, and one that comes alone is at once.
func TestAStormIsOneBatch(t *testing.T) {
	for _, test := range []struct {
		name   string
		slices int
		first  int
		most   time.Duration
	}{
		{name: "one change", slices: 40, first: 1},
		{name: "two changes", slices: 40, first: 2, most: perSlice},
		{name: "changes of a Service with one slice", slices: 1, first: 50, most: perSlice},
		{name: "a storm", slices: 40, first: 50, most: quietPeriod},
		{name: "a storm without slices", first: 50},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := quiet(test.first, test.slices); got != test.most {
				t.Errorf("waits for %s, not %s", got, test.most)
			}
		})
	}
	synctest.Test(t, storms)
}

// storms lets changes come in, in a bubble whose clock passes once nobody has anything to do.
func storms(t *testing.T) {
	clk := clock.RealClock{}
	c := New(nil, nil, nil, mirror.NewCursor(), NewProgress(clk), nil, clk, Options{})
	st := c.states.get(web)
	selector, err := parseSelector(fixture.Service())
	if err != nil {
		t.Fatal(err)
	}
	c.states.begin(st, selector, false)
	for range 60 {
		st.slices.Reserve("web", "1")
	}
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer queue.ShutDown()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := c.Changes().Start(ctx, queue); err != nil {
		t.Fatal(err)
	}
	var changes []mirror.Change
	for _, node := range fixture.Fleet(50) {
		changes = append(changes, mirror.Change{New: node})
	}
	revision := uint64(0)
	put := func() {
		revision++
		c.cursor.Put(revision, changes)
	}
	const step = quietPeriod / 2
	began := time.Now()
	pass := func() {
		synctest.Wait()
		if queue.Len() > 0 {
			t.Fatalf("handed on after %s", time.Since(began))
		}
		<-time.After(step)
	}
	handed := func() {
		synctest.Wait()
		if queue.Len() != 1 {
			t.Fatalf("not handed on after %s", time.Since(began))
		}
		request, _ := queue.Get()
		queue.Done(request)
	}
	// A storm that never ends is a batch all the same after maxBatchDelay.
	for passed := time.Duration(0); passed < maxBatchDelay; passed += step {
		put()
		pass()
	}
	handed()
	// A storm that has ended is one after quietPeriod.
	put()
	pass()
	put()
	pass()
	pass()
	handed()
	if len(st.backlog.merged()) != len(changes) {
		t.Errorf("%d dirty nodes, want %d", len(st.backlog.merged()), len(changes))
	}
}
