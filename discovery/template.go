package discovery

import (
	"bytes"
	"errors"
	"time"
)

// Template is a record of which LastSeen alone changes from one heartbeat to the next, so that a heartbeat costs no
// encoding. It is safe for concurrent use, and its zero value is the record of nobody.
type Template struct{ head, tail []byte }

// lastSeenMember is what precedes the time in a record. Quotes within strings are escaped, so only a member is written
// like this, and of those with this name LastSeen is the last: what follows it has a fixed form.
var lastSeenMember = []byte(`"LastSeen":"`)

// NewTemplate returns the template of a node's record; LastSeen of the node does not count. The errors are those of
// [Encode].
func NewTemplate(n Node) (Template, error) {
	n.LastSeen = time.Time{}
	value, err := Encode(n)
	if err != nil {
		return Template{}, err
	}
	at := bytes.LastIndex(value, lastSeenMember)
	if at < 0 {
		return Template{}, errors.New("a record without LastSeen")
	}
	at += len(lastSeenMember)
	length := bytes.IndexByte(value[at:], '"')
	return Template{head: bytes.Clone(value[:at]), tail: bytes.Clone(value[at+length:])}, nil
}

// At returns the record with that LastSeen, whose year must be one of 1 to 9999.
func (t Template) At(lastSeen time.Time) []byte {
	value := make([]byte, 0, len(t.head)+len(timestampFormat)+len(t.tail))
	value = append(value, t.head...)
	value = lastSeen.UTC().AppendFormat(value, timestampFormat)
	return append(value, t.tail...)
}

// Made reports whether the value is the record with any LastSeen.
func (t Template) Made(value []byte) bool {
	middle := len(value) - len(t.head) - len(t.tail)
	return len(t.head) > 0 && middle > 0 && middle <= len(timestampFormat) && bytes.HasPrefix(value, t.head) && bytes.HasSuffix(value, t.tail) &&
		bytes.IndexByte(value[len(t.head):len(value)-len(t.tail)], '"') < 0
}

// Equal reports whether both make the same records.
func (t Template) Equal(o Template) bool {
	return bytes.Equal(t.head, o.head) && bytes.Equal(t.tail, o.tail)
}
