package faults

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

func faultsOfTheBucket() []fault {
	return []fault{
		{name: "bucket deleted", run: func(r *rig) { loseBucket(r, times(1, 10), deleteBucket) }},
		{name: "bucket deleted and made again at once", long: true, run: func(r *rig) {
			loseBucket(r, 20, func(r *rig) {
				deleteBucket(r)
				r.createBucket(usual())
			})
		}},
		{name: "store lost, the server comes back empty", long: true, run: func(r *rig) {
			loseBucket(r, times(1, 10), func(r *rig) {
				r.nats.kill()
				r.nats.wipe()
				r.nats.launch()
			})
		}},
		{name: "bucket purged", run: func(r *rig) { purge(r, times(1, 10), func() string { return "" }) }},
		{name: "keys purged from the stream", long: true, run: func(r *rig) {
			purge(r, times(5, 100), func() string {
				ids := r.fleet.ids()
				return subject(ids[r.fleet.random(len(ids))])
			})
		}},
		{name: "markers turned on while running", long: true, run: turnOnMarkers},
		{name: "history 1, NATS killed", long: true, run: func(r *rig) { killWithHistory(r, 1) }},
		{name: "history 64, NATS killed", long: true, run: func(r *rig) { killWithHistory(r, 64) }},
		{name: "20,000 keys, 64 writers, first listing", long: true, alone: true, run: firstListing},
		{name: "mirror on a leaf node, its origin away", long: true, run: loseOrigin},
	}
}

func (r *rig) stream() jetstream.Stream {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	s, err := r.fleet.js.Stream(ctx, "KV_"+bucketName)
	must(r, err)
	return s
}

func deleteBucket(r *rig) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	// The manager may not have made it again yet.
	if err := r.fleet.js.DeleteKeyValue(ctx, bucketName); err != nil && !errors.Is(err, jetstream.ErrBucketNotFound) {
		r.Fatal(err)
	}
}

// loseBucket loses all that is in the bucket again and again, under churn.
func loseBucket(r *rig, n int, lose func(*rig)) {
	r.set(usual())
	stop := r.fleet.churn(busy)
	for range n {
		r.row.tried++
		w := r.broken(window{holds: true, grace: r.ttl, settle: infoInterval + time.Second + allowance()})
		r.mend(w, func() { lose(r) })
		r.over(w)
		// Every node has to come back before it is lost again: that takes a failed heartbeat, and one more.
		pass(2 * r.fleet.interval)
	}
	r.linger()
	stop()
	r.judge()
}

// infoInterval is how often the manager looks at what it is not told of: another bucket of that name, or a purge.
const infoInterval = 3 * time.Second

// purge removes messages from the stream, of which nobody is told.
func purge(r *rig, n int, what func() string) {
	r.set(usual())
	stop := r.fleet.churn(busy)
	for range n {
		r.row.tried++
		// What is noticed at last is a gap, and its grace.
		w := r.broken(window{settle: infoInterval + time.Second + 2*r.ttl + allowance()})
		var options []jetstream.StreamPurgeOpt
		if subject := what(); subject != "" {
			options = append(options, jetstream.WithPurgeSubject(subject))
		}
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		must(r, r.stream().Purge(ctx, options...))
		cancel()
		r.over(w)
	}
	r.linger()
	stop()
	r.judge()
}

func turnOnMarkers(r *rig) {
	s := usual()
	s.bucket = func(c *jetstream.KeyValueConfig) { c.LimitMarkerTTL = 0 }
	r.set(s)
	stop := r.fleet.churn(busy)
	pass(2 * r.ttl)
	r.row.tried++
	_, err := r.fleet.js.UpdateKeyValue(r.Context(), jetstream.KeyValueConfig{
		Bucket: bucketName, TTL: s.ttl, History: 5, LimitMarkerTTL: s.ttl, Storage: jetstream.FileStorage,
	})
	must(r, err)
	r.over(nil)
	pass(2 * r.ttl)
	stop()
	r.judge()
}

func killWithHistory(r *rig, history uint8) {
	s := usual()
	s.bucket = func(c *jetstream.KeyValueConfig) { c.History = history }
	r.set(s)
	r.row.prompt = true
	stop := r.fleet.churn(busy)
	for range 10 {
		r.row.tried++
		w := r.outage()
		r.nats.kill()
		r.mend(w, r.nats.launch)
		r.over(w)
	}
	stop()
	r.judge()
}

// firstListing lets a manager that knows nothing list a bucket that is being written to, again and again.
func firstListing(r *rig) {
	const size, writers, rounds = 20_000, 64, 20
	s := setting{ttl: time.Hour, idle: true, registry: room(size)}
	r.set(s)
	r.registerAtOnce(size)
	stop := r.writers(writers, size)
	for round := range rounds {
		r.row.tried++
		if round > 0 {
			r.namespace = env.Namespace(r.T)
			r.observer = observe(r.T, r.api, r.namespace, nil)
			r.createObjects(s, r.proxy.URL())
		}
		began := time.Now()
		r.begin()
		count := func() int { return r.observer.endpoints.count() }
		if !wait(patience, func() bool { return count() >= size }) {
			r.row.missed += size - count()
			r.Errorf("round %d: %d of %d nodes are missing", round+1, size-count(), size)
		}
		r.Logf("round %d: all %d nodes after %s", round+1, size, time.Since(began).Round(time.Millisecond))
		must(r, r.manager.kill())
		for entity, seen := range r.observer.endpoints.sightings() {
			if len(seen) > 1 {
				r.row.removed++
				r.Errorf("round %d: %s came and went", round+1, entity)
			}
		}
	}
	stop()
}

// registerAtOnce registers so many nodes that do not heartbeat, as fast as it goes.
func (r *rig) registerAtOnce(n int) {
	r.Helper()
	futures := make([]jetstream.PubAckFuture, 0, n)
	began := time.Now()
	for i := range n {
		future, err := r.fleet.js.PublishMsgAsync(&nats.Msg{Subject: subject(massID(i)), Data: r.fleet.value(massID(i), addressOf(i))})
		must(r, err)
		futures = append(futures, future)
	}
	for i, future := range futures {
		select {
		case <-future.Ok():
		case err := <-future.Err():
			r.Fatal(err)
		}
		now := time.Now()
		r.fleet.mu.Lock()
		r.fleet.nodes[massID(i)] = &machine{id: massID(i), address: addressOf(i), stop: func() {}, done: closed, life: life{
			entity: entity(massID(i), addressOf(i)), sent: began, acked: now, beatSent: began, beatAcked: now,
		}}
		r.fleet.mu.Unlock()
	}
	r.Logf("%d registrations took %s", n, time.Since(began).Round(time.Millisecond))
}

// closed is the channel of what has nothing to wait for.
var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func massID(n int) string { return fmt.Sprintf("mass-%05d", n) }

// writers heartbeats for random nodes from so many goroutines until stop is called.
func (r *rig) writers(n, size int) (stop func()) {
	ctx, cancel := context.WithCancel(r.Context())
	var done sync.WaitGroup
	for range n {
		done.Go(func() {
			for ctx.Err() == nil {
				i := r.fleet.random(size)
				if _, err := r.fleet.js.Publish(ctx, subject(massID(i)), r.fleet.value(massID(i), addressOf(i))); err != nil && ctx.Err() == nil {
					r.Errorf("write: %v", err)
				}
			}
		})
	}
	return func() {
		cancel()
		done.Wait()
	}
}

// loseOrigin lets a manager watch the mirror of a bucket on a leaf node while the server with the bucket itself goes away
// for longer than the TTL. The leaf answers all the time.
func loseOrigin(r *rig) {
	hub := r.setLeaf(usual())
	for range 2 {
		r.row.tried++
		// The mirror finds its origin again within a time of the server's own.
		w := r.broken(window{holds: true, grace: r.ttl, settle: 30 * time.Second})
		hub.kill()
		pass(2 * r.ttl)
		r.mend(w, hub.launch)
		r.overMirror(w)
	}
	r.judge()
}

// setLeaf sets up a rig whose fleet writes to a hub, and whose manager reads the mirror of the bucket on a leaf node. It returns the
// hub.
func (r *rig) setLeaf(s setting) *natsServer {
	r.Helper()
	dir := r.TempDir()
	port := freePorts(r.T, 1)[0]
	hub := newNATS(r.T, dir, "hub", "hub", fmt.Sprintf("leafnodes { listen: \"127.0.0.1:%d\" }", port))
	hub.start()
	leaf := newNATS(r.T, dir, "leaf", "leaf", fmt.Sprintf("leafnodes { remotes: [ { url: \"nats://127.0.0.1:%d\" } ] }", port))
	leaf.start()
	s.url = hub.url()
	s.idle = true
	s.registry = func(spec *rollcallv1alpha1.NodeRegistrySpec) { spec.Connection.Servers = []string{leaf.url()} }
	r.set(s)
	mirrorBucket(r, leaf, s.ttl)
	starting := r.broken(window{})
	r.begin()
	r.fleet.join(s.nodes)
	r.settle()
	r.mended(starting, time.Now())
	return hub
}

// overMirror waits until a change at the origin shows, which ends the window.
func (r *rig) overMirror(w *window) {
	r.Helper()
	id, address := r.probe()
	must(r, r.fleet.register(id, address))
	poll(r.T, patience, "the mirror to follow its origin again", func() bool { return r.observer.endpoints.shows(entity(id, address)) })
	r.mended(w, time.Now())
	must(r, r.fleet.unregister(id))
}

func mirrorBucket(r *rig, leaf *natsServer, ttl time.Duration) {
	nc, err := nats.Connect(leaf.url())
	must(r, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	must(r, err)
	poll(r.T, patience, "the mirror", func() bool {
		_, err = js.CreateKeyValue(r.Context(), jetstream.KeyValueConfig{
			Bucket: bucketName, TTL: ttl, History: 5, Storage: jetstream.FileStorage,
			Mirror: &jetstream.StreamSource{Name: bucketName, Domain: "hub"},
		})
		return err == nil
	})
}
