package dial

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// villain is a server that does with each connection what a test wants.
func villain(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				serve(c)
				_ = c.Close()
			}()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// says sends a text and waits until the client ends the connection.
func says(text string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = io.WriteString(c, text)
		_, _ = io.Copy(io.Discard, c)
	}
}

// forever sends a text over and over.
func forever(first, text string, pause time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		_, err := io.WriteString(c, first)
		for err == nil {
			_, err = io.WriteString(c, text)
			<-time.After(pause)
		}
	}
}

const upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"

func TestVillainsAreLeft(t *testing.T) {
	_, trust := certificate(t)
	for name, test := range map[string]struct {
		scheme string
		serve  func(net.Conn)
		class  Class
	}{
		"silent":                {"nats", says(""), Unreachable},
		"hangs up":              {"nats", func(net.Conn) {}, Unreachable},
		"http":                  {"nats", says("HTTP/1.1 400 Bad Request\r\n\r\n"), Protocol},
		"error":                 {"nats", says("-ERR 'maximum connections exceeded'\r\n"), Protocol},
		"info without end":      {"nats", forever("INFO {", strings.Repeat("a", 64<<10), 0), Protocol},
		"info that drips":       {"nats", forever("INFO {", "a", 10*time.Millisecond), Unreachable},
		"info that is none":     {"nats", says("INFO x\r\n"), Protocol},
		"tls never ends":        {"tls", says("INFO {\"tls_required\":true}\r\n"), TLS},
		"tls after more":        {"tls", says("INFO {\"tls_required\":true}\r\nPING\r\n"), Protocol},
		"redirect":              {"ws", says("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n"), Handshake},
		"response without end":  {"ws", forever("HTTP/1.1 101 Switching Protocols\r\n", "X: "+strings.Repeat("a", 4<<10)+"\r\n", 0), Handshake},
		"interim responses":     {"ws", forever("", "HTTP/1.1 103 Early Hints\r\n\r\n", 0), Handshake},
		"response that drips":   {"ws", forever("HTTP/1.1 101 Switching Protocols\r\n", "a", 10*time.Millisecond), Handshake},
		"another key":           {"ws", says(upgrade), Handshake},
		"body without end":      {"ws", forever("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", strings.Repeat("a", 64<<10), 0), Handshake},
		"handshake never comes": {"wss", says(""), TLS},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Options{Servers: []string{test.scheme + "://" + villain(t, test.serve)}}
			if test.scheme == "tls" || test.scheme == "wss" {
				o.TLS = trust
			}
			d := dialer(t, o)
			servers, options := d.NATS()
			began := time.Now()
			if nc, err := nats.Connect(servers, append(options, nats.Timeout(500*time.Millisecond))...); err == nil {
				nc.Close()
				t.Fatal("connected")
			}
			var failure *Error
			if !errors.As(d.Err(), &failure) || failure.Class != test.class {
				t.Errorf("%v, not %s", d.Err(), test.class)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

const welcome = "INFO {\"headers\":true,\"max_payload\":1048576}\r\nPONG\r\n"

// A server that breaks the protocol once it has let the client in loses the connection, and the reason is told.
func TestVillainsAreLeftLater(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"a length that overflows": says(welcome + "MSG _INBOX.x 1 99999999999999999\r\n"),
		"a line without end":      forever(welcome+"MSG ", strings.Repeat("a", 64<<10), 0),
		"an info without end":     forever(welcome+"INFO {", strings.Repeat("a", 64<<10), 0),
		"a message too large":     says(welcome + "MSG _INBOX.x 1 9999999\r\n"),
		"one beyond its own word": says(welcome + "MSG _INBOX.x 1 1048577\r\n"),
		"one beyond its new word": says(welcome + "INFO {\"max_payload\":1000}\r\nMSG _INBOX.x 1 1001\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := dialer(t, Options{Servers: []string{villain(t, serve)}})
			servers, options := d.NATS()
			ended := make(chan error, 1)
			nc, err := nats.Connect(servers, append(options, nats.NoReconnect(), nats.ClosedHandler(func(nc *nats.Conn) { ended <- nc.LastError() }))...)
			if err == nil {
				defer nc.Close()
				err = <-ended
			}
			var failure *Error
			if !errors.As(err, &failure) || failure.Class != Protocol {
				t.Errorf("it ended with %v", err)
			}
			if !errors.As(d.Err(), &failure) || failure.Class != Protocol {
				t.Errorf("the dialer has %v", d.Err())
			}
		})
	}
}

// A peer that vanishes without a word is noticed after three intervals of pings.
func TestASilentServerIsLeft(t *testing.T) {
	s := natstest.Start(t)
	p := natstest.StartProxy(t, s)
	lost := make(chan error, 10)
	d := dialer(t, Options{Servers: []string{p.URL()}})
	connect(t, d, nats.PingInterval(200*time.Millisecond), nats.MaxPingsOutstanding(1000),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { lost <- err }))
	select {
	case err := <-lost:
		t.Fatalf("lost although it answers: %v", err)
	case <-time.After(time.Second):
	}
	p.Freeze()
	began := time.Now()
	if err := <-lost; !errors.Is(err, nats.ErrStaleConnection) || time.Since(began) > 2*time.Second {
		t.Errorf("lost with %v after %v", err, time.Since(began))
	}
}

// Ten servers that flood take turns, and a request to another one is answered in between.
func TestAFloodTakesTurns(t *testing.T) {
	flood := strings.Repeat("PING\r\n", 10_000)
	for range 10 {
		d := dialer(t, Options{Servers: []string{villain(t, forever(welcome, flood, 0))}})
		servers, options := d.NATS()
		nc, err := nats.Connect(servers, append(options, nats.MaxReconnects(-1))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
	}
	nc := connect(t, dialer(t, Options{Servers: []string{natstest.Start(t).URL()}}))
	natstest.Eventually(t, func() error {
		began := time.Now()
		for range 20 {
			if err := nc.FlushTimeout(time.Second); err != nil {
				return err
			}
		}
		if took := time.Since(began); took > time.Second {
			return fmt.Errorf("20 round trips took %v", took)
		}
		return nil
	})
}

// Frames that carry nothing end the connection.
func TestEmptyFrames(t *testing.T) {
	pings := &scripted{sends: []byte(strings.Repeat("\x89\x00", maxEmpty)), piece: 4 << 10}
	f := newFrames(pings, server{scheme: "ws", host: "a", port: "1"}, &newDialer(Options{}).gate)
	var read int
	for buffer := make([]byte, 4<<10); ; {
		n, err := f.Read(buffer)
		read += n
		var failure *Error
		if errors.As(err, &failure) && failure.Class == Protocol {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if read <= maxEmpty || read > maxEmpty+4<<10 {
		t.Errorf("it ended after %d bytes", read)
	}
}
