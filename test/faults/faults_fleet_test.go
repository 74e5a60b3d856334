package faults

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery"
)

func faultsOfTheFleet() []fault {
	return []fault{
		{name: "half of the fleet dies at once", run: func(r *rig) { halfDies(r, times(1, 5)) }},
		{name: "10,000 registrations at once, and again", alone: true, long: true, run: registerMany},
		{name: "nodes that flap every second", run: func(r *rig) { flap(r, 10, times(3, 15)) }},
		{name: "node registers with another address", long: true, run: func(r *rig) { moveNodes(r, times(10, 100)) }},
		{name: "late heartbeat after the unregistration", run: func(r *rig) { lateHeartbeat(r, times(3, 30)) }},
		{name: "two nodes claim one ID", run: func(r *rig) { sameID(r, times(3, 20)) }},
	}
}

// halfDies lets as many nodes die at once as the disruption guard lets go.
func halfDies(r *rig, n int) {
	r.set(usual())
	for range n {
		r.row.tried++
		ids := r.fleet.ids()
		for _, id := range ids[:len(ids)/2] {
			r.fleet.die(id)
		}
		r.settle()
		// The guard looks back for one TTL.
		pass(r.ttl)
		r.fleet.join(len(ids) / 2)
		r.settle()
	}
	r.judge()
}

// registerMany lets a large fleet register within a second, and all of it once more after the manager was cut off.
func registerMany(r *rig) {
	const size = 10_000
	r.set(setting{ttl: time.Hour, registry: room(size)})
	r.row.tried++
	// All that the API server has to write takes its time: the endpoints first.
	w, nodes := r.broken(window{settle: startBound}), r.broken(window{settle: patience, nodesOnly: true})
	r.registerAtOnce(size)
	r.mended(w, time.Now())
	r.mended(nodes, time.Now())
	poll(r.T, patience, "all endpoints", func() bool { return r.observer.endpoints.count() == size })
	r.row.blind = append(r.row.blind, time.Since(w.to))
	r.settle()
	for range 3 {
		r.row.tried++
		w := r.outage()
		r.proxy.Cut()
		for i := range size {
			_, err := r.fleet.js.PublishAsync(subject(massID(i)), r.fleet.value(massID(i), addressOf(i)))
			must(r, err)
		}
		<-r.fleet.js.PublishAsyncComplete()
		r.mend(w, r.proxy.Heal)
		r.over(w)
	}
	r.judge()
}

// room lets the manager mirror so many nodes, and some more.
func room(size int32) func(*rollcallv1alpha1.NodeRegistrySpec) {
	return func(spec *rollcallv1alpha1.NodeRegistrySpec) { spec.MaxNodes = new(size + 1000) }
}

// flap lets nodes come and go every second.
func flap(r *rig, nodes, n int) {
	r.set(usual())
	ids := r.fleet.ids()[:nodes]
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for i := range n {
		for k, id := range ids {
			r.row.tried++
			if i%2 == 0 {
				must(r, r.fleet.unregister(id))
			} else {
				must(r, r.fleet.register(id, addressOf(60_000+k)))
			}
		}
		<-ticker.C
	}
	r.judge()
}

func moveNodes(r *rig, n int) {
	r.set(usual())
	for range n {
		r.row.tried++
		ids := r.fleet.ids()
		_, address := r.fleet.fresh()
		must(r, r.fleet.move(ids[r.fleet.random(len(ids))], address))
		pass(time.Duration(r.fleet.random(50)) * time.Millisecond)
	}
	r.judge()
}

// lateHeartbeat sends a heartbeat after the unregistration. The library refuses it; one that is written all the same is a
// registration, of a node that dies at once.
func lateHeartbeat(r *rig, n int) {
	r.set(usual())
	nc, err := nats.Connect(r.nats.url(), discovery.ConnectOptions()...)
	must(r, err)
	defer nc.Close()
	registry, err := discovery.Open(r.Context(), nc, discovery.Options{NoCreate: true, WriteOnly: true})
	must(r, err)
	defer registry.Close()
	for i := range n {
		r.row.tried++
		ids := r.fleet.ids()
		id := ids[r.fleet.random(len(ids))]
		address := r.fleet.addressOf(id)
		must(r, r.fleet.unregister(id))
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		if err := registry.Heartbeat(ctx, id, 0.5); err == nil {
			r.Errorf("the library took a heartbeat of %s after it had unregistered", id)
		}
		cancel()
		if i%2 == 1 {
			must(r, r.fleet.register(id, address))
			r.fleet.die(id)
		}
		pass(time.Duration(r.fleet.random(200)) * time.Millisecond)
		r.fleet.join(1)
	}
	r.judge()
}

// sameID lets a second node claim the ID of one that lives: under a key of its own, which the older one survives.
func sameID(r *rig, n int) {
	r.set(usual())
	for range n {
		r.row.tried++
		ids := r.fleet.ids()
		id := ids[r.fleet.random(len(ids))]
		key := "$KV." + bucketName + "." + keyPrefix + "other-" + id
		_, err := r.fleet.js.Publish(r.Context(), key, r.fleet.value(id, "10.250.0.1"))
		must(r, err)
		pass(time.Duration(r.fleet.random(200)) * time.Millisecond)
	}
	r.judge()
}
