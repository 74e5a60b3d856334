package dial

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// ended is a connection that the other end has ended: writing to it fails, and what it has said before is to be read.
type ended struct {
	net.Conn

	said error
}

func (ended) Write([]byte) (int, error)       { return 0, &net.OpError{Op: "write", Err: syscall.EPIPE} }
func (c ended) Read([]byte) (int, error)      { return 0, c.said }
func (ended) SetReadDeadline(time.Time) error { return nil }

// Why a server ends the connection after the handshake does not depend on what is noticed first: that it was ended, or what
// it has said before.
func TestWhyItEndedAfterTheHandshake(t *testing.T) {
	alert := &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}
	for _, said := range []error{alert, syscall.ECONNRESET} {
		s := newStream(newDialer(Options{}), ended{said: said}, server{scheme: "tls", host: "a", port: "1"}, &nats.ServerInfo{}, nil, true)
		if err := s.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err := s.Write([]byte("CONNECT {}\r\n"))
		known, ok := errors.AsType[*Error](err)
		if !ok || known.Class != TLS || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a server that said %q: %v", said, err)
		}
		if errors.Is(said, alert) != strings.Contains(err.Error(), "certificate required") {
			t.Errorf("a server that said %q: %v", said, err)
		}
	}
}
