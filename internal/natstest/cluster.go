package natstest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Cluster is several servers that replicate among each other.
type Cluster struct {
	// Servers are the cluster's servers; each can be stopped and restarted on its own.
	Servers []*Server
}

// RunCluster starts n servers that keep their stores below dir and returns once they have elected a JetStream leader.
func RunCluster(dir string, n int) (*Cluster, error) {
	ports, err := FreePorts(n)
	if err != nil {
		return nil, err
	}
	routes := make([]string, n)
	for i, p := range ports {
		routes[i] = fmt.Sprintf("nats://127.0.0.1:%d", p)
	}
	c := &Cluster{}
	for i := range n {
		s, err := Run(Options{Dir: filepath.Join(dir, strconv.Itoa(i)), Configure: func(o *server.Options) {
			o.ServerName = fmt.Sprintf("n%d", i)
			o.Cluster = server.ClusterOpts{Name: "natstest", Host: "127.0.0.1", Port: ports[i]}
			o.Routes = server.RoutesFromStr(strings.Join(routes, ","))
		}})
		if err != nil {
			c.Stop()
			return nil, err
		}
		c.Servers = append(c.Servers, s)
	}
	if err := c.WaitReady(); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// StartCluster is [RunCluster] for a test: the stores live in t.TempDir, and the servers are stopped when it ends.
func StartCluster(t testing.TB, n int) *Cluster {
	t.Helper()
	c, err := RunCluster(t.TempDir(), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

// WaitReady returns once the running servers agree on a JetStream leader and have caught up with it.
func (c *Cluster) WaitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !c.ready() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("natstest: the cluster elected no JetStream leader")
		}
	}
	return nil
}

func (c *Cluster) ready() bool {
	leader, running := false, 0
	for _, s := range c.Servers {
		srv := s.NATS()
		if srv == nil {
			continue
		}
		running++
		leader = leader || srv.JetStreamIsLeader()
		if !srv.JetStreamIsCurrent() {
			return false
		}
	}
	for _, s := range c.Servers {
		if srv := s.NATS(); srv != nil && srv.NumRoutes() == 0 && running > 1 {
			return false
		}
	}
	return leader
}

// StreamLeader returns the index of the server that leads the stream of the default account, or -1 while none does.
func (c *Cluster) StreamLeader(stream string) int {
	for i, s := range c.Servers {
		if srv := s.NATS(); srv != nil && srv.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream) {
			return i
		}
	}
	return -1
}

// Stop stops all servers.
func (c *Cluster) Stop() {
	for _, s := range c.Servers {
		s.Stop()
	}
}

// URL lists all servers, for a client that may use any.
func (c *Cluster) URL() string {
	urls := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		urls[i] = s.URL()
	}
	return strings.Join(urls, ",")
}

// Connect connects a client to any of the servers and closes it when the test ends.
func (c *Cluster) Connect(t testing.TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	return connect(t, c.URL(), opts...)
}
