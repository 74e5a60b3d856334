package dispute

import (
	"testing"
	"time"
)

func TestABriskFight(t *testing.T) {
	f, now, want := Brisk{}, began, BriskLeast
	for repairs := 1; repairs <= 12; repairs++ {
		if f.Wait(now) > 0 || f.Persists(now) != (repairs > briskPersistent) {
			t.Errorf("before repair %d: it waits %s, and persists: %t", repairs, f.Wait(now), f.Persists(now))
		}
		f.Repaired(now)
		if wait := f.Wait(now); wait != min(want, Most) {
			t.Errorf("after repair %d the next waits for %s, want %s", repairs, wait, want)
		}
		now, want = now.Add(f.Wait(now)), 2*want
	}
	now = now.Add(Calm)
	f.Repaired(now)
	if f.Persists(now) || f.Wait(now) != BriskLeast {
		t.Errorf("it is not forgotten: the next waits for %s", f.Wait(now))
	}
	if f.Over(now.Add(Calm-time.Second)) || !f.Over(now.Add(Calm)) {
		t.Error("it is over too early or too late")
	}
}
