package faults

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func faultsOfACluster() []fault {
	return []fault{
		{name: "R3: the stream's leader killed", run: func(r *rig) {
			c := newCluster(r)
			c.repeat(times(1, 5), c.leader)
		}},
		{name: "R3: the manager's server killed", long: true, run: func(r *rig) {
			c := newCluster(r)
			c.repeat(5, c.manager)
		}},
		{name: "R3: the leader steps down", long: true, run: stepDown},
		{name: "R3: quorum lost and regained", long: true, run: loseQuorum},
	}
}

// cluster is three servers.
type cluster struct {
	*rig
	servers []*natsServer
}

// newCluster sets up a rig on three servers, with a bucket on all of them.
func newCluster(r *rig) *cluster {
	r.Helper()
	c := &cluster{rig: r}
	ports := freePorts(r.T, 3)
	var routes, urls []string
	for _, p := range ports {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", p))
	}
	dir := r.TempDir()
	for i, p := range ports {
		s := newNATS(r.T, dir, fmt.Sprintf("n%d", i), "", fmt.Sprintf("cluster { name: c, listen: \"127.0.0.1:%d\", routes: [%s] }", p, strings.Join(routes, ", ")))
		s.start()
		c.servers, urls = append(c.servers, s), append(urls, s.url())
	}
	s := usual()
	s.ttl = clusterTTL
	s.url = strings.Join(urls, ",")
	s.bucket = func(config *jetstream.KeyValueConfig) { config.Replicas = 3 }
	r.set(s)
	return c
}

// info returns what the cluster says of the stream, nil if it says nothing.
func (c *cluster) info() *jetstream.StreamInfo {
	ctx, cancel := context.WithTimeout(c.Context(), time.Second)
	defer cancel()
	s, err := c.fleet.js.Stream(ctx, "KV_"+bucketName)
	if err != nil || s.CachedInfo().Cluster == nil {
		return nil
	}
	return s.CachedInfo()
}

// leader returns the server that leads the stream.
func (c *cluster) leader() int {
	name := ""
	poll(c, patience, "a leader", func() bool {
		if i := c.info(); i != nil {
			name = i.Cluster.Leader
		}
		return name != ""
	})
	return int(name[1] - '0')
}

// manager returns the server that the manager is connected to.
func (c *cluster) manager() int {
	found := -1
	poll(c, patience, "the manager's connection", func() bool {
		found = slices.IndexFunc(c.servers, func(s *natsServer) bool { return s.count().Connections > 0 })
		return found >= 0
	})
	return found
}

// whole waits until all servers have all messages.
func (c *cluster) whole() {
	poll(c, patience, "all replicas to be current", func() bool {
		i := c.info()
		return i != nil && len(i.Cluster.Replicas) == 2 && i.Cluster.Replicas[0].Current && i.Cluster.Replicas[1].Current
	})
}

// clusterTTL is the least TTL that the documentation recommends: a cluster may elect its leaders for 9 s.
const clusterTTL = 15 * time.Second

// failing opens a window in which a part of the cluster is gone. The manager may go on reading from another one.
func (c *cluster) failing() *window {
	return c.broken(window{holds: true, might: true, grace: c.ttl, settle: outageSettle + allowance()})
}

// repeat kills a server again and again, and starts it once the others do without it.
func (c *cluster) repeat(n int, victim func() int) {
	c.row.prompt = true
	stop := c.fleet.churn(2 * busy)
	for range n {
		c.row.tried++
		c.whole()
		s := c.servers[victim()]
		w := c.failing()
		s.kill()
		c.over(w)
		s.start()
	}
	c.whole()
	stop()
	c.judge()
}

func stepDown(r *rig) {
	c := newCluster(r)
	r.row.prompt = true
	stop := r.fleet.churn(busy)
	for range 20 {
		r.row.tried++
		// Nothing is lost, so every deadline stands.
		w := r.broken(window{settle: outageSettle})
		poll(r.T, patience, "the leader to step down", func() bool {
			_, err := r.fleet.nc.Request("$JS.API.STREAM.LEADER.STEPDOWN.KV_"+bucketName, nil, 2*time.Second)
			return err == nil
		})
		r.over(w)
	}
	c.whole()
	stop()
	r.judge()
}

func loseQuorum(r *rig) {
	c := newCluster(r)
	r.row.prompt = true
	stop := r.fleet.churn(busy)
	for range 3 {
		r.row.tried++
		c.whole()
		gone := []*natsServer{c.servers[r.fleet.random(3)]}
		for _, s := range c.servers {
			if s != gone[0] && len(gone) < 2 {
				gone = append(gone, s)
			}
		}
		w := c.failing()
		for _, s := range gone {
			s.kill()
		}
		pass(r.ttl + time.Second)
		for _, s := range gone {
			s.launch()
		}
		r.over(w)
	}
	c.whole()
	stop()
	r.judge()
}
