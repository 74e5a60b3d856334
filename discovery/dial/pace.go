package dial

import (
	"net"
	"runtime"
	"slices"
	"sync"
	"time"
)

const (
	// linesPerSecond is what a connection may send in the long run without taking turns, and linesAtOnce what it may send at
	// once. Ten that use it up keep about half a processor busy.
	linesPerSecond = 5_000
	linesAtOnce    = 20_000
	// slice is how long a turn may last.
	slice = 5 * time.Millisecond
)

// processShare has the turns of the process: connections that send much keep at most half of its processors busy.
var processShare = newShare(max(1, runtime.GOMAXPROCS(0)/2))

// share gives turns, in the order in which they are asked for.
type share struct {
	mu      sync.Mutex
	free    int
	waiting []chan *turn
}

func newShare(turns int) *share { return &share{free: turns} }

// turn ends when its owner says so, and after a slice in any case.
type turn struct {
	share *share
	timer *time.Timer
	over  bool
}

// take waits for a turn; nil if the connection is closed first.
func (s *share) take(closed <-chan struct{}) *turn {
	s.mu.Lock()
	if s.free > 0 {
		defer s.mu.Unlock()
		s.free--
		return s.begin()
	}
	next := make(chan *turn, 1)
	s.waiting = append(s.waiting, next)
	s.mu.Unlock()
	select {
	case t := <-next:
		return t
	case <-closed:
		s.leave(next)
		return nil
	}
}

// leave ends the waiting for a turn, or the turn that has come meanwhile.
func (s *share) leave(next chan *turn) {
	s.mu.Lock()
	i := slices.Index(s.waiting, next)
	if i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
	s.mu.Unlock()
	if i < 0 {
		(<-next).end()
	}
}

// begin is called with the lock.
func (s *share) begin() *turn {
	t := &turn{share: s}
	t.timer = time.AfterFunc(slice, t.end)
	return t
}

func (t *turn) end() {
	t.share.mu.Lock()
	defer t.share.mu.Unlock()
	if t.over {
		return
	}
	t.over = true
	t.timer.Stop()
	if len(t.share.waiting) == 0 {
		t.share.free++
		return
	}
	t.share.waiting[0] <- t.share.begin()
	t.share.waiting = t.share.waiting[1:]
}

// wanted reports whether somebody else waits for a turn.
func (t *turn) wanted() bool {
	t.share.mu.Lock()
	defer t.share.mu.Unlock()
	return len(t.share.waiting) > 0
}

// pacer makes a connection that sends more than its rate take turns. A turn begins when something was read, and lasts until
// more is wanted: meanwhile nats.go works on it. While others wait it lasts until what was read is worked off, by whoever
// nats.go hands it to, and longer than a slice nobody else has to wait for that.
type pacer struct {
	share  *share
	gate   *gate
	closed <-chan struct{}

	mu     sync.Mutex
	budget float64 // lines
	at     time.Time
	turn   *turn
}

func newPacer(s *share, g *gate, closed <-chan struct{}) *pacer {
	return &pacer{share: s, gate: g, closed: closed, budget: linesAtOnce}
}

// spend takes lines from the budget, and waits for a turn if there is none left.
func (p *pacer) spend(lines int, now time.Time) error {
	if p.within(lines, now) {
		return nil
	}
	p.gate.hold()
	t := p.share.take(p.closed)
	p.gate.resume()
	if t == nil {
		return net.ErrClosed
	}
	p.mu.Lock()
	p.turn = t
	p.mu.Unlock()
	return nil
}

func (p *pacer) current() *turn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.turn
}

// within reports whether the lines are within the rate.
func (p *pacer) within(lines int, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.at.IsZero() {
		p.budget = min(linesAtOnce, p.budget+now.Sub(p.at).Seconds()*linesPerSecond)
	}
	p.at = now
	p.budget = max(-linesAtOnce, p.budget-float64(lines))
	return p.budget >= 0
}

// pause ends the turn, if there is one. While others wait, what was read has to be worked off before more is, unless nats.go is
// still logging in: it has its lock, which whoever works off a backlog may need.
func (p *pacer) pause(connecting bool) error {
	defer p.end()
	if t := p.current(); t != nil && !connecting && t.wanted() {
		return p.gate.settle(p.closed)
	}
	return nil
}

// end ends the turn, if there is one.
func (p *pacer) end() {
	p.mu.Lock()
	t := p.turn
	p.turn = nil
	p.mu.Unlock()
	if t != nil {
		t.end()
	}
}
