package discovery

import (
	"context"
	"strconv"
	"sync"
)

// EventType is what happened to a node.
type EventType uint8

// The types of events.
const (
	// Joined: the node is new.
	Joined EventType = iota
	// Updated: the node's record was written again, by a heartbeat at least.
	Updated
	// Left: the node is gone; Event.Reason says why.
	Left
)

// String returns the type's name.
func (t EventType) String() string {
	switch t {
	case Joined:
		return "Joined"
	case Updated:
		return "Updated"
	case Left:
		return "Left"
	}
	return "EventType(" + strconv.Itoa(int(t)) + ")"
}

// LeftReason is why a node left.
type LeftReason string

// The reasons why a node leaves.
const (
	// Unregistered: the node, or somebody for it, removed the entry.
	Unregistered LeftReason = "Unregistered"
	// Expired: the node wasn't heard for the TTL.
	Expired LeftReason = "Expired"
	// Invalid: the entry is still there, but its record can't be read any more.
	Invalid LeftReason = "Invalid"
)

// Event is one change of one node.
type Event struct {
	// Type is what happened.
	Type EventType
	// Reason is why the node left; empty otherwise.
	Reason LeftReason
	// ID is the ID under which the node is registered.
	ID string
	// Node is the node, as it last was if it left. It is shared as Registry.Node says.
	Node Node
	// Revision is the revision of Node.
	Revision uint64
}

// Watch returns a channel with every node that is known now, as Joined, and with every change from then on. It is closed
// when ctx ends or the registry is closed.
//
// The reader may take its time: nothing waits for it, and what it hasn't read is coalesced by node, so that it gets the
// latest state of each once. It always learns the final state: Left for every node that it got as Joined and that is
// gone. A node that left and came back meanwhile is Updated; one that came and left again isn't told at all.
func (r *Registry) Watch(ctx context.Context) <-chan Event {
	s := newSubscriber()
	r.cache.subscribe(s)
	ch := make(chan Event)
	go func() {
		defer close(ch)
		defer r.cache.unsubscribe(s)
		for {
			e, ok := s.next(ctx)
			if !ok {
				return
			}
			select {
			case ch <- e:
			case <-ctx.Done():
				return
			case <-s.ended:
				return
			}
		}
	}()
	return ch
}

func (c *cache) subscribe(s *subscriber) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		s.end()
		return
	}
	c.watchers[s] = struct{}{}
	for _, n := range c.all() {
		s.offer(n.entry.Key, Event{Type: Joined, ID: c.id(n.entry.Key), Node: n.node, Revision: n.entry.Revision})
	}
}

func (c *cache) unsubscribe(s *subscriber) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.watchers, s)
}

// subscriber holds what one reader of Watch hasn't read yet: one event a key, in the order of their first changes.
type subscriber struct {
	wake  chan struct{}
	ended chan struct{}

	mu      sync.Mutex
	pending map[string]Event
	order   []string
	told    map[string]struct{} // the keys that the reader knows as joined
}

func newSubscriber() *subscriber {
	return &subscriber{
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
		pending: map[string]Event{}, told: map[string]struct{}{},
	}
}

func (s *subscriber) end() { close(s.ended) }

// offer notes the latest event of a key; it never blocks.
func (s *subscriber) offer(key string, e Event) {
	s.mu.Lock()
	if _, ok := s.pending[key]; !ok {
		s.order = append(s.order, key)
	}
	s.pending[key] = e
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// next waits for an event; false says that there is none any more.
func (s *subscriber) next(ctx context.Context) (Event, bool) {
	for {
		if e, ok := s.take(); ok {
			return e, true
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return Event{}, false
		case <-s.ended:
			return Event{}, false
		}
	}
}

// take returns the first event that tells the reader something.
func (s *subscriber) take() (Event, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.order) > 0 {
		key := s.order[0]
		s.order = s.order[1:]
		e := s.pending[key]
		delete(s.pending, key)
		_, told := s.told[key]
		switch {
		case e.Type == Left && !told:
			continue
		case e.Type == Left:
			delete(s.told, key)
		case told:
			e.Type = Updated
		default:
			e.Type = Joined
			s.told[key] = struct{}{}
		}
		return e, true
	}
	return Event{}, false
}
