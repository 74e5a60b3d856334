package dial

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// stream is the connection to a server as nats.go gets it. Its Read hands on what the scanner has checked, in place, and
// complete lines only; an INFO is replaced. It reads nothing while the dialer is held, waits for its turn if the server
// sends much, and fails when the server is silent.
//
// One goroutine reads at a time. Close and the deadlines may be called by others.
type stream struct {
	net.Conn

	dialer  *Dialer
	server  server
	secured bool
	silence time.Duration // after which the server is taken for dead; 0: never
	pacer   *pacer
	closed  chan struct{}
	close   sync.Once

	scanner scanner
	ready   []byte // what is to be read first
	rest    []byte // what was received after what was handed on
	partial bool   // the rest is the beginning of a line
	failure error  // of the connection below, once what came before has been read

	mu       sync.Mutex
	heard    bool      // something was read since TLS, or there is none
	deadline time.Time // for reading, by nats.go; zero: none
}

func newStream(d *Dialer, conn net.Conn, s server, info *nats.ServerInfo, rest []byte, secured bool) *stream {
	t := &stream{
		Conn: conn, dialer: d, server: s, secured: secured, silence: d.silence(), closed: make(chan struct{}),
		scanner: scanner{largest: d.most(info)}, rest: rest, heard: !secured,
	}
	if w, ok := conn.(*webSocketConn); ok {
		t.pacer = w.below.pacer
	} else {
		t.pacer = newPacer(processShare, &d.gate, t.closed)
	}
	t.ready = infoLine(*info, secured, d.discover(s, info.ConnectURLs))
	return t
}

// Read reads what the server sends.
func (t *stream) Read(p []byte) (int, error) {
	for {
		if n := copy(p, t.ready); n > 0 {
			t.ready = t.ready[n:]
			return n, nil
		}
		if err := t.pacer.pause(t.connecting()); err != nil {
			return 0, err
		}
		n, err := t.fill(p)
		if err != nil {
			return 0, t.fail(err)
		}
		if err := t.pacer.spend(t.scanner.cost, time.Now()); err != nil {
			return 0, err
		}
		t.scanner.cost = 0
		if n > 0 {
			return n, nil
		}
	}
}

// fill reads into p and returns how much of it may be handed on. That may be nothing.
func (t *stream) fill(p []byte) (int, error) {
	if len(t.rest) > 0 && !t.partial {
		return 0, t.work(t.rest)
	}
	if len(t.rest) > len(p)/2 {
		return 0, t.lengthen()
	}
	n := copy(p, t.rest)
	received, err := t.receive(p[n:])
	if err != nil {
		return 0, err
	}
	n, ready, rest, err := t.check(p[:n+received])
	t.ready, t.rest = ready, append(t.rest[:0], rest...)
	return n, err
}

// lengthen receives more of a line that does not fit into what nats.go reads at a time. Only its end has it checked: each
// byte may come alone.
func (t *stream) lengthen() error {
	length := len(t.rest)
	t.rest = slices.Grow(t.rest, length)
	n, err := t.receive(t.rest[length:cap(t.rest)])
	if err != nil {
		return err
	}
	t.rest = t.rest[:length+n]
	if bytes.IndexByte(t.rest[length:], '\n') < 0 && len(t.rest) < longest(t.rest[0]) {
		return nil
	}
	return t.work(t.rest)
}

// work checks bytes that are not in a buffer of nats.go.
func (t *stream) work(b []byte) error {
	n, ready, rest, err := t.check(b)
	t.ready = slices.Concat(b[:n], ready)
	t.rest = append([]byte(nil), rest...)
	return err
}

// check returns how much of b may be handed on, what is to be handed on after it, and what is left. If nothing is ready
// the rest is the beginning of a line.
func (t *stream) check(b []byte) (n int, ready, rest []byte, err error) {
	welcomed := t.scanner.welcomed
	n, why, err := t.scanner.scan(b)
	if err != nil {
		return 0, nil, nil, &Error{t.server.String(), Protocol, err}
	}
	if !welcomed {
		t.answered()
	}
	rest = b[n:]
	t.partial = why == incomplete
	if why == information {
		line, _ := completeLine(rest)
		length := len(line) + len("\r\n")
		info, err := parseInfo(rest[:length])
		if err != nil {
			return 0, nil, nil, &Error{t.server.String(), Protocol, err}
		}
		t.scanner.cost += infoCost + length/infoCost
		t.scanner.largest = t.dialer.most(info)
		ready, rest = infoLine(*info, t.secured, t.dialer.discover(t.server, info.ConnectURLs)), rest[length:]
	}
	return n, ready, rest, nil
}

// answered makes known what the server says to the login.
func (t *stream) answered() {
	if refusal := t.scanner.refusal; refusal != "" {
		t.dialer.note(t.server, &Error{t.server.String(), Refused, errors.New(refusal)})
	} else if t.scanner.welcomed {
		t.dialer.succeed()
	}
}

// receive reads from the connection below, at least one byte.
func (t *stream) receive(p []byte) (int, error) {
	if t.failure != nil {
		return 0, t.failure
	}
	if err := t.expect(); err != nil {
		return 0, err
	}
	n, err := t.Conn.Read(p)
	if n > 0 {
		t.failure = err
		t.scanner.cost++
		t.hear()
		return n, nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && !t.connecting() {
		err = nats.ErrStaleConnection
	}
	return 0, err
}

// expect waits until the connection may be read, and gives the server its time.
func (t *stream) expect() error {
	if t.connecting() {
		return nil
	}
	if err := t.dialer.gate.wait(t.closed); err != nil {
		return err
	}
	if t.silence <= 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.deadline.IsZero() {
		return nil
	}
	return t.Conn.SetReadDeadline(time.Now().Add(t.silence))
}

// connecting reports whether nats.go is still logging in, with a deadline and under its lock.
func (t *stream) connecting() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.deadline.IsZero()
}

// fail makes the error of a Read known.
func (t *stream) fail(err error) error {
	err = t.afterTLS(err)
	if known, ok := errors.AsType[*Error](err); ok {
		t.dialer.note(t.server, known)
	} else if t.connecting() && !t.scanner.welcomed {
		t.dialer.note(t.server, &Error{t.server.String(), Unreachable, fmt.Errorf("the server did not let the client in: %w", err)})
	}
	return err
}

func (t *stream) hear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard = true
}

// Write sends.
func (t *stream) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	if err != nil {
		err = t.fail(t.unread(err))
	}
	return n, err
}

// afterTLS explains a connection that ends right after the handshake: with TLS 1.3 a server that refuses the certificate of
// the client says so only then.
func (t *stream) afterTLS(err error) error {
	t.mu.Lock()
	heard := t.heard
	t.mu.Unlock()
	if heard {
		return err
	}
	switch {
	case isAlert(err):
		return &Error{t.server.String(), TLS, fmt.Errorf("%w: the server ended the connection after the handshake: %w", nats.ErrTLS, err)}
	case isEnd(err):
		// In what way it ended is a matter of chance.
		return &Error{t.server.String(), TLS, fmt.Errorf("%w: the server ended the connection after the handshake", nats.ErrTLS)}
	}
	return err
}

// isAlert reports whether the error is what the other end of a TLS connection has said before it ended it.
func isAlert(err error) bool {
	var alert *net.OpError
	return errors.As(err, &alert) && alert.Op == "remote error"
}

// unread returns why the server has ended the connection, if it has said so after the handshake: nobody reads it when the
// write fails. Nothing else reads while nats.go logs in.
func (t *stream) unread(err error) error {
	t.mu.Lock()
	unheard := !t.heard && !t.deadline.IsZero()
	t.mu.Unlock()
	if !unheard || !isEnd(err) {
		return err
	}
	if _, said := t.Conn.Read(make([]byte, 1)); isAlert(said) {
		return said
	}
	return err
}

// Close ends the connection.
func (t *stream) Close() error {
	t.close.Do(func() {
		close(t.closed)
		t.pacer.end()
	})
	return t.Conn.Close()
}

// SetDeadline is for nats.go, which sets one while it logs in.
func (t *stream) SetDeadline(at time.Time) error {
	return errors.Join(t.SetReadDeadline(at), t.SetWriteDeadline(at))
}

// SetReadDeadline is for nats.go. Without a deadline the server has the time that it may be silent.
func (t *stream) SetReadDeadline(at time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deadline = at
	if at.IsZero() && t.silence > 0 {
		at = time.Now().Add(t.silence)
	}
	return t.Conn.SetReadDeadline(at)
}
