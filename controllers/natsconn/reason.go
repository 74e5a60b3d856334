package natsconn

import (
	"errors"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// Fault says what stands in the way of a connection.
func (s *State) Fault() (reason, message string) {
	var wrong *SecretError
	switch {
	case errors.As(s.Err, &wrong):
		return wrong.Reason, wrong.Message
	case refusal(s.Err) != nil:
		return rollcallv1alpha1.ReasonAuthenticationFailed, Because("the server refuses the login", refusal(s.Err))
	case Limit(s.Err):
		return rollcallv1alpha1.ReasonLimitReached, Because("the server refuses the connection", s.Err)
	case refusesTLS(s.Err):
		return rollcallv1alpha1.ReasonConnectionFailed, Because("the connection can't be secured by TLS", s.Err)
	case s.Ever && !s.Connected:
		return rollcallv1alpha1.ReasonConnectionLost, Because("the connection to NATS was lost and is being made again", s.Err)
	case s.Err != nil:
		return rollcallv1alpha1.ReasonConnectionFailed, Because("no NATS server answers", s.Err)
	default:
		return rollcallv1alpha1.ReasonConnecting, "connecting to NATS"
	}
}

// Because returns what happened, and what an error says of it; nil says nothing.
func Because(what string, err error) string {
	if err == nil {
		return what
	}
	return what + ": " + Plain(err)
}

// NeedsUserAction reports whether the error stays until somebody corrects something: a Secret, a login, a certificate, or a
// limit.
func NeedsUserAction(err error) bool {
	wrong := (*SecretError)(nil)
	return errors.As(err, &wrong) || refusal(err) != nil || refusesTLS(err) || Limit(err)
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

// Limit reports whether the error says that a limit is reached.
func Limit(err error) bool {
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
