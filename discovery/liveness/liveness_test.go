package liveness

import (
	"math/rand/v2"
	"testing"
	"time"
)

const (
	limit = 850 * time.Millisecond
	beat  = 500 * time.Millisecond
)

// listen lets arrivals come in every half second for d, and returns the time after it.
func listen(c *Clock, at time.Time, d time.Duration) time.Time {
	for end := at.Add(d); at.Before(end); {
		at = at.Add(min(beat, end.Sub(at)))
		c.Arrived(at)
	}
	return at
}

func TestClock(t *testing.T) {
	start := time.Unix(1000, 0)
	tests := []struct {
		name string
		do   func(c *Clock)
		want time.Duration // of listening
		gap  time.Duration // the end of the last gap
	}{
		{"stands before the first listing", func(c *Clock) { listen(c, start, time.Minute) }, 0, 0},
		{"advances with arrivals", func(c *Clock) { c.Arrived(start); c.Start(); listen(c, start, 3*time.Second) }, 3 * time.Second, 0},
		{"a pause of the limit counts", func(c *Clock) { c.Arrived(start); c.Start(); c.Arrived(start.Add(limit)) }, limit, 0},
		{"a longer pause is a gap", func(c *Clock) {
			c.Arrived(start)
			c.Start()
			at := listen(c, start, 2*time.Second)
			listen(c, at.Add(6*time.Second), time.Second)
		}, 2*time.Second + beat, 2 * time.Second},
		{"a gap ends with a listing", func(c *Clock) {
			c.Arrived(start)
			c.Start()
			at := listen(c, start, 2*time.Second)
			c.Stop()
			at = listen(c, at, 5*time.Second)
			c.Start()
			listen(c, at, time.Second)
		}, 3 * time.Second, 2 * time.Second},
		{"stands while the store takes no writes", func(c *Clock) {
			c.Arrived(start)
			c.Start()
			at := listen(c, start, 2*time.Second)
			c.Hold(true)
			at = listen(c, at, 10*time.Second)
			c.Hold(false)
			listen(c, at, time.Second)
		}, 3 * time.Second, 2 * time.Second},
		{"taking writes all the time is no gap", func(c *Clock) {
			c.Arrived(start)
			c.Start()
			at := listen(c, start, 2*time.Second)
			c.Hold(false)
			listen(c, at, time.Second)
		}, 3 * time.Second, 0},
		{"a clock that goes back adds nothing", func(c *Clock) {
			c.Arrived(start)
			c.Start()
			c.Arrived(start.Add(beat))
			c.Arrived(start)
		}, beat, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := NewClock(limit)
			tt.do(&c)
			if c.Now() != tt.want || c.gap != tt.gap {
				t.Errorf("the clock is at %v with a gap that ended at %v, want %v and %v", c.Now(), c.gap, tt.want, tt.gap)
			}
		})
	}
}

func TestDeadline(t *testing.T) {
	const ttl, grace = time.Minute, 20 * time.Second
	tests := []struct {
		name  string
		heard Heard
		gap   time.Duration
		want  time.Duration
	}{
		{"heard live", Heard{At: 100 * time.Second}, 50 * time.Second, 160 * time.Second},
		{"heard with an age", Heard{At: 100 * time.Second, Age: 30 * time.Second}, 50 * time.Second, 130 * time.Second},
		{"a gap after it was heard", Heard{At: 100 * time.Second}, 150 * time.Second, 170 * time.Second},
		{"a gap long before its deadline", Heard{At: 100 * time.Second}, 110 * time.Second, 160 * time.Second},
		{"gaps do not add up", Heard{At: 100 * time.Second}, 900 * time.Second, 180 * time.Second},
		{"old in a listing", Heard{At: 100 * time.Second, Age: time.Minute}, 100 * time.Second, 120 * time.Second},
		{"refused for a while", Heard{At: 100 * time.Second, Withheld: true, refused: 10 * time.Second}, 100 * time.Second, 180 * time.Second},
		{"while others were refused", Heard{At: 101 * time.Second, refused: 10 * time.Second}, 100 * time.Second, 161 * time.Second},
		{"older than any node can be", Heard{At: 100 * time.Second, Age: time.Hour}, 100 * time.Second, 120 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Clock{gap: tt.gap, refused: 30 * time.Second}
			if got := c.Deadline(tt.heard, ttl, grace); got != tt.want {
				t.Errorf("Deadline = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestHear(t *testing.T) {
	c := Clock{now: time.Hour}
	for age, want := range map[time.Duration]time.Duration{-time.Minute: 0, time.Second: time.Second, 10 * time.Minute: 10 * time.Minute} {
		if got := c.Hear(age); got != (Heard{At: time.Hour, Age: want, Elapsed: time.Hour}) {
			t.Errorf("Hear(%v) = %+v, want the age %v", age, got, want)
		}
	}
}

// world is a random history of one registry, for two nodes: one that writes every third of a TTL that somebody listens and
// the store takes writes, and one that never writes again.
type world struct {
	r           *rand.Rand
	c           Clock
	at          time.Time
	ttl, grace  time.Duration
	alive, dead Heard
	wrote       time.Duration // listening time when the living one wrote last
}

// step lets one to twenty arrivals come in, and then something happen.
func (w *world) step() {
	for range 1 + w.r.IntN(20) {
		w.at = w.at.Add(time.Duration(w.r.Int64N(int64(limit))))
		w.c.Arrived(w.at)
		if w.c.Advancing() && w.c.Now()-w.wrote >= w.ttl/3-limit {
			w.wrote = w.c.Now()
			w.alive = w.c.Hear(0)
		}
	}
	switch w.r.IntN(6) {
	case 0: // frozen or throttled: what was written meanwhile is read afterwards
		w.at = w.at.Add(time.Duration(w.r.Int64N(int64(3 * w.ttl))))
		w.c.Arrived(w.at)
	case 1: // cut off, and listed with clocks that are wrong by minutes
		w.c.Stop()
		w.at = w.at.Add(time.Duration(w.r.Int64N(int64(2 * w.ttl))))
		w.c.Arrived(w.at)
		w.c.Start()
		skew := time.Duration(w.r.Int64N(int64(20*time.Minute))) - 10*time.Minute
		if w.r.IntN(2) == 0 {
			w.alive = w.c.Hear(w.c.Now() - w.wrote + skew)
		}
	case 2: // full for a while
		w.c.Hold(true)
		for range w.r.IntN(100) {
			w.at = w.at.Add(beat)
			w.c.Arrived(w.at)
		}
		w.c.Hold(false)
	}
}

// TestNobodyDiesEarlyAndNobodyLivesForEver runs random histories of gaps, freezes, refusals and skewed clocks.
func TestNobodyDiesEarlyAndNobodyLivesForEver(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := &world{r: r, c: NewClock(limit), at: time.Unix(1000, 0)}
		w.ttl = 4*time.Second + time.Duration(r.Int64N(int64(time.Minute)))
		w.grace = w.ttl/3 + time.Duration(r.Int64N(int64(2*w.ttl)))
		w.c.Arrived(w.at)
		w.c.Start()
		w.alive, w.dead = w.c.Hear(0), w.c.Hear(0)
		for step := range 200 {
			w.step()
			if w.c.Advancing() && w.c.Now() >= w.c.Deadline(w.alive, w.ttl, w.grace) {
				t.Fatalf("seed %d, step %d: a node that wrote %v ago is dead, ttl %v, grace %v", seed, step, w.c.Now()-w.wrote, w.ttl, w.grace)
			}
			switch at := w.c.Deadline(w.dead, w.ttl, w.grace); {
			case at < w.ttl:
				t.Fatalf("seed %d, step %d: a node dies after %v of silence, ttl %v", seed, step, at, w.ttl)
			case at > w.ttl+w.grace:
				t.Fatalf("seed %d, step %d: a node lives for %v of silence, ttl %v, grace %v", seed, step, at, w.ttl, w.grace)
			}
		}
	}
}
