package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rollcall-dev/rollcall/discovery/internal/backoff"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// Registry is the nodes of one bucket: a copy in memory that follows the bucket, and the writes to it. All its methods
// are safe for concurrent use. Those that write, and History, ask the server; all others answer from memory.
type Registry struct {
	o         Options
	config    kv.BucketConfig
	prefix    string
	nc        *nats.Conn
	client    *kv.Client
	log       *slog.Logger
	cache     *cache
	different []kv.Difference

	stop context.CancelFunc
	done chan struct{}
}

// Open opens the bucket's registry, creates the bucket if it is missing, and returns once every node that was live at the
// call is known. ctx bounds the call alone: until it ends, Open waits for a connection that isn't up yet, and for a server
// that doesn't answer.
//
// A bucket that exists is never altered; see [Registry.Differences]. The errors are those of [kv.EnsureBucket], of invalid
// options, and ctx's, joined with the reason why the bucket couldn't be read. The connection is the caller's, see
// [ConnectOptions]; it must outlive [Registry.Close].
func Open(ctx context.Context, nc *nats.Conn, o Options) (*Registry, error) {
	r, err := newRegistry(nc, o)
	if err != nil {
		return nil, err
	}
	b, err := r.ensure(ctx)
	if err != nil {
		r.client.Close()
		return nil, err
	}
	r.cache = newCache(b, r.prefix, r.log)
	if o.WriteOnly {
		r.stop = func() {}
		close(r.done)
		return r, nil
	}
	w, err := kv.NewWatcher(nc, kv.WatcherOptions{
		Bucket: r.config.Name, KeyPrefix: r.prefix, Domain: o.Domain, APITimeout: o.APITimeout, Logger: r.log,
		Writer: r.client.Writer(),
	}, r.cache)
	if err != nil {
		r.client.Close()
		r.cache.close()
		return nil, err
	}
	r.run(w)
	if err := r.cache.await(ctx); err != nil {
		r.Close()
		return nil, fmt.Errorf("opening the registry in bucket %q: %w", r.config.Name, err)
	}
	return r, nil
}

func newRegistry(nc *nats.Conn, o Options) (*Registry, error) {
	r := &Registry{o: o, config: o.bucketConfig(), prefix: o.keyPrefix(), nc: nc, log: o.Logger, done: make(chan struct{})}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if err := r.config.Validate(); err != nil {
		return nil, err
	}
	if !kv.ValidKeyPrefix(r.prefix) {
		return nil, fmt.Errorf("%w: key prefix %q: use letters, digits and -/_=. without a leading or double dot", ErrInvalidID, r.prefix)
	}
	var err error
	r.client, err = kv.NewClient(nc, kv.ClientOptions{Bucket: r.config.Name, Domain: o.Domain, Timeout: o.APITimeout})
	return r, err
}

// ensure is EnsureBucket, repeated until ctx ends while the server can't be asked.
func (r *Registry) ensure(ctx context.Context) (kv.Bucket, error) {
	var reason error
	for b := (backoff.Backoff{}); ; {
		bucket, different, err := kv.EnsureBucket(ctx, r.nc, r.config)
		if err == nil {
			r.different = different
			return bucket, nil
		}
		if !unreachable(err) {
			return kv.Bucket{}, err
		}
		if reason == nil || ctx.Err() == nil {
			reason = err // An attempt that ctx cut short knows less than the one before it.
		}
		select {
		case <-time.After(b.Next()):
		case <-ctx.Done():
			return kv.Bucket{}, errors.Join(ctx.Err(), reason)
		}
	}
}

// unreachable reports whether the server could not be asked, or could not answer.
func unreachable(err error) bool {
	return errors.Is(err, ErrConnectionLost) || errors.Is(err, ErrNoAnswer) || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrBusy)
}

// settingsAge is how old the bucket's settings may become in a registry that doesn't follow the bucket.
const settingsAge = time.Minute

// refreshSettings asks for the bucket's settings if they are old. Those that are known stand if it fails.
func (r *Registry) refreshSettings(ctx context.Context) {
	if !r.o.WriteOnly || time.Since(r.cache.settings().ReceivedAt) < settingsAge {
		return
	}
	if b, err := r.client.Bucket(ctx); err == nil {
		r.cache.Bucket(b)
	}
}

func (r *Registry) run(w *kv.Watcher) {
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() {
		defer close(r.done)
		if err := w.Run(ctx); ctx.Err() == nil {
			r.log.Error("registry no longer follows its bucket", "bucket", r.config.Name, "error", err)
		}
	}()
}

// Close stops following the bucket and ends all subscriptions of Watch. It unregisters nothing, and leaves the
// connection open. Nodes that are being kept alive have to be ended before. It takes at most Options.APITimeout, and may
// be called more than once.
func (r *Registry) Close() {
	r.stop()
	<-r.done
	r.client.Close()
	r.cache.close()
}

// Bucket returns the bucket's settings as they were seen last, at most a few seconds ago while it can be read; with
// Options.WriteOnly, a minute ago while a node is kept alive.
func (r *Registry) Bucket() kv.Bucket { return r.cache.settings() }

// Differences returns which settings of the bucket aren't as the options want them. A bucket that Open has created has
// none, except for markers on a server older than 2.11.
func (r *Registry) Differences() []kv.Difference { return slices.Clone(r.different) }

// Err returns nil while the registry follows the bucket and nodes can heartbeat. Otherwise the nodes are the last that were
// known, and none leaves by silence. The errors are those of [kv.Observer.Disconnected] and of [kv.Store.Err].
func (r *Registry) Err() error { return r.cache.err() }

// Node returns the node with that ID, and false if there is none. It takes no lock. The node's slices, map and pointers
// are shared and must not be written to.
func (r *Registry) Node(id string) (Node, bool) {
	c, ok := r.cache.get(r.prefix + id)
	if !ok {
		return Node{}, false
	}
	return c.node, true
}

// Nodes returns all nodes in the order of their keys. It takes no lock, so it isn't a snapshot: a change during the call
// may or may not be in it. The nodes are shared as Node says.
func (r *Registry) Nodes() []Node {
	all := r.cache.all()
	slices.SortFunc(all, func(a, b *cached) int { return strings.Compare(a.entry.Key, b.entry.Key) })
	nodes := make([]Node, len(all))
	for i, c := range all {
		nodes[i] = c.node
	}
	return nodes
}

// Revision is one message of a node's history.
type Revision struct {
	kv.Entry

	// Node is the record; Err says why it can't be read. Both are empty for a removal.
	Node Node
	Err  error
}

// History returns what the bucket still holds of the node, oldest first, removals included: at most as many revisions
// as the bucket keeps. It asks the stream's leader once for each. It is empty if the bucket knows nothing of the node.
func (r *Registry) History(ctx context.Context, id string) ([]Revision, error) {
	key, err := Key(r.prefix, id)
	if err != nil {
		return nil, err
	}
	entries, err := r.client.History(ctx, r.cache.settings(), key)
	if err != nil {
		return nil, fmt.Errorf("reading the history of %q: %w", id, err)
	}
	history := make([]Revision, len(entries))
	for i, e := range entries {
		history[i].Entry = e
		if e.Operation == kv.Put {
			history[i].Node, _, history[i].Err = Decode(e.Value)
		}
	}
	return history, nil
}
