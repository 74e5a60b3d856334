package agent

import (
	"context"
	"time"

	"github.com/rollcall-dev/rollcall/discovery"
)

func (h Health) validate() error {
	ways := 0
	for _, way := range []string{h.HTTP, h.TCP, h.Command} {
		if way != "" {
			ways++
		}
	}
	switch {
	case ways == 0 && h.Drain:
		return refuse("--health-drain needs a health check: give --health-http, --health-tcp or --health-command")
	case ways == 0:
		return nil
	case ways > 1:
		return refuse("there are several health checks: give one of --health-http, --health-tcp and --health-command")
	case h.Interval < leastInterval:
		return refuse("--health-interval is %v: use %v or more", h.Interval, leastInterval)
	case h.Timeout <= 0:
		return refuse("--health-timeout is %v: use more than 0", h.Timeout)
	case h.Failures < 1 || h.Successes < 1:
		return refuse("--health-failures is %d and --health-successes %d: use 1 or more", h.Failures, h.Successes)
	}
	return h.validateTarget()
}

// judge turns the results of checks into a node's health, which is bad at first.
type judge struct {
	failures, successes int
	healthy             bool
	against             int // results in a row that speak against the present health
}

// hear takes in a result and reports whether it changes the health.
func (j *judge) hear(success bool) bool {
	if success == j.healthy {
		j.against = 0
		return false
	}
	j.against++
	needed := j.successes
	if j.healthy {
		needed = j.failures
	}
	if j.against < needed {
		return false
	}
	j.healthy, j.against = success, 0
	return true
}

// watchHealth checks the node's health until ctx ends, and sends it whenever it changes: first that it is good.
func (a *agent) watchHealth(ctx context.Context, check func(context.Context) error) <-chan bool {
	changes := make(chan bool)
	go func() {
		defer close(changes)
		h := a.config.Health
		j := &judge{failures: h.Failures, successes: h.Successes}
		tick := time.NewTicker(h.Interval)
		defer tick.Stop()
		first := true
		for {
			limited, cancel := context.WithTimeout(ctx, h.Timeout)
			err := check(limited)
			cancel()
			if ctx.Err() != nil {
				return
			}
			changed := j.hear(err == nil)
			a.tellHealth(changed, j.healthy, first, err)
			first = false
			if changed {
				select {
				case changes <- j.healthy:
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return changes
}

func (a *agent) tellHealth(changed, healthy, first bool, err error) {
	switch {
	case changed && healthy:
		a.log.Info("node is healthy")
	case changed:
		a.log.Warn("node is unhealthy", "drain", a.config.Health.Drain, "error", err)
	case first && err != nil:
		a.log.Warn("node is not healthy yet, and is registered once it is", "error", err)
	}
}

// keepAliveWhileHealthy keeps the node registered while it is healthy, or, if it is to drain, from when it is healthy for
// the first time.
func (a *agent) keepAliveWhileHealthy(ctx context.Context, node discovery.Node) error {
	changes := a.watchHealth(ctx, a.config.Health.check())
	for healthy := range changes {
		if !healthy {
			continue
		}
		registered, end := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- a.keepAlive(registered, node) }()
		a.heed(changes, end)
		if err := <-done; err != nil {
			return err
		}
	}
	return nil
}

// heed waits until the node must be unregistered, and ends its registration then. While it is to drain instead, the record
// says so.
func (a *agent) heed(changes <-chan bool, end context.CancelFunc) {
	defer end()
	for healthy := range changes {
		if !a.config.Health.Drain {
			return
		}
		a.draining.Store(!healthy)
		select {
		case a.now <- struct{}{}:
		default:
		}
	}
}
