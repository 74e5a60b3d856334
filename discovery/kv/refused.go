package kv

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rollcall-dev/rollcall/discovery/internal/backoff"
)

// longestRefusal is the longest wait after an attempt to read a bucket that the login may not read: the server logs each.
const longestRefusal = time.Minute

// refusals spaces out the attempts to read a bucket that the server refuses for want of a permission.
type refusals struct {
	backoff backoff.Backoff
	last    error // the violation that was counted last
}

// rest returns how long to wait after the failure err; 0: it was none of permission. Each violation counts once, so what
// follows after the permission was given does not wait for it.
func (f *refusals) rest(nc *nats.Conn, stream string, err error) time.Duration {
	if !errors.Is(err, ErrNoAnswer) && !errors.Is(err, ErrStalled) && !errors.Is(err, ErrNoHeartbeat) {
		return 0
	}
	said := nc.LastError()
	if said == f.last || !keepsFromReading(said, stream) { //nolint:errorlint // The same value is the same violation.
		return 0
	}
	f.last = said
	f.backoff.Longest = longestRefusal
	return f.backoff.Next()
}

// keepsFromReading reports whether the error is the server's, and says that the login lacks what reading a bucket takes.
func keepsFromReading(err error, stream string) bool {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return false
	}
	said, stream := strings.ToLower(err.Error()), strings.ToLower(stream)
	return slices.ContainsFunc([]string{
		"violation for subscription to", ".stream.info." + stream, ".consumer.create." + stream + ".", "$js.fc." + stream + ".",
	}, func(part string) bool { return strings.Contains(said, part) })
}
