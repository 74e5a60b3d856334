package discovery

import (
	"math/rand/v2"
	"time"
)

// backoff spaces out attempts: the first wait is at most 250 ms, each one twice the last, up to 2 s, and every wait is
// cut by up to a half at random so that a fleet doesn't come back in step.
type backoff struct{ attempt int }

const (
	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 2 * time.Second
)

func (b *backoff) next() time.Duration {
	d := maxBackoff
	if b.attempt < 3 {
		d = firstBackoff << b.attempt
		b.attempt++
	}
	return jitter(d)
}

func (b *backoff) reset() { b.attempt = 0 }

// jitter returns a duration between half of d and d.
func jitter(d time.Duration) time.Duration { return shorten(d, d/2) }

// shorten cuts up to most off d at random.
func shorten(d, most time.Duration) time.Duration {
	return d - rand.N(most+1) //nolint:gosec // It is no secret when an attempt is made.
}
