package record

import (
	"slices"
	"strings"

	"github.com/rollcall-dev/rollcall/discovery"
)

// Content is what a Reader makes of a value.
type Content struct {
	// Node is what the value says, as far as it could be read.
	Node discovery.Node
	// Remarks are what is odd about members that only inform.
	Remarks []discovery.Remark
	// Failing are the fields of the NodeRegistry, such as spec.record.zone, whose expressions can't be evaluated over the value.
	// Nothing was read of the parts that they give.
	Failing []string
	// LeftOut are the members of Rollcall's record, such as Zone, that only inform and of which something could not be read.
	LeftOut []string
	// Err is why the record is refused, a *discovery.RecordError; nil if it is accepted.
	Err error
	// Unread is true if nothing could be read at all. It is false for a refused record of which Node holds the rest.
	Unread bool
}

// Reader reads the entries of a bucket. It is safe for concurrent use.
type Reader interface {
	// Read reads the value of a key.
	Read(key string, value []byte) Content
	// KeyHoldsID returns true if a key is the prefix and the node ID. Else the value names the node.
	KeyHoldsID() bool
}

// decode reads Rollcall's own record.
func decode(value []byte) (c Content) {
	c.Node, c.Remarks, c.Err = discovery.Decode(value)
	c.Unread, c.LeftOut = unread(c.Err), leftOut(c.Remarks)
	return c
}

// leftOut returns the members of which something was left out.
func leftOut(remarks []discovery.Remark) (members []string) {
	for _, r := range remarks {
		member, _, _ := strings.Cut(r.Member, ".")
		if r.LeftOut && !slices.Contains(members, member) {
			members = append(members, member)
		}
	}
	return members
}
