package natstest

import (
	"testing"
	"time"
)

// Patience is how long a test waits for what must happen; it says nothing about how soon it should.
const Patience = time.Minute

// Eventually calls f until it answers nil or the patience is over.
func Eventually(t testing.TB, f func() error) {
	t.Helper()
	deadline := time.After(Patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %v: %v", Patience, err)
		}
	}
}
