package kv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// The reasons why a bucket can't be read, besides [ErrNoAnswer], [ErrUnavailable] and [ErrBucketNotFound].
var (
	// ErrConnectionLost: the connection to NATS is down; it comes back by itself.
	ErrConnectionLost = errors.New("connection to nats lost")
	// ErrNoHeartbeat: the connection stands, but the server's consumer has fallen silent.
	ErrNoHeartbeat = errors.New("no heartbeat from the bucket's consumer")
	// ErrStalled: a listing makes no progress. The client may lack the permission to publish to $JS.FC.<stream>.>, without
	// which the server stops after the first part of a large bucket.
	ErrStalled = errors.New("the listing makes no progress, check the permission to publish to $JS.FC")

	errGap       = errors.New("a message of the bucket's consumer got lost")
	errRecreated = errors.New("the bucket was recreated")
	errPurged    = errors.New("the bucket was purged")
)

// The defaults of WatcherOptions.
const (
	// DefaultIdleHeartbeat is the interval of a consumer's heartbeats.
	DefaultIdleHeartbeat = 500 * time.Millisecond
	// DefaultSilenceLimit is for how long nothing arrives at most from a consumer that is alive. A longer pause is a gap.
	DefaultSilenceLimit = DefaultIdleHeartbeat * silentHeartbeats / 10
	// DefaultInfoInterval is the interval at which a bucket's settings and state are read.
	DefaultInfoInterval = 3 * time.Second
	// DefaultRelistInterval is the interval at which a bucket is listed in full without need.
	DefaultRelistInterval = 2 * time.Minute
)

// WatcherOptions are the settings of a Watcher. Only Bucket is required.
type WatcherOptions struct {
	// Bucket is the bucket's name.
	Bucket string
	// KeyPrefix is what the keys to watch start with; empty: all keys.
	KeyPrefix string
	// Domain is the JetStream domain; empty for the connection's own.
	Domain string
	// APIPrefix is what the subjects of the JetStream API begin with in place of $JS.API, for a bucket of another account; empty:
	// what the domain has. Entries are written to <prefix>.$KV.<bucket>.
	APIPrefix string
	// Known are keys that the caller knows from before: they are reported by Sink.Absent if the bucket lacks them.
	Known []string
	// IdleHeartbeat is how often the server's consumer shows that it is alive; a watcher that heard nothing for 1.7 times
	// as long lists again. At least 100 ms.
	IdleHeartbeat time.Duration
	// InfoInterval is how often the bucket's settings and the server's clock are read. At least 100 ms.
	InfoInterval time.Duration
	// RelistInterval is how often the bucket is listed in full although nothing happened, up to a half less at random.
	RelistInterval time.Duration
	// APITimeout is how long an answer of JetStream is waited for; 2 s if not set. Meanwhile the question is put again.
	APITimeout time.Duration
	// Writer writes to the same bucket; nil: none. That the server refuses its writes for want of room counts until one of
	// them is stored.
	Writer *Writer
	// Logger receives what a person may want to know; nil: nothing is logged.
	Logger *slog.Logger
}

// least is the least interval that makes sense and that servers accept.
const least = 100 * time.Millisecond

func (o WatcherOptions) withDefaults() (WatcherOptions, error) {
	if !validBucket(o.Bucket) {
		return o, fmt.Errorf("%w: name %q: use letters, digits, - and _", ErrInvalidBucket, o.Bucket)
	}
	if !ValidKeyPrefix(o.KeyPrefix) {
		return o, fmt.Errorf("%w: key prefix %q: use letters, digits and -/_=. without a leading or double dot", ErrInvalidKey, o.KeyPrefix)
	}
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&o.IdleHeartbeat, DefaultIdleHeartbeat},
		{&o.InfoInterval, DefaultInfoInterval},
		{&o.RelistInterval, DefaultRelistInterval},
		{&o.APITimeout, defaultAPITimeout},
	} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
		if *d.value < least {
			return o, fmt.Errorf("interval %v is too short, use at least %v", *d.value, least)
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Watcher shows a Sink what happens in a bucket, without gaps: whatever it missed while it was cut off, it finds by
// listing the bucket again, and it says so. See the package documentation for how.
type Watcher struct {
	o    WatcherOptions
	sink Sink

	mu  sync.Mutex
	nc  *nats.Conn
	run *run // nil before Run
}

// NewWatcher makes a watcher; [Watcher.Run] starts it. Several watchers may share the connection. The errors are those of
// invalid options.
func NewWatcher(nc *nats.Conn, o WatcherOptions, sink Sink) (*Watcher, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Watcher{nc: nc, o: o, sink: sink}, nil
}

// Run watches until ctx ends, and returns its error. It never gives up: whatever fails is tried again, at first after at
// most 250 ms and then less often, down to every 2 s, and at once when the connection is back; servers that give no answer,
// as those of a cluster without a leader, are asked again every 0.2 to 0.4 s. The one other end is that of the connection,
// which is [nats.ErrConnectionClosed]: a closed connection never comes back.
//
// When Run returns, no goroutine and no subscription of it is left, and no consumer either if the connection stood; one
// that couldn't be deleted is removed by the server within seconds. That takes at most WatcherOptions.APITimeout. A
// Watcher runs once.
func (w *Watcher) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	w.mu.Lock()
	r := newRun(ctx, w, w.nc)
	w.run = r
	w.mu.Unlock()
	err := r.loop()
	cancel()
	r.end()
	return err
}

// Rebind changes to another connection to the same account, as when credentials are renewed. The bucket goes on being followed
// on the old connection until it has been listed on the new one, so nothing is missed: there is no gap, and the Sink hears of a
// Listing for CausePlanned. If the old connection is lost first, the new one is used at once, and that is a gap.
//
// The channel that it returns is closed once the old connection is no longer used. Rebind must not be called by the Sink.
func (w *Watcher) Rebind(nc *nats.Conn) <-chan struct{} {
	left := make(chan struct{})
	w.mu.Lock()
	w.nc = nc
	r := w.run
	w.mu.Unlock()
	if r == nil || !r.post(func() { r.rebind(nc, left) }) {
		close(left)
	}
	return left
}

// matches reports whether the watcher watches the key; a prefix that ends within a token can't be told the server.
func (o *WatcherOptions) matches(key string) bool { return strings.HasPrefix(key, o.KeyPrefix) }
