package kv_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rollcall-dev/rollcall/discovery/kv"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// connect stands for a connection to one's own NATS: nats.Connect(url, kv.ConnectOptions()...).
func connect() (nc *nats.Conn, end func()) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	server, err := natstest.Run(natstest.Options{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	nc, err = nats.Connect(server.URL(), kv.ConnectOptions()...)
	if err != nil {
		log.Fatal(err)
	}
	return nc, func() {
		nc.Close()
		server.Stop()
		_ = os.RemoveAll(dir)
	}
}

// printer is an Observer that prints what it is told.
type printer struct{ synced chan struct{} }

func (p printer) Listing(c kv.Cause)     { fmt.Println("listing:", c) }
func (p printer) Entry(e kv.Entry)       { fmt.Println("entry:", e.Key, e.Operation) }
func (p printer) Synced(kv.Bucket)       { fmt.Println("synced"); close(p.synced) }
func (p printer) Absent(keys []string)   { fmt.Println("absent:", keys) }
func (p printer) Bucket(kv.Bucket)       {}
func (p printer) Disconnected(err error) { fmt.Println("disconnected:", err) }

func ExampleWatcher() {
	nc, end := connect()
	defer end()
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	config := kv.BucketConfig{Name: "fleet", TTL: time.Minute, Create: true}
	if _, _, err := kv.EnsureBucket(ctx, nc, config); err != nil {
		log.Print(err)
		return
	}
	if _, err := nc.RequestWithContext(ctx, "$KV.fleet.node.a", []byte(`{"NodeId":"a"}`)); err != nil {
		log.Print(err)
		return
	}

	p := printer{synced: make(chan struct{})}
	watcher, err := kv.NewWatcher(nc, kv.WatcherOptions{Bucket: "fleet", KeyPrefix: "node."}, kv.Observe(p))
	if err != nil {
		log.Print(err)
		return
	}
	ended := make(chan error)
	go func() { ended <- watcher.Run(ctx) }()
	<-p.synced
	stop()
	<-ended
	// Output:
	// listing: Start
	// entry: node.a Put
	// synced
}
