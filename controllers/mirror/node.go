package mirror

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/record"
)

// Node is what is known of one key at one moment. A Node is never changed once it has been handed out: a change makes a
// new one, so readers need no lock and may keep it. Its slices and maps are shared and must not be written to.
type Node struct {
	// Namespace and Registry name the NodeRegistry that the node belongs to.
	Namespace, Registry string
	// Name is the name of the node's DiscoveredNode; see record.Name.
	Name string
	// Key is the node's key, ID its node ID. Where the entry does not say which node it is, ID is the key as well.
	Key, ID string

	DisplayName string
	// Addresses are the node's IP addresses, in the record's order, without zone and unmapped; at least one unless the
	// node is Invalid.
	Addresses []netip.Addr
	Ports     []record.Port
	Zone      string
	Metadata  map[string]string
	// Labels are the labels of the DiscoveredNode, which the selectors of Services look at.
	Labels map[string]string

	// Phase is the node's phase, Reason and Message those of its condition Ready.
	Phase           rollcallv1alpha1.NodePhase
	Reason, Message string
	// Refusal is why the node's last record was refused; its zero value if it was accepted. A node that is not Invalid then
	// lives on its last good record.
	Refusal record.Fault
	// Remarks are what is odd about the record.
	Remarks []string
	// Silent is true for a node that shares an address and port with another one and has been silent for two thirds of what
	// takes its traffic, or that is Stale, held or not.
	Silent bool
	// Shared is true while two writers write the node's key in turn.
	Shared bool
	// Cordoned is true once a person has taken the node out of rotation.
	Cordoned bool
	// Flapping is true while the node has changed more often than its budget allows: it has no more than it had before, and no Service
	// gets an endpoint of it.
	Flapping bool
	// Most is the traffic that a node that is Flapping had.
	Most Traffic

	// Load is the load that the node says it has, as it is shown; empty if it says none.
	Load string
	// LastHeartbeat is the server's timestamp of the key's last message.
	LastHeartbeat time.Time
	// Revision is the revision of the key's last message.
	Revision uint64
	// Changed is the server's timestamp of the message, or the moment of the deadline, that last changed anything here
	// but Load, LastHeartbeat and Revision.
	Changed time.Time
	// Remembered is true while nothing has been heard of the node since Rollcall started: this is what its DiscoveredNode says, and
	// that may be older than what its endpoints say, which are written first.
	Remembered bool
	// Forgotten is true for a node without a good record of which there may have been one before Rollcall started: nothing that was
	// written down says so.
	Forgotten bool
	// FirstSeen is when the node joined.
	FirstSeen time.Time
}

// Traffic is how an endpoint of the node is shown.
type Traffic uint8

const (
	// TrafficNone means that the node has no endpoint: it is Expired or Invalid.
	TrafficNone Traffic = iota
	// TrafficNotReady means an endpoint that is not ready: the node is cordoned, or Stale and not held. Whether it is serving says
	// Node.Serving.
	TrafficNotReady
	// TrafficTerminating means an endpoint that is serving and terminating: the node is Draining.
	TrafficTerminating
	// TrafficReady means an endpoint that is ready and serving.
	TrafficReady
)

// Traffic returns how the node's endpoints are to be shown.
func (n *Node) Traffic() Traffic {
	if n.Flapping {
		return min(n.Most, n.earned())
	}
	return n.earned()
}

// Serving returns true if the node answers, whether or not it is given traffic: one that a person has cordoned does.
func (n *Node) Serving() bool {
	return n.Traffic() >= TrafficTerminating || n.Cordoned && n.Traffic() != TrafficNone && n.able() >= TrafficTerminating
}

// earned returns the traffic that the node has by its phase, if no person has taken it out of rotation.
func (n *Node) earned() Traffic {
	if n.Cordoned {
		return min(n.able(), TrafficNotReady)
	}
	return n.able()
}

// able returns the traffic that the node has by its phase.
func (n *Node) able() Traffic {
	switch {
	case n.Phase == rollcallv1alpha1.NodeExpired || n.Phase == rollcallv1alpha1.NodeInvalid:
		return TrafficNone
	case n.Phase == rollcallv1alpha1.NodeStale && n.Reason != rollcallv1alpha1.ReasonHeld:
		return TrafficNotReady
	case n.Phase == rollcallv1alpha1.NodeDraining:
		return TrafficTerminating
	default:
		return TrafficReady
	}
}

// Change is one difference that a projection may have to show: the node before and after. Old is nil for a node that
// joined, New for one that is gone. A change of Load, LastHeartbeat or Revision alone is none.
type Change struct {
	Old, New *Node
}

// same returns true if two states of a node look the same to whoever acts on them: no endpoint, no label and no status of a
// condition differs. What else does is shown when the node is written next.
func (n *Node) same(o *Node) bool {
	return n.standing() == o.standing() && maps.Equal(n.Labels, o.Labels) && n.reaches(o)
}

// reaches returns true if two states of a node have the same traffic at the same addresses and ports.
func (n *Node) reaches(o *Node) bool {
	return n.Traffic() == o.Traffic() && (n.Traffic() == TrafficNone || slices.Equal(n.Ports, o.Ports) &&
		slices.Equal(slices.Collect(record.Published(n.Addresses)), slices.Collect(record.Published(o.Addresses))))
}

// flapping says what takes the traffic of a node that is Flapping, and how it gets it back.
const flapping = "the node changes more often than once a second: what it loses counts at once, and what it gains once it has been steady for a few " +
	"seconds; look at what registers it, and at whether two machines write its key"

// within returns the node with no more than it had when it was old: what it has lost since is lost, what it has gained waits. Its labels are
// those that it has now, since they may be a loss to some Service.
func (n *Node) within(old *Node) *Node {
	next := *n
	next.Flapping, next.Reason, next.Message = true, rollcallv1alpha1.ReasonFlapping, flapping
	next.Most = min(old.Traffic(), n.Traffic())
	next.ID, next.Zone, next.Silent = old.ID, old.Zone, old.Silent || n.Silent
	if old.Refusal.Reason != "" {
		next.Refusal = old.Refusal
	}
	kept := slices.Collect(record.Published(old.Addresses))
	addresses := slices.DeleteFunc(slices.Collect(record.Published(n.Addresses)), func(a netip.Addr) bool { return !slices.Contains(kept, a) })
	if len(addresses) == 0 {
		next.Most = TrafficNone
	}
	if next.Most == TrafficNone {
		next.Labels = old.Labels // Nobody selects it.
	} else {
		next.Addresses = addresses
		next.Ports = slices.DeleteFunc(slices.Clone(n.Ports), func(p record.Port) bool { return !slices.Contains(old.Ports, p) })
	}
	if next.Most == old.Traffic() && old.Reason != rollcallv1alpha1.ReasonHeld { // It heartbeats again.
		next.Phase = old.Phase
	}
	return &next
}

// nodeStanding is what others act on, but for addresses, ports and labels.
type nodeStanding struct {
	key, id, zone, reason             string
	phase                             rollcallv1alpha1.NodePhase
	cordoned, silent, shared, refused bool
	flapping, remarked                bool
}

func (n *Node) standing() nodeStanding {
	return nodeStanding{
		n.Key, n.ID, n.Zone, n.Reason, n.Phase, n.Cordoned, n.Silent, n.Shared, n.Refusal.Reason != "", n.Flapping, len(n.Remarks) > 0,
	}
}

// Name returns the name of the DiscoveredNode that changed.
func (c Change) Name() types.NamespacedName {
	n := c.New
	if n == nil {
		n = c.Old
	}
	return types.NamespacedName{Namespace: n.Namespace, Name: n.Name}
}
