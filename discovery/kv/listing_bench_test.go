package kv

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// counter is a Sink that counts.
type counter struct {
	*recorder

	entries int
	synced  chan struct{}
}

func (c *counter) Entry(Entry)   { c.entries++ }
func (c *counter) Synced(Bucket) { close(c.synced) }

// The stream that checks what a server sends has to be as good as free: the two listings take turns, and the metric is the
// rate with it by the rate without.
func BenchmarkListingThroughTheStream(b *testing.B) {
	const keys = 100_000
	s := natstest.Start(b)
	nc := s.Connect(b)
	natstest.NewBucket(b, nc, jetstream.KeyValueConfig{Storage: jetstream.MemoryStorage})
	fill(b, nc, keys)
	plain := []nats.Option{nats.ReconnectBufSize(-1)}
	var with, without time.Duration
	for i := 0; b.Loop(); i++ {
		first, second := ConnectOptions(), plain
		if i%2 == 1 {
			first, second = second, first
		}
		one, two := list(b, s.URL(), keys, first), list(b, s.URL(), keys, second)
		if i%2 == 1 {
			one, two = two, one
		}
		with, without = with+one, without+two
	}
	b.ReportMetric(float64(without)/float64(with), "x")
	b.ReportMetric(float64(with)/float64(b.N)/1e6, "ms-with")
	b.ReportMetric(float64(without)/float64(b.N)/1e6, "ms-without")
}

func list(b *testing.B, url string, keys int, options []nats.Option) time.Duration {
	b.Helper()
	nc, err := nats.Connect(url, options...)
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	c := &counter{recorder: newRecorder(), synced: make(chan struct{})}
	began := time.Now()
	stop := start(b, nc, WatcherOptions{Bucket: "b"}, c)
	<-c.synced
	took := time.Since(began)
	stop()
	if c.entries != keys {
		b.Fatalf("%d keys", c.entries)
	}
	return took
}
