package endpointslice

import (
	"context"
	"time"
)

const (
	// worth is how long to wait for more changes for each slice that those which are there may touch: much less than it takes
	// to write one, so that few changes are hardly later for it. A single change is written at once.
	worth = 800 * time.Microsecond
	// lull is after how long without a change a storm is taken to be over at the latest, patience how long it may go on.
	lull     = 25 * time.Millisecond
	patience = 100 * time.Millisecond
)

// gather waits while a storm of changes is coming in: what is written halfway through it is written twice. The worker waits
// here and not in the queue, which every further change would have it leave at once.
func (c *Controller) gather(ctx context.Context, st *state) error {
	for {
		rest := c.states.gathering(st, c.clock.Now())
		if rest <= 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.clock.After(rest):
		}
	}
}

// gathering returns for how long to wait for more of the changes that are just coming in; zero or less: none.
func (s *states) gathering(st *state, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	quiet := min(lull, time.Duration(min(len(st.dirty)-1, len(st.slices)))*worth)
	return min(st.last.Add(quiet).Sub(now), st.first.Add(patience).Sub(now))
}
