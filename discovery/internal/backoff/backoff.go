// Package backoff spaces out attempts.
package backoff

import (
	"cmp"
	"math/rand/v2"
	"time"
)

// Backoff spaces out attempts: the first wait is at most 250 ms, each one twice the last, up to Longest, and every wait is
// cut by up to a half at random so that a fleet doesn't come back in step.
type Backoff struct {
	// Longest is the longest wait; 0: 2 s.
	Longest time.Duration

	attempt int
}

const (
	// First bounds the first wait.
	First   = 250 * time.Millisecond
	longest = 2 * time.Second
)

// Next returns for how long to wait before the next attempt.
func (b *Backoff) Next() time.Duration {
	most := cmp.Or(b.Longest, longest)
	d := First << b.attempt
	if d < most {
		b.attempt++
	}
	return Jitter(min(d, most))
}

// Reset makes the next wait the first one again.
func (b *Backoff) Reset() { b.attempt = 0 }

// Jitter returns a duration between half of d and d.
func Jitter(d time.Duration) time.Duration { return Shorten(d, d/2) }

// Shorten cuts up to most off d at random.
func Shorten(d, most time.Duration) time.Duration {
	return d - rand.N(most+1) //nolint:gosec // It is no secret when an attempt is made.
}
