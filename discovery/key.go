package discovery

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// MaxKeyLength is the greatest length of a key, prefix included, in bytes. NATS closes a connection for good whose subject
// is longer than its control line of 4096 bytes, so the bound stays well below.
const MaxKeyLength = 1024

// ErrInvalidID is the error for an ID, or a key prefix, that can't be part of a key.
var ErrInvalidID = errors.New("invalid node ID")

// Key returns the key of the node with that ID: prefix and ID in one. IDs consist of letters, digits and -/_=. without a
// dot at either end or two in a row, as NATS wants keys. The error matches [ErrInvalidID].
func Key(prefix, id string) (string, error) {
	key := prefix + id
	switch {
	case id == "":
		return "", fmt.Errorf("%w: it is empty, name the node", ErrInvalidID)
	case len(key) > MaxKeyLength:
		return "", fmt.Errorf("%w: the key would be %d bytes long, use at most %d", ErrInvalidID, len(key), MaxKeyLength)
	case strings.HasPrefix(id, ".") || !kv.ValidKey(key):
		return "", fmt.Errorf("%w: %q: use letters, digits and -/_=. without a leading, trailing or double dot", ErrInvalidID, key)
	}
	return key, nil
}
