package discovery

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Node is one entry of the registry: what a node says of itself. Its JSON form is the record, see [Encode].
type Node struct {
	// ID names the node; the node's key is the key prefix followed by it, see [Key]. Required.
	ID string
	// Name is the node's name for people.
	Name string
	// Endpoint is a URL or host:port at which the node is reached; see [Node.Reach].
	Endpoint string
	// Addresses are the IP addresses at which the node is reached, before Endpoint's.
	Addresses []string
	// Ports are the ports at which the node is reached, before Endpoint's.
	Ports []Port
	// Zone is where the node is, for routing to nodes that are near.
	Zone string
	// Metadata is free for the node's users.
	Metadata map[string]string
	// Load is how busy the node says it is, in a unit of the fleet's choice; nil if it doesn't say.
	Load *float64
	// LastSeen is the time of the node's last heartbeat on the node's own clock. It is shown to people and decides
	// nothing: deadlines follow the server's timestamp of the message.
	LastSeen time.Time
	// Draining says that the node finishes what it has begun and wants nothing new.
	Draining bool
	// Owner says who keeps the entry; nil if the node does so itself. Nobody else overwrites or deletes an owner's entry.
	Owner *Owner
}

// Port is one port of a node.
type Port struct {
	// Name is the port's name, empty if it has none.
	Name string
	// Port is the number, from 1 to 65535.
	Port int
	// Protocol is TCP, UDP, SCTP, or empty for TCP.
	Protocol string
}

// Owner says who keeps an entry in the registry on a node's behalf. One with an empty UID is an owner that could not be
// read: it is somebody else for whoever writes, and the same as no other, not even as itself.
type Owner struct {
	// Cluster names the cluster of the owner; empty for one outside of all clusters.
	Cluster string
	// UID names the owner within the cluster.
	UID string
	// Registration names what registered the owner in its cluster, such as the UID of a PodRegistration; empty if nothing
	// did. It doesn't count for who the owner is.
	Registration string
}

// String names the owner for people.
func (o *Owner) String() string {
	if o == nil {
		return "the node itself"
	}
	if o.UID == "" {
		return "an owner that can't be read"
	}
	if o.Cluster == "" {
		return strconv.Quote(o.UID)
	}
	return fmt.Sprintf("%q of cluster %q", o.UID, o.Cluster)
}

// sameOwner reports whether a and b are the same owner; an entry that its own node keeps has none. An owner that could not
// be read is the same as nobody.
func sameOwner(a, b *Owner) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.UID != "" && a.Cluster == b.Cluster && a.UID == b.UID
}

// checkOwner refuses to write for an owner that nobody could tell from another one.
func checkOwner(o *Owner) error {
	if o != nil && o.UID == "" {
		return recordError(ReasonWrongShape, "the owner has no UID, set Owner.UID")
	}
	return nil
}

// OwnerOf returns who keeps an entry with that value: nil if the node does so itself, and an Owner without a UID, which is
// somebody else for everybody, if that can't be read.
func OwnerOf(value []byte) *Owner {
	n, _, err := Decode(value)
	if re, ok := errors.AsType[*RecordError](err); ok && (re.Reason == ReasonNotJSON || re.Reason == ReasonNotObject) {
		return &Owner{}
	}
	if n.Owner != nil && n.Owner.UID == "" {
		return &Owner{}
	}
	return n.Owner
}
