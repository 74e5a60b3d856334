package faults

import (
	"context"
	"errors"
	"time"
)

// churn lets nodes come, go, move and die at random until stop is called. The fleet keeps its size, more or less, and so
// few die that the disruption guard has nothing to do.
func (f *fleet) churn(every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(f.ctx)
	done := make(chan struct{})
	size := len(f.ids())
	f.working.Go(func() {
		defer close(done)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if err := f.anything(size); err != nil && !errors.Is(err, context.Canceled) {
				f.t.Errorf("churn: %v", err)
			}
		}
	})
	return func() {
		cancel()
		<-done
	}
}

// anything does one thing at random.
func (f *fleet) anything(size int) error {
	ids := f.ids()
	if len(ids) < size-size/10 {
		id, address := f.fresh()
		return f.register(id, address)
	}
	id := ids[f.random(len(ids))]
	switch n := f.random(10); {
	case n < 5:
		return f.unregister(id)
	case n < 6:
		f.die(id)
		return nil
	default:
		_, address := f.fresh()
		return f.move(id, address)
	}
}
