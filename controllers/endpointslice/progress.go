package endpointslice

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// Progress knows up to which revision of the Store the slices show what it has, so that what can wait lets them go first: the
// API server shares its time among all who write. It is safe for concurrent use.
type Progress struct {
	clock clock.Clock

	mu sync.Mutex
	// taken is the revision up to which all changes were handed to the Services that select their nodes.
	taken uint64
	// pending are the Services that have not shown what they were handed.
	pending map[types.NamespacedName]span
	// advanced is closed, and made anew, when the slices have come further.
	advanced chan struct{}
}

// span is what a Service has not shown: nothing before the revision first, and nothing after the revision last.
type span struct{ first, last uint64 }

// NewProgress returns the Progress of slices that show nothing yet.
func NewProgress(c clock.Clock) *Progress {
	return &Progress{clock: c, pending: map[types.NamespacedName]span{}, advanced: make(chan struct{})}
}

// Wait waits until the slices show what the Store had at that revision, as far as the API server takes it, but no longer than
// for the duration.
func (p *Progress) Wait(ctx context.Context, revision uint64, most time.Duration) {
	timer := p.clock.NewTimer(most)
	defer timer.Stop()
	for {
		p.mu.Lock()
		reached, advanced := p.reached(revision), p.advanced
		p.mu.Unlock()
		if reached {
			return
		}
		select {
		case <-advanced:
		case <-timer.C():
			return
		case <-ctx.Done():
			return
		}
	}
}

func (p *Progress) reached(revision uint64) bool {
	if p.taken < revision {
		return false
	}
	for _, s := range p.pending {
		if s.first <= revision {
			return false
		}
	}
	return true
}

// handed notes that all changes up to that revision were handed to Services, of which these have got some.
func (p *Progress) handed(revision uint64, services []types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, service := range services {
		s, found := p.pending[service]
		if !found {
			s.first = p.taken + 1
		}
		s.last = revision
		p.pending[service] = s
	}
	p.taken = revision
	p.advance()
}

// begin notes that a reconcile of the Service begins, and returns what end needs to know of it.
func (p *Progress) begin(service types.NamespacedName) (last uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pending[service].last
}

// end notes that a reconcile has ended. It counts as done whether or not it succeeded: a write that the API server refuses
// again and again is nothing to wait for.
func (p *Progress) end(service types.NamespacedName, last uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, found := p.pending[service]
	switch {
	case !found:
		return
	case s.last == last:
		delete(p.pending, service)
	default:
		p.pending[service] = span{first: last + 1, last: s.last}
	}
	p.advance()
}

func (p *Progress) advance() {
	close(p.advanced)
	p.advanced = make(chan struct{})
}
