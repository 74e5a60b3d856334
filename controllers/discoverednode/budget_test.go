package discoverednode

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"
)

func TestBudget(t *testing.T) {
	clk := testclock.NewFakePassiveClock(time.Unix(0, 0))
	b := newBudget(clk)
	catga, other := types.NamespacedName{Name: "catga"}, types.NamespacedName{Name: "other"}
	pass := func(d time.Duration) { clk.SetTime(clk.Now().Add(d)) }
	// ask spends n times and returns how many were granted, and the wait of the first that was not.
	ask := func(registry types.NamespacedName, n int, did string) (granted int, wait time.Duration) {
		for range n {
			ok, w := b.spend(registry, did)
			if ok {
				granted++
			}
			if w > 0 && wait > 0 {
				t.Error("more than one is to ask for the sum")
			}
			wait = max(wait, w)
		}
		return granted, wait
	}

	granted, wait := ask(catga, 1000, "became Expired")
	if granted != burst || wait != refill {
		t.Errorf("a storm of 1000 has %d Events and the sum after %s, want %d after %s", granted, wait, burst, refill)
	}
	if granted, _ = ask(other, 1, "became Expired"); granted != 1 {
		t.Error("another registry pays for the storm")
	}
	if text := b.sum(catga); text != "" {
		t.Errorf("too early there is %q", text)
	}
	pass(wait)
	ask(catga, 2, "became Ready")
	if got, want := b.sum(catga), "nodes changed 992 more times: 2 became Ready, 990 became Expired"; got != want {
		t.Errorf("the sum is %q, want %q", got, want)
	}
	if text := b.sum(catga); text != "" {
		t.Errorf("told twice: %q", text)
	}

	// The storm goes on: one a minute.
	told := 0
	for range 30 {
		granted, _ := ask(catga, 100, "became Stale")
		told += granted
		pass(10 * time.Second)
		if b.sum(catga) != "" {
			told++
		}
	}
	if told < 4 || told > 6 {
		t.Errorf("a storm of 5 minutes has %d Events", told)
	}

	// After it, there is a burst again, and then nothing left to remember.
	pass(time.Hour)
	b.sum(catga)
	pass(time.Hour)
	if granted, _ := ask(catga, burst, "became Ready"); granted != burst {
		t.Errorf("after a rest there are %d Events, want %d", granted, burst)
	}
	pass(time.Hour)
	b.sum(catga)
	if len(b.accounts) != 1 {
		t.Errorf("%d accounts are open, want the other registry's alone", len(b.accounts))
	}
}
