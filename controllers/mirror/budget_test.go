package mirror

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

func testBudget() (*budget, *clocktesting.FakeClock) {
	clk := clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	b := newBudget(clk)
	return &b, clk
}

func TestBudget(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spent int
		// ready is after how long the key may change again, full after how long it is forgotten.
		ready, full time.Duration
	}{
		{"nothing", 0, 0, 0},
		{"one", 1, 0, refill},
		{"all but one", maxChanges - 1, 0, (maxChanges - 1) * refill},
		{"all", maxChanges, refill, maxChanges * refill},
		{"more than there was, for what takes traffic away", maxChanges + 3, 4 * refill, (maxChanges + 3) * refill},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, clk := testBudget()
			for range tt.spent {
				b.spend("a")
			}
			if tt.ready > 0 {
				clk.Step(tt.ready - 1)
				if b.allows("a") {
					t.Errorf("allowed before %s", tt.ready)
				}
				clk.Step(1)
			}
			if !b.allows("a") {
				t.Errorf("not allowed after %s", tt.ready)
			}
			if !b.allows("b") || b.knows("b") {
				t.Error("another key pays")
			}
			clk.Step(tt.full - tt.ready)
			b.refill()
			if _, some := b.rest(); some || b.knows("a") || len(b.checks) > 0 {
				t.Errorf("remembered after %s", tt.full)
			}
		})
	}
}

func TestBudgetWakesWhoWaits(t *testing.T) {
	b, clk := testBudget()
	for range maxChanges + 1 {
		b.spend("a")
	}
	b.spend("b")
	if !b.wait("a") || b.wait("a") {
		t.Error("that a key waits is news once")
	}
	if n, key := b.flapping(); n != 1 || key != "a" {
		t.Errorf("%d keys flap, such as %q", n, key)
	}
	if wait, some := b.rest(); !some || wait != refill {
		t.Errorf("looks again after %s, %v", wait, some)
	}
	clk.Step(refill)
	if keys, calmed := b.refill(); len(keys) > 0 || calmed || b.knows("b") {
		t.Errorf("woke %v, calmed %v", keys, calmed)
	}
	clk.Step(refill)
	if keys, _ := b.refill(); !slices.Equal(keys, []string{"a"}) {
		t.Errorf("woke %v", keys)
	}
	if keys, _ := b.refill(); len(keys) > 0 {
		t.Errorf("woke %v again", keys)
	}
	clk.Step((maxChanges - 1) * refill)
	if keys, calmed := b.refill(); len(keys) > 0 || !calmed {
		t.Errorf("woke %v, calmed %v", keys, calmed)
	}
	if n, _ := b.flapping(); n != 0 {
		t.Error("a key that is steady flaps")
	}
}

// TestBudgetHolds: whatever keys do, none changes more often than it may, and none waits for longer than what it spent.
func TestBudgetHolds(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 7))
		b, clk := testBudget()
		spent, waits := map[string]int{}, map[string]time.Time{}
		began := clk.Now()
		for range 3000 {
			clk.Step(time.Duration(r.IntN(100)) * time.Millisecond)
			keys, _ := b.refill()
			for _, key := range keys {
				if !b.allows(key) || waits[key].IsZero() {
					t.Fatalf("%s was woken too early", key)
				}
				delete(waits, key)
			}
			for key, since := range waits {
				if clk.Since(since) > 3*refill {
					t.Fatalf("%s waits since %s", key, since)
				}
			}
			key := strconv.Itoa(r.IntN(3))
			switch {
			case b.allows(key):
				b.spend(key)
				spent[key]++
			case r.IntN(2) == 0:
				b.wait(key)
				if waits[key].IsZero() {
					waits[key] = clk.Now()
				}
			}
			if most := maxChanges + int(clk.Since(began)/refill); spent[key] > most {
				t.Fatalf("%s changed %d times, and %d were allowed", key, spent[key], most)
			}
		}
	}
}
