package discovery

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// cached is a node as the cache knows it. It is never changed once it is in the cache.
type cached struct {
	node  Node
	entry kv.Entry
	// gone is when, on the server's clock, a node that never expires was found absent; zero if it wasn't.
	gone time.Time
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
	suspended bool      // no deadline passes: the nodes can't be heard
	floor     time.Time // on the server's clock: no node is taken for silent since before
	deadlines deadlines
	timer     *time.Timer
	watchers  map[*subscriber]struct{}
}

func newCache(b kv.Bucket, prefix string, log *slog.Logger) *cache {
	c := &cache{
		prefix: prefix, log: log, synced: make(chan struct{}), first: true, bucket: b, suspended: true,
		deadlines: newDeadlines(), watchers: map[*subscriber]struct{}{},
	}
	c.timer = time.AfterFunc(time.Hour, c.expire)
	return c
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
	c.timer.Stop()
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
	return c.down
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

// Listing implements Sink.
func (c *cache) Listing(cause kv.Cause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = nil
	if cause.Gap() {
		c.suspended = true
	}
}

// Synced implements Sink. After a gap the nodes may have been cut off too: each gets a whole TTL to be heard again.
func (c *cache) Synced(b kv.Bucket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setBucket(b)
	if c.suspended {
		c.suspended = false
		c.floor = serverNow(b)
	}
	c.arm()
	if c.first {
		c.first = false
		close(c.synced)
	}
}

// Bucket implements Sink.
func (c *cache) Bucket(b kv.Bucket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setBucket(b)
	c.arm()
}

// Disconnected implements Sink.
func (c *cache) Disconnected(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = err
	c.suspended = true
}

// Entry implements Sink.
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
		c.markGone(e.Key)
		c.leaveIfDue(e.Key)
	}
}

// Absent implements Sink. A key that is merely absent may have been lost; its node leaves at its deadline, unless it
// registers again.
func (c *cache) Absent(keys []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		c.markGone(key)
	}
	c.arm()
}

func (c *cache) put(e kv.Entry) {
	n, err := Decode(e.Value)
	if err != nil {
		c.log.Warn("record can't be read", "key", e.Key, "revision", e.Revision, "error", err)
		c.leave(e.Key, Invalid)
		return
	}
	_, known := c.get(e.Key)
	entry := &cached{node: n, entry: e}
	c.nodes.Store(e.Key, entry)
	if at, ok := c.deadline(entry); ok && c.deadlines.add(e.Key, at) {
		c.arm()
	}
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
