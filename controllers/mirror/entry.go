package mirror

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery/liveness"
)

// silence is how far a node's silence has come; see the table in the package documentation.
type silence uint8

const (
	// none: the node heartbeats, or no deadline has passed.
	none silence = iota
	// held: a deadline has passed, and the disruption guard keeps the node's traffic.
	held
	// stale: the silence has lasted for staleAfter.
	stale
	// expired: the silence has lasted for the TTL.
	expired
)

// shadow is what others at its addresses make of a silent node.
type shadow uint8

const (
	// alone: the node heartbeats, or nobody shares its addresses.
	alone shadow = iota
	// hushed: another node is reached at an address and port of it, and comes first.
	hushed
	// superseded: newer nodes answer wherever it is reached.
	superseded
)

// never is the time of what does not happen, pending that of an answer that is waited for: no gap was before it.
const (
	never   = time.Duration(1<<63 - 1)
	pending = time.Duration(-1)
)

// entry is what the table knows of one key. Times are on the registry's listening clock where they are durations.
//
// What a heartbeat looks at comes first, up to the beginning of the facts: memory is read in pieces, and of 100,000 entries that of the
// next heartbeat is never at hand.
type entry struct {
	key string
	// table is the one that the entry is in; nil once it was removed.
	table *table

	// timed is when the entry is looked at next. A heartbeat leaves it alone: a check that comes too early only sets the next one.
	timed

	// written is the server's timestamp of the last message, ttl the message's own TTL (zero: the bucket's, negative: none).
	written  time.Time
	ttl      time.Duration
	revision uint64

	heard liveness.Heard
	// interval is how often the node heartbeats; zero while nobody knows.
	interval time.Duration
	// answer is when the stream's leader had nothing newer, pending from a moment before the next deadline until then, and never
	// as long as it need not be asked.
	answer time.Duration
	// absent is when the key was found missing from the bucket; never while it is there or nothing is known.
	absent time.Duration
	// notBefore is the earliest deadline that the guard has left the node when it let go.
	notBefore time.Duration
	silence   silence
	shadow    shadow
	// back is true once a silent node has been heard, until its record is read and silence ends.
	back bool
	// accepted is true once a person has accepted the node's silence.
	accepted bool
	// remembered is true until the first message was read: the facts are what the DiscoveredNode says.
	remembered bool
	// behind is true while node lacks the last heartbeat: a new Node each time would fill the memory, as whoever shows the node
	// holds the one before.
	behind bool
	// node is what was published last.
	node *Node
	load string

	turns turns
	// counted is what the entry contributes to the counts.
	counted contribution
	facts   record.Facts

	name string
	// after is the node ID that the name is made of; empty: it is made of the key.
	after string
	// forgotten is true for an entry that may have had a good record before the Mirror began; see memory.
	forgotten bool
	// foreign is true for a key without the prefix of the policy, which had it under another one.
	foreign   bool
	firstSeen time.Time
	// since is when the node became stale or expired.
	since time.Duration

	cordoned bool
	// duplicate is true while another entry has the same node ID and the better claim to its name; at is the entry's place
	// among them.
	duplicate bool
	at        int
	// junior is true for a duplicate of before a restart: creation times are whole seconds, so they alone would not tell
	// which of two is older.
	junior bool
	// marked is true while the entry waits for settle.
	marked bool
	// placed is the moment at which the node registered at its addresses.
	placed moment
	// indexed is what the table has indexed the entry by.
	indexed index

	// labelled is where the entry is with others whose labels are the same, place its place among them; nil while it has no node.
	labelled *labelled
	place    int
}

// index is what a table indexes an entry by.
type index struct {
	// id is the node ID that the entry gives; empty: none.
	id string
	reach
}

// reach is where a node that may take traffic is reached; empty for one that may not.
type reach struct {
	addresses []netip.Addr
	ports     []record.Port
}

func reachOf(f *record.Facts) reach {
	if !f.Usable() {
		return reach{}
	}
	return reach{f.Allowed, f.Ports}
}

func (r reach) equal(o reach) bool {
	return slices.Equal(r.addresses, o.addresses) && slices.Equal(r.ports, o.ports)
}

// moment orders what happened to a registry: by listening time, and within a listing by revision.
type moment struct {
	elapsed  time.Duration
	revision uint64
}

func (m moment) after(o moment) bool {
	return m.elapsed > o.elapsed || m.elapsed == o.elapsed && m.revision > o.revision
}

func (e *entry) lastHeard() moment { return moment{e.heard.Elapsed, e.revision} }

// due returns true from a moment before a deadline.
func (e *entry) due() bool { return e.answer != never }

// counts returns true for a node that the disruption guard protects: one that has traffic to lose, and that nobody has
// replaced or given up.
func (e *entry) counts() bool {
	return e.facts.Usable() && !e.duplicate && e.shadow != superseded && !e.accepted
}

// answers returns true if the node takes traffic now and is not about to lose it.
func (e *entry) answers() bool {
	return e.facts.Usable() && e.facts.Accepted() && !e.duplicate && e.silence == none && !e.facts.Draining && !e.cordoned
}

// outranks returns true if the entry, and not o, has the name of the node ID that both give.
func (e *entry) outranks(o *entry) bool {
	switch {
	case e.foreign != o.foreign:
		return o.foreign
	case (e.silence == expired) != (o.silence == expired):
		return o.silence == expired
	case e.junior != o.junior:
		return o.junior
	case !e.firstSeen.Equal(o.firstSeen):
		return e.firstSeen.Before(o.firstSeen)
	}
	return e.key < o.key
}

// duplicateID is why an entry does not get the node ID that it gives.
func duplicateID(id string) record.Fault {
	return record.Fault{
		Reason:  rollcallv1alpha1.ReasonDuplicateNodeID,
		Message: record.Bounded(fmt.Sprintf("another entry of the bucket, which is older, has the node ID %.120q as well", id)),
	}
}

// phase returns the entry's phase with the reason and message of the condition Ready.
func (e *entry) phase() (phase rollcallv1alpha1.NodePhase, reason, message string) {
	switch {
	case e.silence == expired:
		return rollcallv1alpha1.NodeExpired, rollcallv1alpha1.ReasonExpired, "no heartbeat within the TTL"
	case e.facts.Verdict.Reason != "":
		return rollcallv1alpha1.NodeInvalid, e.facts.Verdict.Reason, e.facts.Verdict.Message
	case e.duplicate:
		why := duplicateID(e.facts.ID)
		return rollcallv1alpha1.NodeInvalid, why.Reason, why.Message
	case e.shadow == superseded:
		return rollcallv1alpha1.NodeStale, rollcallv1alpha1.ReasonSuperseded,
			"the node is silent, and a newer one answers at its addresses"
	case e.silence == stale:
		return rollcallv1alpha1.NodeStale, rollcallv1alpha1.ReasonStale, "no heartbeat within staleAfter"
	case e.facts.Draining:
		return rollcallv1alpha1.NodeDraining, rollcallv1alpha1.ReasonDraining, "the node asked for no new traffic"
	case e.cordoned:
		return rollcallv1alpha1.NodeReady, rollcallv1alpha1.ReasonCordoned, "a person set spec.cordoned"
	case e.silence == held:
		return rollcallv1alpha1.NodeStale, rollcallv1alpha1.ReasonHeld,
			"no heartbeat in time, but of so many nodes at once that the disruption guard keeps their traffic"
	default:
		return rollcallv1alpha1.NodeReady, rollcallv1alpha1.ReasonHeartbeating, "the node heartbeats"
	}
}

// snapshot returns the entry's Node in that registry; changed is the time of the change, if it turns out to be one.
func (e *entry) snapshot(registry types.NamespacedName, changed time.Time) *Node {
	phase, reason, message := e.phase()
	remarks := e.facts.Remarks
	if e.turns.shared() {
		remarks = append([]string{remarkShared}, remarks...)
	}
	return &Node{
		Namespace: registry.Namespace, Registry: registry.Name, Name: e.name,
		Key: strings.ToValidUTF8(e.key, "\uFFFD"), ID: e.facts.ID,
		DisplayName: e.facts.DisplayName, Addresses: e.facts.Shown(), Ports: e.facts.Ports,
		Zone: e.facts.Zone, Metadata: e.facts.ShownMetadata(), Labels: e.facts.Labels,
		Phase: phase, Reason: reason, Message: message, Cordoned: e.cordoned,
		Refusal: e.facts.Refusal, Remarks: remarks, Silent: e.shadow != alone || phase == rollcallv1alpha1.NodeStale, Shared: e.turns.shared(),
		Load: e.load, LastHeartbeat: e.written, Revision: e.revision, Changed: changed, FirstSeen: e.firstSeen,
		Remembered: e.remembered, Forgotten: e.forgotten && !e.facts.Good,
	}
}

// shown returns true if everything that is known of the entry is published.
func (e *entry) shown() bool { return e.node != nil && !e.node.Flapping }

// refresh brings the node up to date with heartbeats that changed nothing else.
func (e *entry) refresh() {
	if !e.behind {
		return
	}
	node := *e.node
	node.Load, node.LastHeartbeat, node.Revision = e.load, e.written, e.revision
	e.node, e.behind = &node, false
}

// quiet returns true if a heartbeat that says the same changes nothing.
func (e *entry) quiet(now, window time.Duration) bool {
	return e.silence == none && e.shadow == alone && !e.remembered && !e.turns.over(now, window) &&
		e.facts.Refusal.Reason != rollcallv1alpha1.ReasonDuplicateNodeID // Whoever has the ID may be gone.
}
