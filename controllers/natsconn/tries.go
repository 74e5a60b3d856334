package natsconn

import (
	"crypto/sha256"
	"math/rand/v2"
	"time"
)

const (
	// healthyInterval is how often the Secrets of a connection are read while nothing is wrong with it.
	healthyInterval = 10 * time.Minute
	// downInterval is the same while no server answers: another content of the Secrets would not help.
	downInterval = 2 * time.Minute
	// troubleInterval is the same while another content may help.
	troubleInterval = 4 * time.Second
	// shortestPoll is the shortest time between two looks at a Secret whose login is about to expire.
	shortestPoll = time.Second

	firstRetry = 250 * time.Millisecond
	// slowRetry is the longest wait before the same is tried again that needs a person's action.
	slowRetry = 5 * time.Second
	// refusedRetry is the same for a login or a subscription that the server refuses, and logs each time.
	refusedRetry = time.Minute
)

// tries says when to read the Secrets, and whether to try what they hold.
type tries struct {
	// running is true while an attempt is under way.
	running bool
	// look is when to read the Secrets next.
	look time.Time
	// inHand is what they held at readAt, if all that was wrong since is that no server answered.
	inHand *credentials
	readAt time.Time
	// refused is what can't be used, and not to be tried before retryAt; failures counts how often it or another was not.
	refused  [sha256.Size]byte
	retryAt  time.Time
	failures int
}

// failed notes that the credentials were tried in vain, and that a person has to act.
func (t *tries) failed(digest [sha256.Size]byte, err error, now time.Time) {
	most := slowRetry
	if refusal(err) != nil || Limit(err) {
		most = refusedRetry
	}
	if digest != t.refused {
		t.failures = 0
	}
	t.refused, t.retryAt = digest, now.Add(backoff(t.failures, most))
	t.failures++
	t.inHand = nil
}

// succeeded notes that the connection is what the Secrets ask for, and has been for a while: a server that lets in and refuses
// in turn is one that refuses.
func (t *tries) succeeded() { *t = tries{running: t.running, look: t.look} }

// lookWithin brings the next look forward.
func (t *tries) lookWithin(d time.Duration, now time.Time) {
	if at := now.Add(d); at.Before(t.look) {
		t.look = at
	}
}

// early returns how long to wait for the next look while a person has to act: the first are made sooner.
func (t *tries) early(usual time.Duration) time.Duration {
	if t.failures > 0 {
		return min(usual, backoff(t.failures-1, troubleInterval))
	}
	return usual
}

// renewal returns when to look at the Secrets of a connection that is up: as usual, or after half of the time that its
// login has left, so that another one is found in time however late it is renewed.
func renewal(expires time.Time, usual time.Duration, now time.Time) time.Duration {
	left := expires.Sub(now)
	switch {
	case expires.IsZero():
		return usual
	case left <= 0:
		return min(usual, troubleInterval) // The server's clock is behind.
	default:
		return min(usual, max(shortestPoll, left/2))
	}
}

// soon returns the wait before the next attempt to reach a server that does not answer.
func soon() time.Duration {
	return firstRetry + rand.N(firstRetry) //nolint:gosec // A jitter is no secret.
}

// spread shortens a wait by up to a quarter at random, so that many do not end at once.
func spread(d time.Duration) time.Duration {
	return d - rand.N(d/4+1) //nolint:gosec // A jitter is no secret.
}

// backoff returns the wait after so many failures, cut by up to a half at random.
func backoff(failures int, most time.Duration) time.Duration {
	d := most
	if failures < 8 {
		d = min(firstRetry<<failures, most)
	}
	return d - rand.N(d/2+1) //nolint:gosec // A jitter is no secret.
}
