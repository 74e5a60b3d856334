package registry

import (
	"errors"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// Whatever keeps a registry from its bucket is an answer or silence. An answer that refuses (a login, a permission, a limit,
// a bucket that does not exist) does not change before somebody acts, so it is told at once. Silence (a server that is down
// or restarting, a leader that is being elected) is told after patience, since it mostly is over before anybody could act.

// refuses reports whether the error is an answer that refuses.
func refuses(err error) bool {
	if err == nil {
		return false
	}
	if needsUserAction(err) || errors.Is(err, kv.ErrBucketNotFound) || errors.Is(err, kv.ErrInvalidBucket) {
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

// needsUserAction reports whether the error stays until somebody corrects something: a Secret, a login, a certificate, or a
// limit.
func needsUserAction(err error) bool {
	wrong := (*materialError)(nil)
	return errors.As(err, &wrong) || refusal(err) != nil || refusesTLS(err) || limit(err)
}

// limits are the answers that say that a limit of the account, the server or the stream is reached.
var limits = []jetstream.ErrorCode{
	10002, // resource limits exceeded for account
	10023, // insufficient resources
	10026, // maximum consumers limit reached
	10027, // maximum number of streams reached
	10028, // insufficient memory resources available
	10047, // insufficient storage resources available
	10120, // no JetStream default or applicable tiered limit present
	10122, // stream max bytes exceeds account limit max stream bytes
}

// connectionLimits are the words in which a server refuses a connection for a limit.
var connectionLimits = []string{
	nats.MAX_CONNECTIONS_ERR, nats.MAX_ACCOUNT_CONNECTIONS_ERR, nats.MAX_SUBSCRIPTIONS_ERR,
}

// limit reports whether the error says that a limit is reached.
func limit(err error) bool {
	if err == nil {
		return false
	}
	answer := (*jetstream.APIError)(nil)
	if errors.As(err, &answer) {
		return slices.Contains(limits, answer.ErrorCode)
	}
	text := strings.ToLower(err.Error())
	return slices.ContainsFunc(connectionLimits, func(words string) bool { return strings.Contains(text, words) })
}
