package outage

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// log is what an Outage says. It is safe for concurrent use.
type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) write(_, args string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, args)
}

// has fails the test unless the log has these lines: each contains its text.
func (l *log) has(t *testing.T, texts ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) != len(texts) {
		t.Fatalf("the log says %q, not %q", l.lines, texts)
	}
	for i, text := range texts {
		if !strings.Contains(l.lines[i], text) {
			t.Errorf("the log says %q, not %q", l.lines[i], text)
		}
	}
}

func newOutage() (*Outage, *log) {
	l := &log{}
	return New(funcr.New(l.write, funcr.Options{}), clock.RealClock{}), l
}

// server is a client whose writes end as it says, after a millisecond. It is safe for concurrent use.
type server struct {
	client.Client

	mu      sync.Mutex
	err     error
	refused int
}

func (s *server) Update(context.Context, client.Object, ...client.UpdateOption) error {
	<-time.After(time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		s.refused++
	}
	return s.err
}

// answers lets all writes end with err from now on, and returns how many have failed before.
func (s *server) answers(err error) (refused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	return s.refused
}

// controller is one with 16 workers and a queue of its own, which writes each object once.
type controller struct {
	reconciler reconcile.Reconciler
	queue      chan reconcile.Request

	mu              sync.Mutex
	written, errors int
}

func startController(ctx context.Context, gate *Gate, s *server) *controller {
	c := &controller{queue: make(chan reconcile.Request, 1000)}
	writer := gate.Client(s)
	c.reconciler = gate.Reconciler(reconcile.Func(func(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
		return reconcile.Result{}, writer.Update(ctx, &rollcallv1alpha1.DiscoveredNode{})
	}))
	for range 16 {
		go c.work(ctx)
	}
	return c
}

func (c *controller) add(objects int) {
	for range objects {
		c.queue <- reconcile.Request{}
	}
}

func (c *controller) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case request := <-c.queue:
			result, err := c.reconciler.Reconcile(ctx, request)
			c.mu.Lock()
			switch {
			case err != nil:
				c.errors++
			case result.RequeueAfter > 0:
				time.AfterFunc(result.RequeueAfter, func() { c.queue <- request })
			default:
				c.written++
			}
			c.mu.Unlock()
		}
	}
}

func (c *controller) counts() (written, errors int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.written, c.errors
}

func TestAnOutageCostsFewRequestsAndTwoLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const objects, outage = 1000, 30 * time.Second
		away, said := newOutage()
		s := &server{}
		c := startController(t.Context(), away.NewGate(), s)
		s.answers(of(syscall.ECONNREFUSED))
		c.add(objects)
		<-time.After(outage)
		if refused, most := s.answers(nil), 16+int(outage/probeAfter); refused > most {
			t.Errorf("%d writes failed, more than %d", refused, most)
		}
		said.has(t, "connection refused")
		<-time.After(probeAfter + probeSpread + 2*objects/16*time.Millisecond)
		if written, errors := c.counts(); written != objects || errors > 0 {
			t.Errorf("%d objects were written, and %d failed", written, errors)
		}
		said.has(t, "connection refused", "answers again")
	})
}

func TestABlipIsNotWorthALine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away, said := newOutage()
		s := &server{}
		c := startController(t.Context(), away.NewGate(), s)
		s.answers(of(syscall.ECONNRESET))
		c.add(50)
		<-time.After(worth / 2)
		s.answers(nil)
		<-time.After(worth)
		if written, errors := c.counts(); written != 50 || errors > 0 {
			t.Errorf("%d objects were written, and %d failed", written, errors)
		}
		said.has(t)
	})
}

func TestARefusalIsAnErrorOfItsObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away, said := newOutage()
		s := &server{}
		c := startController(t.Context(), away.NewGate(), s)
		s.answers(errors.New("refused"))
		c.add(50)
		<-time.After(time.Second)
		if _, errors := c.counts(); errors != 50 {
			t.Errorf("%d of 50 objects failed", errors)
		}
		said.has(t)
	})
}

func TestWhoFindsNothingToWriteLetsTheNextOneIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away, _ := newOutage()
		gate := away.NewGate()
		gate.saw(of(syscall.ECONNREFUSED))
		for range 100 {
			if _, err := gate.Reconciler(reconcile.Func(func(context.Context, reconcile.Request) (reconcile.Result, error) {
				return reconcile.Result{}, nil
			})).Reconcile(t.Context(), reconcile.Request{}); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		leave, err := gate.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited > 0 {
			t.Errorf("the next one waited for %s", waited)
		}
		leave()
	})
}

func TestWhoWaitsLeavesWhenTheManagerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away, _ := newOutage()
		gate := away.NewGate()
		gate.saw(of(syscall.ECONNREFUSED))
		ctx, cancel := context.WithCancel(t.Context())
		probe, err := gate.enter(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer probe()
		time.AfterFunc(probePatience/2, cancel)
		start := time.Now()
		if _, err := gate.enter(ctx); !errors.Is(err, context.Canceled) || time.Since(start) != probePatience/2 {
			t.Errorf("waited for %s: %v", time.Since(start), err)
		}
	})
}

// What one worker asks for may hang for a reason of its own.
func TestAProbeThatHangsDoesNotHoldTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away, _ := newOutage()
		gate := away.NewGate()
		gate.saw(of(syscall.ECONNREFUSED))
		hanging, err := gate.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		second, err := gate.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited != probePatience {
			t.Errorf("the second one waited for %s", waited)
		}
		hanging() // It has lost its turn, so this lets nobody in.
		start = time.Now()
		third, err := gate.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited != probePatience {
			t.Errorf("the third one waited for %s", waited)
		}
		second()
		third()
	})
}

func TestQuietTriesAgainAndSaysItOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away, said := newOutage()
		s := &server{}
		quiet := away.Quiet(reconcile.Func(func(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
			return reconcile.Result{}, s.Update(ctx, nil)
		}))
		reconciled := func() (time.Duration, error) {
			result, err := quiet.Reconcile(t.Context(), reconcile.Request{})
			return result.RequeueAfter, err
		}
		s.answers(of(syscall.ECONNREFUSED))
		for range 60 {
			again, err := reconciled()
			if err != nil || again < quietAfter {
				t.Fatalf("tried again after %s: %v", again, err)
			}
			<-time.After(again)
		}
		said.has(t, "connection refused")
		s.answers(errors.New("refused"))
		if again, err := reconciled(); err == nil || again != 0 {
			t.Errorf("tried again after %s: %v", again, err)
		}
		said.has(t, "connection refused", "answers again")
	})
}
