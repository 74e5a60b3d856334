package natsconn

import (
	"errors"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery/dial"
)

// Trouble is what stands in the way of a connection; its zero value: nothing.
type Trouble struct {
	Reason, Message string
	// Answer is true if something was answered that refuses, so that it does not pass before somebody acts.
	Answer bool
}

// Classify returns the reason and message of an error. lost says that there was a connection before, login that one is given.
func Classify(err error, lost, login bool) Trouble {
	t := Trouble{Answer: NeedsUserAction(err)}
	wrong, ofSpec := errors.AsType[*SpecError](err)
	switch class := classOf(err); {
	case ofSpec:
		t.Reason, t.Message = wrong.Reason, wrong.Message
	case refusal(err) != nil && !login:
		t.Reason, t.Message = rollcallv1alpha1.ReasonAuthenticationRequired, Because(
			"the server demands a login, and spec.connection gives none: name a Secret in spec.connection.auth", refusal(err))
	case refusal(err) != nil:
		t.Reason, t.Message = rollcallv1alpha1.ReasonAuthenticationFailed, Because("the server refuses the login", refusal(err))
	case Limit(err):
		t.Reason, t.Message = rollcallv1alpha1.ReasonLimitReached, Because("the server refuses the connection", err)
	case lost && class == dial.Unreachable, lost && class == "":
		t.Reason, t.Message = rollcallv1alpha1.ReasonConnectionLost, Because("the connection to NATS was lost and is being made again", err)
	case class != "":
		t.Reason, t.Message = classes[class].reason, Because(classes[class].says, err)
	case err != nil:
		t.Reason, t.Message = rollcallv1alpha1.ReasonConnectionFailed, Because("no connection to NATS can be made", err)
	default:
		t.Reason, t.Message = rollcallv1alpha1.ReasonConnecting, "connecting to NATS"
	}
	return t
}

// classes are the reasons and messages of why servers can't be reached.
var classes = map[dial.Class]struct{ reason, says string }{
	dial.TLS:         {rollcallv1alpha1.ReasonTLSFailed, "the connection can't be secured by TLS"},
	dial.Handshake:   {rollcallv1alpha1.ReasonWebSocketFailed, "the server opens no WebSocket"},
	dial.Refused:     {rollcallv1alpha1.ReasonConnectionFailed, "no connection to NATS can be made"},
	dial.Protocol:    {rollcallv1alpha1.ReasonProtocolError, "what answers does not behave like a NATS server"},
	dial.Unreachable: {rollcallv1alpha1.ReasonServerUnreachable, "no NATS server answers"},
	dial.NotFound:    {rollcallv1alpha1.ReasonServerNotFound, "the host does not exist: correct spec.connection.servers"},
	dial.NotAllowed:  {rollcallv1alpha1.ReasonServerNotAllowed, "the manager may not connect to it: whoever runs the manager can allow it with --allowed-server"},
}

// farthest has the classes in the order of how far a server let the connection come: of several servers, that of the
// farthest is the reason.
var farthest = []dial.Class{dial.Refused, dial.TLS, dial.Handshake, dial.Protocol, dial.Unreachable, dial.NotFound, dial.NotAllowed}

// classOf returns the class of an error of the dialer, or of several joined; empty: it is another's.
func classOf(err error) dial.Class {
	classes := map[dial.Class]bool{}
	collect(err, classes)
	for _, class := range farthest {
		if classes[class] {
			return class
		}
	}
	return ""
}

func collect(err error, into map[dial.Class]bool) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			collect(one, into)
		}
		return
	}
	if one, ok := errors.AsType[*dial.Error](err); ok {
		into[one.Class] = true
	} else if refusesTLS(err) {
		into[dial.TLS] = true
	}
}

// Because returns what happened, and what an error says of it; nil says nothing.
func Because(what string, err error) string {
	if err == nil {
		return what
	}
	return what + ": " + Plain(err)
}

// NeedsUserAction reports whether the error stays until somebody corrects something: a Secret, a login, a certificate, the
// servers, or a limit.
func NeedsUserAction(err error) bool {
	if _, wrong := errors.AsType[*SpecError](err); wrong || refusal(err) != nil || Limit(err) {
		return true
	}
	switch classOf(err) {
	case dial.TLS, dial.Handshake, dial.Protocol, dial.NotAllowed:
		return true
	}
	return false
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

var refusals = []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired, nats.ErrNkeysNotSupported}

// refusal returns why the server refuses the login; nil: the error means something else. The same refusal reaches the
// client in several ways, of which some match by their text alone, so it is told in one way.
func refusal(err error) error {
	if err == nil {
		return nil
	}
	text := strings.ToLower(err.Error())
	for _, known := range refusals {
		if errors.Is(err, known) || strings.Contains(text, strings.TrimPrefix(known.Error(), "nats: ")) {
			return known
		}
	}
	return nil
}

// refusesTLS reports whether the error means that the two sides could not agree on how to secure the connection.
func refusesTLS(err error) bool {
	return errors.Is(err, nats.ErrTLS) || errors.Is(err, nats.ErrSecureConnWanted) || errors.Is(err, nats.ErrSecureConnRequired) ||
		(err != nil && strings.Contains(err.Error(), "tls: "))
}
