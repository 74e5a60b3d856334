package kv

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// quorumSilence is after how long without a word a replica no longer counts. Each answers the leader every second, and the
// leader itself steps down only after ten without most of them.
const quorumSilence = 3 * time.Second

// takesWrites returns an error if the cluster's answer shows that nobody can write to the bucket. No node can heartbeat
// then, so its silence means nothing, whatever can still be read.
func takesWrites(c *jetstream.ClusterInfo) error {
	switch {
	case c == nil: // a single server
		return nil
	case c.Leader == "":
		// A server that knows of no leader answers in its place, with what it has itself.
		return fmt.Errorf("%w: the bucket has no leader", ErrUnavailable)
	}
	heard := 1
	for _, replica := range c.Replicas {
		// Zero is also what a leader says of one that it has never heard from; that one isn't current.
		if replica.Active <= quorumSilence && (replica.Active > 0 || replica.Current) {
			heard++
		}
	}
	if all := 1 + len(c.Replicas); heard <= all/2 {
		return fmt.Errorf("%w: the bucket's leader hears from %d of %d replicas", ErrUnavailable, heard, all)
	}
	return nil
}
