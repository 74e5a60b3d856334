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
			end, err := turns.take(t.Context(), "a", func() { over.Add(1) })
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
		if _, err := turns.take(ctx, "b", func() {}); !errors.Is(err, context.Canceled) {
			t.Errorf("who leaves gets %v", err)
		}
	})
}

// TestOneNamespaceDoesNotTakeAllWorkers: who waits for a turn is not counted, and beyond its part of those who hang a namespace waits,
// and another does not.
func TestOneNamespaceDoesNotTakeAllWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(clock.RealClock{})
		take := func(namespace string) (end func()) {
			end, err := turns.take(t.Context(), namespace, func() {})
			if err != nil {
				t.Fatal(err)
			}
			return end
		}
		for n := range 10 * perNamespace {
			if end := take("a"); end == nil {
				t.Fatalf("the turn %d is refused, though nobody hangs", n)
			} else {
				end()
				synctest.Wait()
			}
		}
		var hanging []func()
		for range perNamespace {
			hanging = append(hanging, take("a"))
		}
		<-time.After(2 * maxTurn)
		if take("a") != nil {
			t.Error("one namespace has too many")
		}
		other := take("b")
		if other == nil {
			t.Fatal("another has none")
		}
		other()
		hanging[0]()
		synctest.Wait()
		if hanging[0] = take("a"); hanging[0] == nil {
			t.Fatal("none is free after one has come to an end")
		}
		for _, end := range hanging {
			end()
		}
		synctest.Wait()
		if got := fmt.Sprint(turns.hanging); got != "map[]" {
			t.Errorf("%s hang", got)
		}
	})
}
