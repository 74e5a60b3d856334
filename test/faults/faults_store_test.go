package faults

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

func faultsOfTheStore() []fault {
	return []fault{
		{name: "bucket full by bytes", run: func(r *rig) { fillStore(r, times(1, 3), 1000*ballast, -1) }},
		{name: "bucket full by messages", long: true, run: func(r *rig) { fillStore(r, times(1, 3), -1, ballast) }},
		{name: "bucket full by messages for new keys only", run: func(r *rig) { fillForNewKeys(r, times(1, 5)) }},
		{name: "bucket sealed, deleted and made again", long: true, run: func(r *rig) { sealBucket(r, times(1, 3)) }},
		{name: "mirror of two nodes cut off from its origin", run: func(r *rig) { cutMirror(r, times(1, 3)) }},
	}
}

// says waits until the NodeRegistry says that it is degraded for that reason.
func (r *rig) says(reason string, within time.Duration) {
	r.Helper()
	if !wait(within+allowance(), func() bool { return r.degraded() == reason }) {
		r.Errorf("after %s the NodeRegistry does not say %s but %q", within, reason, r.degraded())
	}
}

// saysNoLonger waits until the NodeRegistry does not say any more that it is degraded for that reason.
func (r *rig) saysNoLonger(reason string, within time.Duration) {
	r.Helper()
	if !wait(within+allowance(), func() bool { return r.degraded() != reason }) {
		r.Errorf("after %s the NodeRegistry still says %s", within, reason)
	}
}

// refusing opens a window in which the store refuses what nodes write. What the manager sees of that at the latest when it looks again
// may be late by that, and whoever is silent when it ends may stay for a TTL.
func (r *rig) refusing() *window {
	return r.broken(window{holds: true, settle: infoInterval + r.ttl + time.Second + allowance()})
}

// update changes the stream of the bucket.
func (r *rig) update(change func(*jetstream.StreamConfig)) {
	r.Helper()
	config := r.stream().CachedInfo().Config
	change(&config)
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	_, err := r.fleet.js.UpdateStream(ctx, config)
	must(r, err)
}

func (r *rig) limit(bytes, messages int64) {
	r.Helper()
	r.update(func(c *jetstream.StreamConfig) { c.MaxBytes, c.MaxMsgs = bytes, messages })
}

// few is a fleet of which the disruption guard holds nobody.
func few() setting {
	s := usual()
	s.nodes = 2
	return s
}

// ballast is how many messages of a thousand bytes stay in the bucket for ever: what else is in it makes room as it expires.
const ballast = 10

// load puts the ballast into the bucket.
func (r *rig) load() {
	r.Helper()
	for i := range ballast {
		m := nats.NewMsg(fmt.Sprintf("$KV.%s.ballast.%d", bucketName, i))
		m.Header.Set("Nats-TTL", "never")
		m.Data = make([]byte, 1000)
		_, err := r.fleet.js.PublishMsg(r.Context(), m)
		must(r, err)
	}
}

// fillStore lets the bucket be full for longer than the TTL: every heartbeat is refused, and one node dies meanwhile. No key
// reaches its history, or one replica would take its heartbeats all the same.
func fillStore(r *rig, n int, bytes, messages int64) {
	s := few()
	s.bucket = func(c *jetstream.KeyValueConfig) { c.History = 64 }
	r.set(s)
	r.load()
	for range n {
		r.row.tried++
		w := r.refusing()
		r.limit(bytes, messages)
		r.says(rollcallv1alpha1.ReasonStoreFull, infoInterval+2*time.Second)
		r.fleet.die(r.fleet.ids()[0])
		pass(2 * r.ttl)
		r.mend(w, func() { r.limit(-1, -1) })
		r.over(w)
		r.settle()
		r.saysNoLonger(rollcallv1alpha1.ReasonStoreFull, r.ttl)
		r.fleet.join(1)
		r.settle()
	}
	r.judge()
}

// fillForNewKeys lets the bucket be full for whoever is new: with a history of one a single replica replaces the records of those that
// it knows. Their silence means what it always means.
func fillForNewKeys(r *rig, n int) {
	s := usual()
	s.bucket = func(c *jetstream.KeyValueConfig) { c.History = 1 }
	r.set(s)
	for range n {
		r.row.tried++
		r.limit(-1, int64(r.stream().CachedInfo().State.Msgs))
		ids := r.fleet.ids()
		dead := entity(ids[0], r.fleet.addressOf(ids[0]))
		r.fleet.die(ids[0])
		wait(3*r.ttl, func() bool { return !r.observer.endpoints.shows(dead) })
		r.limit(-1, -1)
		r.fleet.join(1)
		r.settle()
	}
	r.judge()
}

// sealBucket seals the bucket for longer than the TTL. Nothing can unseal it.
func sealBucket(r *rig, n int) {
	s := few()
	r.set(s)
	for range n {
		r.row.tried++
		w := r.refusing()
		r.update(func(c *jetstream.StreamConfig) { c.Sealed = true })
		r.says(rollcallv1alpha1.ReasonSealed, infoInterval+2*time.Second)
		r.fleet.die(r.fleet.ids()[0])
		pass(2 * r.ttl)
		r.mend(w, func() {
			deleteBucket(r)
			r.createBucket(s)
		})
		r.over(w)
		r.settle()
		r.saysNoLonger(rollcallv1alpha1.ReasonSealed, r.ttl)
		r.fleet.join(1)
		r.settle()
	}
	r.judge()
}

// mirrorSilence is how long a mirror may be silent that is connected.
const mirrorSilence = 3 * time.Second

// cutMirror lets the origin of a mirror go away for longer than the TTL. Afterwards a node dies.
func cutMirror(r *rig, n int) {
	hub := r.setLeaf(few())
	for range n {
		r.row.tried++
		w := r.refusing()
		hub.kill()
		r.says(rollcallv1alpha1.ReasonMirrorCut, mirrorSilence+infoInterval+2*time.Second)
		pass(2 * r.ttl)
		r.mend(w, hub.launch)
		r.overMirror(w)
		r.saysNoLonger(rollcallv1alpha1.ReasonMirrorCut, patience)
		r.fleet.die(r.fleet.ids()[0])
		r.settle()
		r.fleet.join(1)
	}
	r.judge()
}
