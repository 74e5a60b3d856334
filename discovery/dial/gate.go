package dial

import (
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// holdAbove is how much may be pending in one place, in bytes, when more is read, and resumeBelow how much once the
	// reading has stopped.
	holdAbove   = 1 << 20
	resumeBelow = 512 << 10
)

// Backlog is where what was received is kept until somebody works it off.
type Backlog interface {
	// Pending returns how many bytes are kept.
	Pending() int
}

// gate stops the reading of a connection while a backlog is too large: the server has to wait.
type gate struct {
	mu       sync.Mutex
	backlogs []Backlog
	held     bool
	changed  chan struct{} // closed when a backlog may have become smaller; there while held
	last     time.Time     // when the reading went on
}

// Attach has the connection stop reading while the backlog is larger than 1 MiB, until it is half as large. Whoever works
// it off has to call Eased.
func (d *Dialer) Attach(b Backlog) {
	d.gate.mu.Lock()
	defer d.gate.mu.Unlock()
	d.gate.backlogs = append(d.gate.backlogs, b)
}

// Detach ends an Attach.
func (d *Dialer) Detach(b Backlog) {
	d.gate.mu.Lock()
	// A copy, since the reader may be looking at what there was.
	d.gate.backlogs = slices.DeleteFunc(slices.Clone(d.gate.backlogs), func(other Backlog) bool { return other == b })
	d.gate.mu.Unlock()
	d.Eased()
}

// Eased says that a backlog has become smaller, now and then and when it is empty.
func (d *Dialer) Eased() {
	d.gate.mu.Lock()
	defer d.gate.mu.Unlock()
	if d.gate.held {
		close(d.gate.changed)
		d.gate.changed = make(chan struct{})
	}
}

// HeldUntil returns until when the connection was not read: now, if it isn't. Until then the server's silence says nothing.
func (d *Dialer) HeldUntil(now time.Time) time.Time {
	d.gate.mu.Lock()
	defer d.gate.mu.Unlock()
	if d.gate.held {
		return now
	}
	return d.gate.last
}

// wait waits until the connection may be read. The error is that of a connection that was closed meanwhile.
func (g *gate) wait(closed <-chan struct{}) error { return g.until(holdAbove, resumeBelow, closed) }

// settle waits until the backlogs are worked off.
func (g *gate) settle(closed <-chan struct{}) error { return g.until(0, 0, closed) }

// until waits, if a backlog is larger than above, until none is larger than below.
func (g *gate) until(above, below int, closed <-chan struct{}) error {
	if !g.exceeds(above) {
		return nil
	}
	defer g.resume()
	for {
		changed := g.hold()
		if !g.exceeds(below) {
			return nil
		}
		select {
		case <-changed:
		case <-closed:
			return net.ErrClosed
		}
	}
}

// exceeds reports whether a backlog is larger. Their owners may call the gate with their own locks, so it has none meanwhile.
func (g *gate) exceeds(most int) bool {
	g.mu.Lock()
	backlogs := g.backlogs
	g.mu.Unlock()
	return slices.ContainsFunc(backlogs, func(b Backlog) bool { return b.Pending() > most })
}

func (g *gate) hold() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.held {
		g.held, g.changed = true, make(chan struct{})
	}
	return g.changed
}

func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held, g.last = false, time.Now()
}
