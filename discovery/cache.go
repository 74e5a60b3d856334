package discovery

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/rollcall-dev/rollcall/discovery/kv"
	"github.com/rollcall-dev/rollcall/discovery/liveness"
)

// cached is a node as the cache knows it. It is never changed once it is in the cache.
type cached struct {
	node  Node
	entry kv.Entry
	heard liveness.Heard
	// absent is set for a node that never expires and whose key was found missing, at since on the listening clock.
	absent bool
	since  time.Duration
}

// cache is the Sink of a Registry: the nodes in memory. Reading a node takes no lock; everything else does, for a moment.
type cache struct {
	prefix string
	log    *slog.Logger
	nodes  sync.Map // key → *cached; written with mu held
	synced chan struct{}

	mu        sync.Mutex
	first     bool // synced hasn't been closed yet
	closed    bool
	down      error
	bucket    kv.Bucket
	clock     liveness.Clock
	deadlines deadlines
	watchers  map[*subscriber]struct{}
}

func newCache(b kv.Bucket, prefix string, log *slog.Logger) *cache {
	return &cache{
		prefix: prefix, log: log, synced: make(chan struct{}), first: true, bucket: b, clock: liveness.NewClock(kv.DefaultSilenceLimit),
		deadlines: newDeadlines(), watchers: map[*subscriber]struct{}{},
	}
}

// await waits for the first complete listing.
func (c *cache) await(ctx context.Context) error {
	select {
	case <-c.synced:
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err(), c.err())
	}
}

func (c *cache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for s := range c.watchers {
		s.end()
	}
	clear(c.watchers)
}

func (c *cache) settings() kv.Bucket {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bucket
}

func (c *cache) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down != nil {
		return c.down
	}
	return c.bucket.Store.Err()
}

func (c *cache) get(key string) (*cached, bool) {
	v, ok := c.nodes.Load(key)
	if !ok {
		return nil, false
	}
	n, ok := v.(*cached)
	return n, ok
}

func (c *cache) all() []*cached {
	var all []*cached
	c.nodes.Range(func(_, v any) bool {
		if n, ok := v.(*cached); ok {
			all = append(all, n)
		}
		return true
	})
	return all
}

// Listing implements kv.Observer.
func (c *cache) Listing(cause kv.Cause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = nil
	if cause.Gap() {
		c.clock.Stop()
	}
}

// Synced implements kv.Observer.
func (c *cache) Synced(b kv.Bucket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setBucket(b)
	if !c.clock.Listening() {
		c.clock.Start()
	}
	if c.first {
		c.first = false
		close(c.synced)
	}
}

// Bucket implements kv.Observer.
func (c *cache) Bucket(b kv.Bucket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setBucket(b)
}

// Disconnected implements kv.Observer.
func (c *cache) Disconnected(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = err
	c.clock.Stop()
}

// Entry implements kv.Observer.
func (c *cache) Entry(e kv.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e.Operation {
	case kv.Put:
		c.put(e)
	case kv.Unregister:
		c.leave(e.Key, Unregistered)
	case kv.Expire:
		// The marker is a hint. A server that was down expires on its return whatever couldn't be refreshed meanwhile, and a
		// replicated one may expire a key that was written this moment. The deadline decides.
		c.miss(e.Key)
	}
}

// Absent implements kv.Observer. A key that is merely absent may have been lost; its node leaves at its deadline, unless it
// registers again.
func (c *cache) Absent(keys []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		c.miss(key)
	}
}

func (c *cache) put(e kv.Entry) {
	n, _, err := Decode(e.Value)
	if err != nil {
		c.log.Warn("record can't be read", "key", e.Key, "revision", e.Revision, "error", err)
		c.leave(e.Key, Invalid)
		return
	}
	_, known := c.get(e.Key)
	c.queue(&cached{node: n, entry: e, heard: c.clock.Hear(e.Age)})
	kind := Joined
	if known {
		kind = Updated
	}
	c.tell(e.Key, Event{Type: kind, Node: n, Revision: e.Revision})
}

func (c *cache) leave(key string, why LeftReason) {
	old, ok := c.get(key)
	if !ok {
		return
	}
	c.nodes.Delete(key)
	c.tell(key, Event{Type: Left, Reason: why, Node: old.node, Revision: old.entry.Revision})
}

// id returns the ID under which a key is looked up.
func (c *cache) id(key string) string { return strings.TrimPrefix(key, c.prefix) }

func (c *cache) tell(key string, e Event) {
	e.ID = c.id(key)
	for s := range c.watchers {
		s.offer(key, e)
	}
}
