package backoff

import (
	"slices"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	var b Backoff
	var waits []time.Duration
	for range 6 {
		waits = append(waits, b.Next())
	}
	most := []int{250, 500, 1000, 2000, 2000, 2000}
	for i, w := range waits {
		if limit := time.Duration(most[i]) * time.Millisecond; w > limit || w < limit/2 {
			t.Errorf("wait %d is %v, want %v to %v", i, w, limit/2, limit)
		}
	}
	b.Reset()
	if w := b.Next(); w > First {
		t.Errorf("after a reset the wait is %v", w)
	}
	if slices.Max(waits[3:]) == slices.Min(waits[3:]) {
		t.Error("the waits have no jitter")
	}
}
