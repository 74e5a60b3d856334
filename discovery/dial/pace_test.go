package dial

import (
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
)

func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShare(1)
		closed := make(chan struct{})
		first := s.take(closed)
		began := time.Now()
		second := s.take(closed) // The first one does not end its turn.
		if took := time.Since(began); took != slice {
			t.Errorf("a turn took %v", took)
		}
		first.end() // too late to end the second's
		got := make(chan *turn)
		for range 3 {
			go func() { got <- s.take(closed) }()
		}
		synctest.Wait()
		second.end()
		(<-got).end()
		close(closed)
		for range 2 {
			if late := <-got; late != nil {
				late.end()
			}
		}
		synctest.Wait()
		if s.free != 1 || len(s.waiting) > 0 {
			t.Errorf("%d turns are free, %d wait", s.free, len(s.waiting))
		}
	})
}

func TestPacerTakesTurnsBeyondItsRate(t *testing.T) {
	s := newShare(1)
	p := newPacer(s, &newDialer(Options{}).gate, make(chan struct{}))
	now := time.Now()
	for _, test := range []struct {
		after time.Duration
		lines int
		turn  bool
	}{{0, linesAtOnce, false}, {0, 1, true}, {time.Second / 2, linesPerSecond / 4, false}, {0, linesPerSecond / 2, true}, {10 * time.Second, linesAtOnce, false}} {
		now = now.Add(test.after)
		if err := p.spend(test.lines, now); err != nil {
			t.Fatal(err)
		}
		if got := p.turn != nil; got != test.turn {
			t.Errorf("after %v and %d lines: a turn: %v", test.after, test.lines, got)
		}
		p.end()
	}
	if s.free != 1 {
		t.Error("a turn did not end")
	}
}

// While others wait, a turn lasts until what was read has been worked off; nobody waits for longer than a slice.
func TestATurnLastsUntilItsBacklogIsWorkedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d, backlog := newShare(1), newDialer(Options{}), &pile{}
		d.Attach(backlog)
		closed := make(chan struct{})
		p := newPacer(s, &d.gate, closed)
		paused := make(chan error, 1)
		begin := func() {
			backlog.Store(1)
			if err := p.spend(2*linesAtOnce, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		begin()
		if err := p.pause(false); err != nil || s.free != 1 {
			t.Errorf("nobody waits, and the turn ends with %v, %d free", err, s.free)
		}
		for _, eased := range []bool{true, false} {
			begin()
			began := time.Now()
			next := make(chan *turn)
			go func() { next <- s.take(closed) }()
			synctest.Wait()
			go func() { paused <- p.pause(false) }()
			synctest.Wait()
			if eased {
				backlog.Store(0)
				d.Eased()
			}
			(<-next).end()
			if waited := time.Since(began); eased && waited > 0 || !eased && waited != slice {
				t.Errorf("eased: %v: the next turn began after %v", eased, waited)
			}
			if eased {
				if err := <-paused; err != nil {
					t.Error(err)
				}
			}
		}
		if err := p.pause(true); err != nil {
			t.Errorf("a login ends with %v", err)
		}
		if len(paused) > 0 || !d.HeldUntil(time.Now()).Equal(time.Now()) {
			t.Error("it reads although its backlog is not worked off")
		}
		close(closed)
		if err := <-paused; err == nil {
			t.Error("a closed connection goes on")
		}
	})
}

// pile is a backlog.
type pile struct{ atomic.Int64 }

func (p *pile) Pending() int { return int(p.Load()) }

func TestGateHoldsWhileABacklogIsLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDialer(Options{})
		a, b := &pile{}, &pile{}
		d.Attach(a)
		d.Attach(b)
		passed := make(chan error, 1)
		wait := func() { passed <- d.gate.wait(nil) }
		a.Store(holdAbove)
		wait()
		<-passed
		a.Store(holdAbove + 1)
		began := time.Now()
		go wait()
		synctest.Wait()
		if until := d.HeldUntil(began); !until.Equal(began) || len(passed) > 0 {
			t.Errorf("held until %v, at %v", until, began)
		}
		<-time.After(time.Second)
		a.Store(resumeBelow + 1)
		d.Eased()
		synctest.Wait()
		if len(passed) > 0 {
			t.Error("it went on too soon")
		}
		a.Store(resumeBelow)
		d.Eased()
		<-passed
		if until := d.HeldUntil(time.Now()); until.Sub(began) != time.Second {
			t.Errorf("held for %v", until.Sub(began))
		}
		b.Store(holdAbove + 1)
		go wait()
		synctest.Wait()
		d.Detach(b)
		<-passed
		a.Store(holdAbove + 1)
		closed := make(chan struct{})
		go func() { passed <- d.gate.wait(closed) }()
		synctest.Wait()
		close(closed)
		if err := <-passed; err == nil {
			t.Error("a closed connection goes on")
		}
	})
}

// pool returns the servers as nats.go has them.
func pool(hosts ...string) []nats.Server {
	var p []nats.Server
	for _, h := range hosts {
		p = append(p, nats.Server{URL: &url.URL{Scheme: "nats", Host: h}})
	}
	return p
}

func TestOrderOfServers(t *testing.T) {
	const took = 500 * time.Millisecond
	for name, test := range map[string]struct {
		pool  []string
		given map[string]time.Duration // how long an attempt takes
		want  []string
	}{
		"one, which has to wait":       {[]string{"a:1"}, map[string]time.Duration{"a:1": 0}, []string{"a:1", "a:1", "a:1"}},
		"the others at once":           {[]string{"a:1", "b:1", "c:1"}, map[string]time.Duration{"a:1": 0, "b:1": 0, "c:1": 0}, []string{"b:1", "c:1", "a:1", "b:1", "c:1", "a:1"}},
		"given and discovered":         {[]string{"a:1", "x:1", "y:1", "z:1"}, map[string]time.Duration{"a:1": 0}, []string{"x:1", "a:1", "y:1", "a:1", "z:1", "a:1", "x:1", "a:1"}},
		"given first":                  {[]string{"a:1", "x:1", "y:1", "b:1"}, map[string]time.Duration{"a:1": 0, "b:1": 0}, []string{"b:1", "x:1", "a:1", "y:1", "b:1", "x:1", "a:1"}},
		"given ones that don't answer": {[]string{"a:1", "b:1", "x:1"}, map[string]time.Duration{"a:1": 2 * time.Second, "b:1": 2 * time.Second}, []string{"b:1", "x:1", "a:1", "x:1", "b:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDialer(Options{})
			d.nats.ReconnectWait, d.nats.ReconnectJitter = 250*time.Millisecond, 1
			for h := range test.given {
				if err := d.give(h); err != nil {
					t.Fatal(err)
				}
			}
			now := time.Now()
			d.order.dialled("a:1", true, true, now)
			now = now.Add(time.Hour)
			var got []string
			for range test.want {
				s, wait := d.order.choose(pool(test.pool...), now)
				got = append(got, s.URL.Host)
				duration, given := test.given[s.URL.Host]
				if !given {
					duration = took
				}
				now = now.Add(wait + duration)
				d.order.dialled(s.URL.Host, given, false, now)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}
