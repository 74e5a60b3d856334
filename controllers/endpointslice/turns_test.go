package endpointslice

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"
)

// TestTurns: four work at once, and who hangs counts for a second only.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns, over, began := newTurns(clock.RealClock{}), atomic.Int32{}, time.Now()
		take := func() func() {
			end, err := turns.take(t.Context(), func() { over.Add(1) })
			if err != nil {
				t.Fatal(err)
			}
			return end
		}
		for range concurrentServices {
			defer take()()
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the first had to wait for %s", took)
		}
		end := take()
		if took := time.Since(began); took != maxTurn {
			t.Errorf("another had to wait for %s behind those that hang", took)
		}
		end()
		synctest.Wait()
		if n := over.Load(); n != concurrentServices {
			t.Errorf("%d turns were over", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range concurrentServices {
			defer take()()
		}
		if _, err := turns.take(ctx, func() {}); !errors.Is(err, context.Canceled) {
			t.Errorf("who leaves gets %v", err)
		}
	})
}

// TestOneNamespaceDoesNotTakeAllWorkers: beyond its part it waits, and another does not.
func TestOneNamespaceDoesNotTakeAllWorkers(t *testing.T) {
	turns := newTurns(clock.RealClock{})
	for n := range perNamespace {
		if !turns.enter("a") {
			t.Fatalf("no more than %d", n)
		}
	}
	if turns.enter("a") || !turns.enter("b") {
		t.Error("one namespace has too many, or another too few")
	}
	turns.leave("a")
	if !turns.enter("a") {
		t.Error("none is free after one has left")
	}
	for range perNamespace {
		turns.leave("a")
	}
	turns.leave("b")
	if got := fmt.Sprint(turns.busy); got != "map[]" {
		t.Errorf("%s are busy", got)
	}
}
