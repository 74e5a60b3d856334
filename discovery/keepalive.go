package discovery

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/rollcall-dev/rollcall/discovery/internal/backoff"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// DefaultHeartbeatInterval is the interval of the heartbeats of KeepAlive.
const DefaultHeartbeatInterval = 10 * time.Second

// unregisterTimeout bounds by default what KeepAlive does once its context has ended.
const unregisterTimeout = 2 * time.Second

// KeepAliveOptions are the settings of Registry.KeepAlive.
type KeepAliveOptions struct {
	// Interval is the longest time between two heartbeats; 0: DefaultHeartbeatInterval. Up to a fifth of it is cut off at
	// random. It is at most a third of the bucket's TTL, whatever is asked for.
	Interval time.Duration
	// Refresh, if set, is called before every heartbeat and may change the record: Load above all, or Draining. It must
	// leave ID and Owner alone. It is called from one goroutine.
	Refresh func(*Node)
	// Now, if set, asks for a heartbeat at once with every value that it delivers, so that a change that Refresh makes need
	// not wait for the next one.
	Now <-chan struct{}
	// Result, if set, is told how every attempt to heartbeat ended, but for one that the end of ctx cut off. It is called
	// from the goroutine of Refresh and must not block.
	Result func(error)
	// UnregisterTimeout bounds how long is tried to unregister the node in the end; 0: 2 s.
	UnregisterTimeout time.Duration
}

// KeepAlive registers the node and heartbeats for it until ctx ends; then it unregisters it, for which it takes
// KeepAliveOptions.UnregisterTimeout at most, and returns. Whatever fails meanwhile is tried again, at first after at most
// 250 ms.
//
// A node whose entry is gone, because somebody removed it or the bucket was wiped, is registered again with the next
// heartbeat; a bucket that is gone is created again, unless Options.NoCreate is set. If somebody else has written another
// record over it, that one stands: the node waits until it is gone. At the end only a record of its own is removed.
//
// An error before the first heartbeat is one of the node itself: [ErrInvalidID] or [*RecordError]. An error after ctx has
// ended says why the node may still be registered; it then expires.
func (r *Registry) KeepAlive(ctx context.Context, n Node, o KeepAliveOptions) error {
	key, err := Key(r.prefix, n.ID)
	if err != nil {
		return err
	}
	if _, err := Encode(n); err != nil {
		return err
	}
	if err := checkOwner(n.Owner); err != nil {
		return err
	}
	k := &keeper{r: r, key: key, node: n, o: o}
	if k.o.Interval <= 0 {
		k.o.Interval = DefaultHeartbeatInterval
	}
	if k.o.UnregisterTimeout <= 0 {
		k.o.UnregisterTimeout = unregisterTimeout
	}
	k.run(ctx)
	return k.end(ctx)
}

// keeper keeps one node registered. It belongs to one goroutine.
type keeper struct {
	r    *Registry
	key  string
	node Node
	o    KeepAliveOptions

	revision uint64 // of the record that the keeper has last written; 0 if there is none
	// mine are the records that the keeper may have written last, as own compares them: that of revision, and those of
	// the writes since of which it isn't clear whether they were stored.
	mine    []Node
	failure error // of the last heartbeat
	backoff backoff.Backoff
}

func (k *keeper) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-k.o.Now:
		}
		err := k.beat(ctx)
		if ctx.Err() != nil {
			return
		}
		if k.o.Result != nil {
			k.o.Result(err)
		}
		timer.Reset(k.wait(err))
	}
}

// wait logs a change for the better or the worse and returns for how long to wait. A conflict is told apart from an
// outage: somebody has to end it.
func (k *keeper) wait(err error) time.Duration {
	interval, conflict := k.interval(), errors.Is(err, ErrConflict)
	before := k.failure
	k.failure = err
	if err == nil {
		if before != nil {
			k.r.log.Info("node heartbeats again", "node", k.node.ID)
		}
		k.backoff.Reset()
		return interval
	}
	if before == nil || conflict != errors.Is(before, ErrConflict) {
		k.r.log.Warn("node can't heartbeat", "node", k.node.ID, "error", err)
	}
	if conflict {
		return interval
	}
	return min(k.backoff.Next(), interval)
}

func (k *keeper) interval() time.Duration {
	d := k.o.Interval
	if ttl := k.r.cache.settings().TTL; ttl > 0 {
		d = min(d, ttl/3)
	}
	return backoff.Shorten(d, d/5)
}

// beat writes the record, registering the node if it isn't.
func (k *keeper) beat(ctx context.Context) error {
	if k.o.Refresh != nil {
		k.o.Refresh(&k.node)
	}
	k.r.refreshSettings(ctx)
	err := k.write(ctx)
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrBucketNotFound) {
		if _, _, ensured := kv.EnsureBucket(ctx, k.r.nc, k.r.config); ensured != nil {
			return ensured
		}
		err = k.write(ctx)
	}
	return err
}

func (k *keeper) write(ctx context.Context) error {
	base := kv.Entry{Key: k.key, Revision: k.revision}
	if k.revision == 0 {
		var err error
		if base, err = k.r.base(ctx, k.key); err != nil {
			return err
		}
	}
	for range maxAttempts {
		err := k.writeOver(ctx, base)
		if !errors.Is(err, kv.ErrOvertaken) {
			return err
		}
		if base, err = k.r.base(ctx, k.key); err != nil {
			return err
		}
		if k.foreign(base) {
			return fmt.Errorf("%w: end the other process with the ID %q, or choose another ID", ErrConflict, k.node.ID)
		}
	}
	return ErrConflict
}

func (k *keeper) writeOver(ctx context.Context, base kv.Entry) error {
	said := comparableNode(k.node)
	if !k.said(said) {
		k.mine = append(k.mine, said)
	}
	revision, err := k.r.register(ctx, k.key, k.node, base)
	if err == nil {
		k.revision, k.mine = revision, []Node{said}
	}
	return err
}

// comparableNode returns what a node says of itself but for load and time, as it is once it was written and read.
func comparableNode(n Node) Node {
	n.Load, n.LastSeen = nil, time.Time{}
	value, err := Encode(n)
	if err != nil {
		return n
	}
	n, _, _ = Decode(value)
	return n
}

func (k *keeper) said(n Node) bool {
	return slices.ContainsFunc(k.mine, func(m Node) bool { return reflect.DeepEqual(m, n) })
}

// foreign reports whether somebody else wrote a live entry. Before the keeper has written one of its own, an entry of the
// same owner is the one that the node left behind when it was last ended without warning.
func (k *keeper) foreign(e kv.Entry) bool {
	return e.Revision != 0 && e.Operation == kv.Put && k.revision != 0 && !k.own(e)
}

// own reports whether the entry is one that the keeper may have written.
func (k *keeper) own(e kv.Entry) bool {
	n, remarks, err := Decode(e.Value)
	return err == nil && len(remarks) == 0 && k.said(comparableNode(n))
}

// end unregisters the node, if what is registered is the keeper's own record, and tries again while the server can't be
// asked.
func (k *keeper) end(ctx context.Context) error {
	if len(k.mine) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.o.UnregisterTimeout)
	defer cancel()
	for b := (backoff.Backoff{}); ; {
		err := k.unregister(ctx)
		if !unreachable(err) {
			return err
		}
		select {
		case <-time.After(b.Next()):
		case <-ctx.Done():
			return err
		}
	}
}

func (k *keeper) unregister(ctx context.Context) error {
	return retry(k.node.ID, "unregistering", func() error {
		base := kv.Entry{Key: k.key, Revision: k.revision}
		k.revision = 0
		if base.Revision == 0 {
			var err error
			if base, err = k.r.base(ctx, k.key); err != nil {
				return err
			}
			if base.Revision == 0 || base.Operation != kv.Put || !k.own(base) {
				return nil
			}
		}
		return k.r.client.Delete(ctx, k.r.cache.settings(), k.key, base)
	})
}
