package discovery_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// connect stands for a connection to one's own NATS: nats.Connect(url, discovery.ConnectOptions()...).
func connect() (nc *nats.Conn, end func()) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	server, err := natstest.Run(natstest.Options{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	nc, err = nats.Connect(server.URL(), discovery.ConnectOptions()...)
	if err != nil {
		log.Fatal(err)
	}
	return nc, func() {
		nc.Close()
		server.Stop()
		_ = os.RemoveAll(dir)
	}
}

func ExampleOpen() {
	nc, end := connect()
	defer end()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	registry, err := discovery.Open(ctx, nc, discovery.Options{})
	if err != nil {
		log.Print(err)
		return
	}
	defer registry.Close()

	b := registry.Bucket()
	fmt.Println(b.Name, b.TTL, b.History)
	// Output: catga_nodes 5m0s 5
}

func ExampleRegistry_KeepAlive() {
	nc, end := connect()
	defer end()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	registry, err := discovery.Open(ctx, nc, discovery.Options{})
	if err != nil {
		log.Print(err)
		return
	}
	defer registry.Close()
	events := registry.Watch(context.Background())

	node := discovery.Node{ID: "web-1", Endpoint: "http://10.0.0.5:8080"}
	left := make(chan error)
	go func() {
		left <- registry.KeepAlive(ctx, node, discovery.KeepAliveOptions{
			Interval: 10 * time.Second,
			Refresh:  func(n *discovery.Node) { n.Load = new(0.42) },
		})
	}()

	joined := <-events
	fmt.Println(joined.Type, joined.ID, *joined.Node.Load)
	stop() // The program is told to end.
	fmt.Println("unregistered:", <-left == nil)
	gone := <-events
	fmt.Println(gone.Type, gone.ID, gone.Reason)
	// Output:
	// Joined web-1 0.42
	// unregistered: true
	// Left web-1 Unregistered
}

func ExampleRegistry_Watch() {
	nc, end := connect()
	defer end()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	registry, err := discovery.Open(ctx, nc, discovery.Options{})
	if err != nil {
		log.Print(err)
		return
	}
	defer registry.Close()

	events := registry.Watch(ctx)
	next := func(err error) {
		if err != nil {
			log.Print(err)
		}
		e := <-events
		fmt.Println(e.Type, e.ID)
	}
	next(registry.Register(ctx, discovery.Node{ID: "web-1", Endpoint: "http://10.0.0.5:8080"}))
	next(registry.Heartbeat(ctx, "web-1", 0.5))
	next(registry.Unregister(ctx, "web-1"))
	// Output:
	// Joined web-1
	// Updated web-1
	// Left web-1
}

func ExampleRegistry_History() {
	nc, end := connect()
	defer end()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	registry, err := discovery.Open(ctx, nc, discovery.Options{})
	if err != nil {
		log.Print(err)
		return
	}
	defer registry.Close()

	for _, endpoint := range []string{"http://10.0.0.5:8080", "http://10.0.0.6:8080"} {
		if err := registry.Register(ctx, discovery.Node{ID: "web-1", Endpoint: endpoint}); err != nil {
			log.Print(err)
			return
		}
	}
	history, err := registry.History(ctx, "web-1")
	if err != nil {
		log.Print(err)
		return
	}
	for _, revision := range history {
		fmt.Println(revision.Revision, revision.Operation, revision.Node.Endpoint)
	}
	// Output:
	// 1 Put http://10.0.0.5:8080
	// 2 Put http://10.0.0.6:8080
}

func ExampleDecode() {
	node, _, err := discovery.Decode([]byte(`{"NodeId":"n1","Endpoint":"http://10.1.2.3:5001","Load":0.5,"LastSeen":"2025-10-11T08:00:00.1234567Z","Metadata":{"v":"1"}}`))
	if err != nil {
		log.Print(err)
		return
	}
	addresses, ports, err := node.Reach()
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println(node.ID, node.LastSeen, addresses, ports)
	// Output: n1 2025-10-11 08:00:00.1234567 +0000 UTC [10.1.2.3] [{http 5001 TCP}]
}
