package noderegistry

import (
	"errors"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/discovery/kv"

	"github.com/rollcall-dev/rollcall/controllers/natsconn"
)

// Whatever keeps a registry from its bucket is an answer or silence. An answer that refuses (a login, a permission, a limit,
// a bucket that does not exist) does not change before somebody acts, so it is told at once. Silence (a server that is down
// or restarting, a leader that is being elected) is told after patience, since it mostly is over before anybody could act.

// refuses reports whether the error is an answer that refuses.
func refuses(err error) bool {
	if err == nil {
		return false
	}
	if natsconn.NeedsUserAction(err) || errors.Is(err, kv.ErrBucketNotFound) || errors.Is(err, kv.ErrInvalidBucket) {
		return true
	}
	answer := (*jetstream.APIError)(nil)
	return errors.As(err, &answer) && !slices.Contains(passing, answer.ErrorCode)
}

// passing are the answers of a cluster that is about to find a leader.
var passing = []jetstream.ErrorCode{
	10008, // JetStream system temporarily unavailable
	10009, // JetStream cluster can not handle request
	10163, // expected last sequence per subject temporarily unavailable
}
