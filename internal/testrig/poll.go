package testrig

import (
	"testing"
	"time"
)

// Within is Rig.Within for tests without a Rig.
func Within(t *testing.T, limit time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		if time.Since(began) > limit {
			t.Fatalf("waited %s for %s", limit, what)
		}
		<-ticker.C
	}
	return time.Since(began)
}

// Throughout is Rig.Throughout for tests without a Rig.
func Throughout(t *testing.T, d time.Duration, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for began := time.Now(); time.Since(began) < d; <-ticker.C {
		if !holds() {
			t.Fatalf("%s did not hold all the time", what)
		}
	}
}
