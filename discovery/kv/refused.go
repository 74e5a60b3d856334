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

// concerns reports whether the failure may be one of permission, which a server tells the connection only.
func (*refusals) concerns(err error) bool {
	return errors.Is(err, ErrNoAnswer) || errors.Is(err, ErrStalled) || errors.Is(err, ErrNoHeartbeat)
}

// rest returns how long to wait after a failure, with what the server said last; 0: that is no violation. Each counts once, so
// what follows after the permission was given does not wait for it.
func (f *refusals) rest(said error, stream string) time.Duration {
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
		"violation for subscription to", ".stream.info." + stream + `"`, ".consumer.create." + stream + ".", "$js.fc." + stream + ".",
	}, func(part string) bool { return strings.Contains(said, part) })
}
