package registry

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// leaveTimeout bounds how long a registry's end waits for a Follower to leave.
const leaveTimeout = 3 * time.Second

// Follower is what else sees the buckets, beside the Mirrors, and writes to them. Its methods are called one at a time for
// each registry.
type Follower interface {
	// Follow says that a bucket is about to be watched, and can be written through w. What the Watcher sees goes to the
	// Sink until Unfollow. It must not block.
	Follow(registry types.NamespacedName, w *kv.Writer) kv.Sink
	// Unfollow ends what Follow began; the writer is closed already. It must not block.
	Unfollow(registry types.NamespacedName)
	// Leave removes what the Follower has written, for the registry is gone or names another bucket. It returns when that
	// is done or ctx ends.
	Leave(ctx context.Context, registry types.NamespacedName)
}

// follow has the Follower, if there is one, see what sink sees, until the returned function is called.
func (s *session) follow(nc *nats.Conn, sink kv.Sink) (kv.Sink, func(), error) {
	if s.follower == nil {
		return sink, func() {}, nil
	}
	w, err := kv.NewWriter(nc, kv.WriterOptions{Bucket: s.plan.bucket.Name, Domain: s.plan.bucket.Domain})
	if err != nil {
		return nil, nil, err
	}
	unfollow := func() {
		w.Close()
		s.follower.Unfollow(s.name)
	}
	return both{sink, s.follower.Follow(s.name, w)}, unfollow, nil
}

// leave lets the Follower remove what it has written, where a session with another plan would no longer reach it; nil is
// none.
func (s *sessions) leave(name types.NamespacedName, next *plan) {
	old := s.get(name)
	if s.follower == nil || old == nil {
		return
	}
	if next != nil && next.bucket.Name == old.plan.bucket.Name && next.bucket.Domain == old.plan.bucket.Domain {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	s.follower.Leave(ctx, name)
}

// both hands everything on to two Sinks.
type both [2]kv.Sink

// Listing implements kv.Sink.
func (b both) Listing(cause kv.Cause) {
	b[0].Listing(cause)
	b[1].Listing(cause)
}

// Entry implements kv.Sink.
func (b both) Entry(e kv.Entry) {
	b[0].Entry(e)
	b[1].Entry(e)
}

// Synced implements kv.Sink.
func (b both) Synced(bucket kv.Bucket) {
	b[0].Synced(bucket)
	b[1].Synced(bucket)
}

// Absent implements kv.Sink.
func (b both) Absent(keys []string) {
	b[0].Absent(keys)
	b[1].Absent(keys)
}

// Bucket implements kv.Sink.
func (b both) Bucket(bucket kv.Bucket) {
	b[0].Bucket(bucket)
	b[1].Bucket(bucket)
}

// Disconnected implements kv.Sink.
func (b both) Disconnected(err error) {
	b[0].Disconnected(err)
	b[1].Disconnected(err)
}
