package record

import "github.com/rollcall-dev/rollcall/discovery"

// Content is what a Reader makes of a value.
type Content struct {
	// Node is what the value says, as far as it could be read.
	Node discovery.Node
	// Remarks are what is odd about members that only inform.
	Remarks []discovery.Remark
	// Failing are the fields of the NodeRegistry, such as spec.record.zone, whose expressions can't be evaluated over the value.
	// Nothing was read of the parts that they give.
	Failing []string
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

// codec reads Rollcall's own records.
type codec struct{}

// KeyHoldsID implements Reader.
func (codec) KeyHoldsID() bool { return true }

// Read implements Reader.
func (codec) Read(_ string, value []byte) (c Content) {
	c.Node, c.Remarks, c.Err = discovery.Decode(value)
	c.Unread = unread(c.Err)
	return c
}
