package mirror

import (
	"fmt"
	"strings"
	"time"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// entry is the Mirror's own state of one key. It is guarded by the Mirror's lock.
type entry struct {
	key, name string
	facts     facts
	load      string
	// generation says with which reader the facts were read, see Mirror.generation; 0: they are what the DiscoveredNode says.
	generation int

	// written is the server's timestamp of the last message, ttl the message's own TTL (zero: the bucket's, negative: none).
	written  time.Time
	ttl      time.Duration
	revision uint64

	firstSeen time.Time
	// absent is when the key was found missing from the bucket; zero while it is there or nothing is known.
	absent time.Time
	// stale and expired are set when the deadline passes and cleared by the next message alone, so that neither a gap nor
	// a restart makes a silent node ready again.
	expired time.Time
	stale   bool
	// held says that the deadline has passed and the disruption guard holds the node, accepted that a person let it go.
	held, accepted bool
	// heard says that a message came in since the last listing that followed a gap: the node is back, and its deadline is
	// its own again.
	heard    bool
	cordoned bool
	// double says that an older entry has the same node ID, and with it the name that would be this one's.
	double bool
	// junior says that the node had a rival before a restart of Rollcall, and loses to it again: creation times are whole
	// seconds, so they alone would not tell which of two is older.
	junior bool
	// rival is the name of the older node that has one of this node's addresses and ports; empty if there is none.
	rival string

	// node is what has been handed out last.
	node *Node

	// check is when the entry is to be looked at next, on the server's clock, and index its place in the heap of checks.
	// A heartbeat leaves both alone: a check that comes too early only sets the next one.
	check time.Time
	index int
}

// older says whether the entry, and not o, keeps an address and port that both have.
func (e *entry) older(o *entry) bool {
	if e.junior != o.junior {
		return o.junior
	}
	if !e.firstSeen.Equal(o.firstSeen) {
		return e.firstSeen.Before(o.firstSeen)
	}
	return e.key < o.key
}

// phase returns the entry's phase with the reason and message of the condition Ready.
func (e *entry) phase() (phase rollcallv1alpha1.NodePhase, reason, message string) {
	switch {
	case !e.expired.IsZero():
		return rollcallv1alpha1.NodeExpired, rollcallv1alpha1.ReasonExpired, "no heartbeat within the TTL"
	case e.facts.verdict.reason != "":
		return rollcallv1alpha1.NodeInvalid, e.facts.verdict.reason, e.facts.verdict.message
	case e.double:
		return rollcallv1alpha1.NodeInvalid, rollcallv1alpha1.ReasonDuplicateNodeID,
			bounded(fmt.Sprintf("another entry of the bucket, which is older, has the node ID %.120q as well", e.facts.id))
	case e.rival != "":
		return rollcallv1alpha1.NodeInvalid, reasonAddressConflict,
			fmt.Sprintf("the older node %s has the same address and port", e.rival)
	case e.stale:
		return rollcallv1alpha1.NodeStale, rollcallv1alpha1.ReasonStale, e.remarked("no heartbeat within staleAfter")
	case e.facts.draining:
		return rollcallv1alpha1.NodeDraining, rollcallv1alpha1.ReasonDraining, e.remarked("the node asked for no new traffic")
	case e.cordoned:
		return rollcallv1alpha1.NodeReady, rollcallv1alpha1.ReasonCordoned, e.remarked("a person set spec.cordoned")
	default:
		return rollcallv1alpha1.NodeReady, rollcallv1alpha1.ReasonHeartbeating, e.remarked("the node heartbeats")
	}
}

// remarked returns a message with the remarks on the record after it.
func (e *entry) remarked(message string) string {
	if len(e.facts.remarks) == 0 {
		return message
	}
	return bounded(message + "; " + strings.Join(e.facts.remarks, "; "))
}

// identity returns the node ID that the entry gives itself; empty if it gives itself none.
func (e *entry) identity() string {
	if e.facts.anonymous {
		return ""
	}
	return e.facts.id
}

// refresh hands out a new Node for an entry that has heartbeated, and of which nothing else has changed.
func (e *entry) refresh() {
	node := *e.node
	node.Load, node.LastHeartbeat, node.Revision, node.Remembered = e.load, e.written, e.revision, false
	e.node = &node
}

// checks is a heap of entries, the one to be looked at first on top. It implements heap.Interface.
type checks []*entry

func (c checks) Len() int           { return len(c) }
func (c checks) Less(i, j int) bool { return c[i].check.Before(c[j].check) }

func (c checks) Swap(i, j int) {
	c[i], c[j] = c[j], c[i]
	c[i].index, c[j].index = i, j
}

func (c *checks) Push(x any) {
	e := x.(*entry) //nolint:errcheck // Only queue and recheck push.
	e.index = len(*c)
	*c = append(*c, e)
}

func (c *checks) Pop() any {
	last := len(*c) - 1
	e := (*c)[last]
	(*c)[last] = nil
	*c = (*c)[:last]
	e.index = unqueued
	return e
}

// unqueued is the index of an entry that is not in the heap.
const unqueued = -1
