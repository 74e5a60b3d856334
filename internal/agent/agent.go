package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// agent keeps one node registered.
type agent struct {
	config     Config
	log        *slog.Logger
	connection *connection
	registry   *discovery.Registry
	load       load

	// registered says that the entry is the agent's own, as far as it knows: an outage of NATS does not change that.
	registered atomic.Bool
	draining   atomic.Bool
	// now asks for a heartbeat at once.
	now chan struct{}
}

// Run keeps the node registered until ctx ends, and then unregisters it. The errors are *ConfigError, also for what turns
// out to be wrong only once NATS answers, and that of listening on Config.ProbeAddress. That NATS is away is none.
func Run(ctx context.Context, c Config, log *slog.Logger) error {
	conn, err := connect(&c, log)
	if err != nil {
		return err
	}
	defer conn.Close()
	a := &agent{
		config: c, log: log.With("node", c.NodeID), connection: conn, load: newLoad(c.Load, log), now: make(chan struct{}, 1),
	}
	group, ctx := errgroup.WithContext(ctx)
	ctx, end := context.WithCancel(ctx)
	if err := a.serveProbes(ctx, group); err != nil {
		end()
		return err
	}
	group.Go(func() error {
		conn.follow(ctx)
		return nil
	})
	group.Go(func() error {
		defer end()
		return a.run(ctx)
	})
	return group.Wait()
}

func (a *agent) run(ctx context.Context) error {
	if err := a.open(ctx); err != nil || a.registry == nil {
		return err
	}
	defer a.registry.Close()
	node, err := a.node()
	if err != nil {
		return err
	}
	if !a.config.Health.enabled() {
		return a.keepAlive(ctx, node)
	}
	return a.keepAliveWhileHealthy(ctx, node)
}

// openTimeout bounds one attempt to open the bucket, so that the log can say why it fails.
const openTimeout = 5 * time.Second

// open opens the bucket as soon as that is possible. After the end of ctx there may be none.
func (a *agent) open(ctx context.Context) error {
	options := discovery.Options{
		Bucket: a.config.Bucket, KeyPrefix: &a.config.KeyPrefix, TTL: a.config.BucketTTL, NoCreate: !a.config.CreateBucket,
		Domain: a.config.Domain, Logger: a.log, WriteOnly: true,
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	told := ""
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, openTimeout)
		registry, err := discovery.Open(attempt, a.connection.Conn, options)
		cancel()
		switch {
		case err == nil:
			a.registry = registry
			return a.checkBucket(registry.Bucket())
		case errors.Is(err, kv.ErrInvalidBucket):
			return refuse("%v; see --bucket and --jetstream-domain", err)
		case a.connection.IsConnected() && ctx.Err() == nil && told != reason(err):
			told = reason(err)
			a.log.Warn("the bucket can't be opened, trying on", "bucket", a.config.Bucket, "error", told)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// reason returns why the bucket could not be opened, in the same words for every attempt.
func reason(err error) string {
	switch {
	case errors.Is(err, kv.ErrBucketNotFound):
		return "it does not exist: create it, or give --create-bucket"
	case errors.Is(err, kv.ErrUnavailable):
		return "jetstream is not available: wait until the bucket has a leader and a majority of its servers, enable it on the server and for the account, or see --jetstream-domain"
	case errors.Is(err, kv.ErrNoAnswer):
		return "jetstream does not answer: look at the server, and at what the user may publish to"
	}
	return err.Error()
}

// heartbeatsPerTTL is how many heartbeats have room in the bucket's TTL: two may get lost.
const heartbeatsPerTTL = 3

// checkBucket refuses settings that do not go with the bucket.
func (a *agent) checkBucket(b kv.Bucket) error {
	switch {
	case b.Mirror:
		return refuse("bucket %q is a mirror, which can't be written to: give the --bucket or --jetstream-domain of its origin", b.Name)
	case b.TTL == 0:
		a.log.Warn("the bucket has no TTL: if this machine dies, its entry stays until somebody deletes it", "bucket", b.Name)
	case a.config.Interval > b.TTL/heartbeatsPerTTL:
		return refuse("--heartbeat-interval is %v, and the TTL of bucket %q is %v: use %v or less, or raise the TTL",
			a.config.Interval, b.Name, b.TTL, b.TTL/heartbeatsPerTTL)
	}
	return nil
}

// keepAlive keeps the node registered until ctx ends.
func (a *agent) keepAlive(ctx context.Context, node discovery.Node) error {
	a.registered.Store(false)
	err := a.registry.KeepAlive(ctx, node, discovery.KeepAliveOptions{
		Interval: a.config.Interval, Now: a.now, UnregisterTimeout: a.config.GracePeriod,
		Refresh: func(n *discovery.Node) { a.refresh(ctx, n) },
		Result:  a.result,
	})
	was := a.registered.Swap(false)
	switch {
	case err != nil && ctx.Err() == nil:
		return refuse("%v", err)
	case err != nil:
		a.log.Warn("node may still be registered, and then expires", "ttl", a.registry.Bucket().TTL, "error", err)
	case was:
		a.log.Info("node unregistered")
	}
	return nil
}

// result notes how a heartbeat ended.
func (a *agent) result(err error) {
	switch {
	case err == nil:
		a.connection.works()
		if !a.registered.Swap(true) {
			a.log.Info("node registered", "bucket", a.config.Bucket, "key", a.config.KeyPrefix+a.config.NodeID)
		}
	case errors.Is(err, discovery.ErrConflict):
		a.registered.Store(false)
	}
}
