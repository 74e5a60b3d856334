package noderegistry

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
	// Observer until Unfollow. It must not block.
	Follow(registry types.NamespacedName, w *kv.Writer) kv.Observer
	// Unfollow ends what Follow began; the writer is closed already. It must not block.
	Unfollow(registry types.NamespacedName)
	// Leave removes what the Follower has written, for the registry is gone or names another bucket. It returns when that
	// is done or ctx ends.
	Leave(ctx context.Context, registry types.NamespacedName)
}

// follow has the Follower, if there is one, see what sink sees, until the returned function is called. The Writer is the
// Follower's, nil if there is none.
func (s *session) follow(nc *nats.Conn, sink kv.Sink) (kv.Sink, *kv.Writer, func(), error) {
	if s.follower == nil {
		return sink, nil, func() {}, nil
	}
	w, err := kv.NewWriter(nc, kv.WriterOptions{
		Bucket: s.plan.bucket.Name, Domain: s.plan.bucket.Domain, APIPrefix: s.plan.bucket.APIPrefix,
	})
	if err != nil {
		return nil, nil, nil, err
	}
	unfollow := func() {
		w.Close()
		s.follower.Unfollow(s.name)
	}
	return both{Sink: sink, also: s.follower.Follow(s.name, w)}, w, unfollow, nil
}

// leave lets the Follower remove what it has written, where a session with another plan would no longer reach it; nil: the
// NodeRegistry is gone.
func (s *sessions) leave(name types.NamespacedName, next *plan) {
	old := s.get(name)
	if s.follower == nil || (old == nil && next != nil) {
		return
	}
	if next != nil && next.bucket.Name == old.plan.bucket.Name && next.bucket.Domain == old.plan.bucket.Domain &&
		next.bucket.APIPrefix == old.plan.bucket.APIPrefix {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	s.follower.Leave(ctx, name)
}

// both is a Sink that lets an Observer see the same.
type both struct {
	kv.Sink

	also kv.Observer
}

// Listing implements kv.Observer.
func (b both) Listing(cause kv.Cause) {
	b.Sink.Listing(cause)
	b.also.Listing(cause)
}

// Entry implements kv.Observer.
func (b both) Entry(e kv.Entry) {
	b.Sink.Entry(e)
	b.also.Entry(e)
}

// Synced implements kv.Observer.
func (b both) Synced(bucket kv.Bucket) {
	b.Sink.Synced(bucket)
	b.also.Synced(bucket)
}

// Absent implements kv.Observer.
func (b both) Absent(keys []string) {
	b.Sink.Absent(keys)
	b.also.Absent(keys)
}

// Bucket implements kv.Observer.
func (b both) Bucket(bucket kv.Bucket) {
	b.Sink.Bucket(bucket)
	b.also.Bucket(bucket)
}

// Disconnected implements kv.Observer.
func (b both) Disconnected(err error) {
	b.Sink.Disconnected(err)
	b.also.Disconnected(err)
}
