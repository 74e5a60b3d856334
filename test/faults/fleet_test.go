package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/discovery"
)

const (
	bucketName = "catga_nodes"
	keyPrefix  = discovery.DefaultKeyPrefix
)

// fleet is the machines outside: each heartbeats as long as it lives, and tries again what was not acknowledged. What they
// did is the ground truth.
type fleet struct {
	t   *testing.T
	nc  *nats.Conn
	js  jetstream.JetStream
	rnd *rand.Rand
	// interval is that of the heartbeats.
	interval time.Duration
	// skew is how far the nodes' own clocks are off.
	skew time.Duration
	// named says what the lives are of; see naming.
	named naming

	ctx     context.Context
	cancel  context.CancelFunc
	working sync.WaitGroup

	mu    sync.Mutex
	nodes map[string]*machine
	past  []life
	next  int
	how   writing
}

// machine is one node of the fleet.
type machine struct {
	id, address string
	// life is guarded by the fleet's lock.
	life life
	stop context.CancelFunc
	done chan struct{}
}

func newFleet(t *testing.T, url string, rnd *rand.Rand, interval time.Duration, named naming) *fleet {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ReconnectBufSize(-1), nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, nc: nc, rnd: rnd, interval: interval, named: named, nodes: map[string]*machine{}}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	if f.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.cancel()
		f.working.Wait()
		nc.Close()
	})
	return f
}

// subject is where the record of a node goes.
func subject(id string) string { return "$KV." + bucketName + "." + keyPrefix + id }

// node is a node as it registers itself.
func (f *fleet) node(id, address string) discovery.Node {
	load := 0.5
	return discovery.Node{
		ID: id, Endpoint: "http://" + address + ":8080", LastSeen: time.Now().Add(f.skew), Load: &load, Metadata: map[string]string{"role": "web"},
	}
}

// value is the record of a node.
func (f *fleet) value(id, address string) []byte { return encoded(f.node(id, address)) }

func encoded(n discovery.Node) []byte {
	value, err := discovery.Encode(n)
	if err != nil {
		panic(err) // The record is this test's own.
	}
	return value
}

// persist tries a write until it is acknowledged, and returns when the attempt began that was. When ctx ends it lets the
// attempt under way come to its end: one that is given up may be applied all the same.
func (f *fleet) persist(ctx context.Context, write func(context.Context) error) (sent time.Time, err error) {
	for {
		sent = time.Now()
		if err = f.attempt(write); err == nil || ctx.Err() != nil {
			return sent, err
		}
		select {
		case <-ctx.Done():
			return sent, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// attempt tries a write once.
func (f *fleet) attempt(write func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(f.ctx, time.Second)
	defer cancel()
	return write(ctx)
}

// record returns the write of a node's record.
func (f *fleet) record(id, address string) func(context.Context) error {
	return func(ctx context.Context) error { return f.publish(ctx, id, f.written(id, address)) }
}

func (f *fleet) put(ctx context.Context, id, address string) (sent time.Time, err error) {
	return f.persist(ctx, f.record(id, address))
}

func (f *fleet) remove(ctx context.Context, id string) error {
	_, err := f.persist(ctx, func(ctx context.Context) error {
		for _, s := range f.subjects(id) {
			m := nats.NewMsg(s)
			m.Header.Set("KV-Operation", "DEL")
			if _, err := f.js.PublishMsg(ctx, m); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// entity is how a node at an address is called.
func entity(id, address string) string { return id + "@" + address }

// naming is how a node at an address is called where it is not to matter which node has an address, or which address a node
// has; nil: it matters.
type naming func(id, address string) string

func (n naming) of(id, address string) string {
	if n == nil {
		return entity(id, address)
	}
	return n(id, address)
}

// byAddress is for who asks whether an address is served, and not by whom.
func byAddress(_, address string) string { return address }

// register registers a node, which heartbeats from then on.
func (f *fleet) register(id, address string) error {
	began := time.Now()
	if _, err := f.put(f.ctx, id, address); err != nil {
		return err
	}
	now := time.Now()
	f.adopt(id, address, began, now, time.Duration(f.random(int(f.interval))))
	return nil
}

// random returns a number below n.
func (f *fleet) random(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rnd.IntN(n)
}

// adopt lets a node that is registered heartbeat.
func (f *fleet) adopt(id, address string, began, acked time.Time, first time.Duration) {
	ctx, stop := context.WithCancel(f.ctx)
	m := &machine{id: id, address: address, stop: stop, done: make(chan struct{})}
	m.life = life{entity: f.named.of(id, address), id: id, sent: began, acked: acked, beatSent: began, beatAcked: acked}
	f.mu.Lock()
	f.nodes[id] = m
	f.mu.Unlock()
	f.working.Go(func() {
		defer close(m.done)
		f.beat(ctx, m, first)
	})
}

// beat heartbeats until ctx ends.
func (f *fleet) beat(ctx context.Context, m *machine, first time.Duration) {
	timer := time.NewTimer(first)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		sent := time.Now()
		if err := f.attempt(f.record(m.id, m.address)); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				f.unanswered(m)
			}
			// Machines do not all come back in the same moment, and some later than the manager.
			timer.Reset(time.Duration(f.random(int(f.interval))))
			continue
		}
		f.beaten(m, sent)
		timer.Reset(f.interval)
	}
}

// beaten notes a heartbeat that was acknowledged just now.
func (f *fleet) beaten(m *machine, sent time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if now.Sub(m.life.beatSent) > 2*f.interval {
		m.life.silences = append(m.life.silences, span{m.life.beatSent, now})
	}
	m.life.beatSent, m.life.beatAcked = sent, now
}

// unanswered notes a heartbeat of which nobody knows whether the server took it: as late as now it may have.
func (f *fleet) unanswered(m *machine) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m.life.beatAcked = time.Now()
}

// halt stops the heartbeats of a node and waits for the last one. It returns nil if there is no such node.
func (f *fleet) halt(id string) *machine {
	f.mu.Lock()
	m := f.nodes[id]
	f.mu.Unlock()
	if m != nil {
		m.stop()
		<-m.done
	}
	return m
}

// bury notes how the node's life ended.
func (f *fleet) bury(m *machine, end ending, sent, acked time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m.life.end, m.life.endSent, m.life.endAcked = end, sent, acked
	f.past = append(f.past, m.life)
	if f.nodes[m.id] == m {
		delete(f.nodes, m.id)
	}
}

// unregister ends a node in good order.
func (f *fleet) unregister(id string) error {
	m := f.halt(id)
	if m == nil {
		return fmt.Errorf("there is no node %s", id)
	}
	sent := time.Now()
	err := f.remove(f.ctx, id)
	f.bury(m, unregistered, sent, time.Now())
	return err
}

// die ends a node without a word.
func (f *fleet) die(id string) {
	if m := f.halt(id); m != nil {
		now := time.Now()
		f.bury(m, died, now, now)
	}
}

// move lets a node register again, with another address.
func (f *fleet) move(id, address string) error {
	m := f.halt(id)
	if m == nil {
		return fmt.Errorf("there is no node %s", id)
	}
	sent := time.Now()
	err := f.register(id, address)
	f.bury(m, unregistered, sent, time.Now())
	return err
}

// fresh returns an ID and an address that no node has had.
func (f *fleet) fresh() (id, address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	return fmt.Sprintf("web-%d", f.next), addressOf(f.next)
}

func addressOf(n int) string { return fmt.Sprintf("10.%d.%d.%d", 1+n>>16, n>>8&255, n&255) }

// join registers so many new nodes.
func (f *fleet) join(n int) []string {
	f.t.Helper()
	var all []string
	for range n {
		id, address := f.fresh()
		must(f.t, f.register(id, address))
		all = append(all, id)
	}
	return all
}

// probePrefix is what the IDs of nodes start with that only show that changes are seen.
const probePrefix = "probe-"

// ids returns the IDs of all living nodes but probes, sorted.
func (f *fleet) ids() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := slices.Sorted(maps.Keys(f.nodes))
	return slices.DeleteFunc(all, probes)
}

func probes(id string) bool { return strings.HasPrefix(id, probePrefix) }

// addressOf returns the address of a living node.
func (f *fleet) addressOf(id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes[id].address
}

// lastAddressOf returns the address that a node had which is gone.
func (f *fleet) lastAddressOf(id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range slices.Backward(f.past) {
		if address, ok := strings.CutPrefix(l.entity, id+"@"); ok {
			return address
		}
	}
	return ""
}

// alive returns the entities that live.
func (f *fleet) alive() map[string]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]bool{}
	for _, m := range f.nodes {
		all[m.life.entity] = true
	}
	return all
}

// count returns how many entities live.
func (f *fleet) count() int {
	if f.named != nil {
		return len(f.alive())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.nodes)
}

// lives returns all lives so far.
func (f *fleet) lives() []life {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := slices.Clone(f.past)
	for _, m := range f.nodes {
		all = append(all, m.life)
	}
	return joined(all)
}
