package dial

import (
	"errors"
	"fmt"
)

// Class is the kind of reason for which a server could not be reached.
type Class string

const (
	// NotAllowed is a server that the policy refuses; nothing was dialled.
	NotAllowed Class = "NotAllowed"
	// NotFound is a host name that has no address.
	NotFound Class = "NotFound"
	// Unreachable is a server that refuses, resets or ends the connection, or does not answer in time.
	Unreachable Class = "Unreachable"
	// TLS is a server with which the connection could not be secured.
	TLS Class = "TLS"
	// Handshake is a server that refuses the WebSocket.
	Handshake Class = "Handshake"
	// Refused is a server that answers the login with an error.
	Refused Class = "Refused"
	// Protocol is a peer that is no NATS server, or that broke a bound.
	Protocol Class = "Protocol"
)

// Error is why one server could not be reached, or why the connection to it was ended.
type Error struct {
	// Server is the URL, without user and password.
	Server string
	Class  Class
	Err    error
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Server, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

var (
	errNotAllowed = errors.New("the policy does not allow this server")
	errNoInfo     = errors.New("the peer is no NATS server: it does not begin with INFO")
	errSilent     = errors.New("the server sent no INFO in time")
	errNoHTTP     = errors.New("the answer is no HTTP: the port is none for WebSockets")
	errEarly      = errors.New("the server sends more than INFO before the connection is secured")
)

// violation is an error of a peer that broke the rules of the protocol.
func violation(format string, args ...any) error {
	return fmt.Errorf("the server broke the protocol: "+format, args...)
}
