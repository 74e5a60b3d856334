package discoverednode

import (
	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
)

// problem is why a person should look at a node. With the view Problems, the nodes with the lesser ones have a DiscoveredNode first.
type problem uint8

const (
	// cordoned: a person took the node out of rotation. The object is where that is written down.
	cordoned problem = iota
	// refused: the node lives on its last good record. The object is where that is written down.
	refused
	// held: the node is silent, and the disruption guard keeps its traffic.
	held
	// stale: the node is silent, or was superseded.
	stale
	// invalid: the node's record or its addresses can't be used.
	invalid
	// expired: the node is dead, and visible for a while.
	expired
	// shared: two writers write the node's key in turn.
	shared
	// flapping: the node changes more often than its budget allows.
	flapping
	// remarked: something is odd about the node's record.
	remarked
	// fine: nothing.
	fine
)

// problemOf returns the node's problem; the least if it has several.
func problemOf(n *mirror.Node) problem {
	switch {
	case n.Cordoned:
		return cordoned
	case n.Phase == rollcallv1alpha1.NodeInvalid:
		return invalid
	case n.Phase == rollcallv1alpha1.NodeExpired:
		return expired
	case n.Refusal.Reason != "":
		return refused
	case n.Phase == rollcallv1alpha1.NodeStale && n.Reason == rollcallv1alpha1.ReasonHeld:
		return held
	case n.Phase == rollcallv1alpha1.NodeStale:
		return stale
	case n.Shared:
		return shared
	case n.Flapping:
		return flapping
	case len(n.Remarks) > 0:
		return remarked
	default:
		return fine
	}
}
