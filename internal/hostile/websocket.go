package hostile

import (
	"bufio"
	"crypto/sha1" //nolint:gosec // RFC 6455 has it so.
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
)

// upgrade reads a request for a WebSocket and returns what its answer has to prove.
func upgrade(in *bufio.Reader) (accept string, err error) {
	r, err := http.ReadRequest(in)
	if err != nil {
		return "", err
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // RFC 6455 has it so.
	return base64.StdEncoding.EncodeToString(sum[:]), nil
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n"

// serveHTTP has f answer the request for a WebSocket, beside reading what else the client sends.
func serveHTTP(f func(p *peer, accept string)) func(*Server, net.Conn) {
	return func(s *Server, c net.Conn) {
		p := newPeer(s, c, &act{})
		accept, err := upgrade(p.in)
		if err != nil {
			return
		}
		p.server.strike()
		p.server.done.Go(p.drain)
		f(p, accept)
	}
}

// serveFrames has f write frames once the handshake is over and INFO was sent.
func serveFrames(f func(*peer)) func(*Server, net.Conn) {
	return serveHTTP(func(p *peer, accept string) {
		p.say(switching, accept, "")
		_, _ = p.Write(frame(opBinary|final, []byte("INFO "+plainInfo+"\r\n")))
		f(p)
	})
}

// serveSocket has an act done in a WebSocket.
func serveSocket(a act) func(*Server, net.Conn) {
	return func(s *Server, c net.Conn) {
		in := bufio.NewReader(c)
		accept, err := upgrade(in)
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(c, switching, accept, ""); err != nil {
			return
		}
		newPeer(s, &socket{Conn: c, in: in}, &a).serve()
	}
}

const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
	compressed     = 0x40
	final          = 0x80
	masked         = 0x80
)

// frame returns a frame; first is its first byte.
func frame(first byte, payload []byte) []byte {
	return append(head(first, uint64(len(payload))), payload...)
}

// head returns the head of a frame of that length.
func head(first byte, length uint64) []byte {
	switch {
	case length < 126:
		return []byte{first, byte(length)}
	case length < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{first, 126}, uint16(length))
	default:
		return binary.BigEndian.AppendUint64([]byte{first, 127}, length)
	}
}

// socket is a connection within a WebSocket: each Write is a frame. Reading belongs to one goroutine.
type socket struct {
	net.Conn

	in   *bufio.Reader
	left uint64
	mask [4]byte
	at   int
}

func (s *socket) Write(b []byte) (int, error) {
	if _, err := s.Conn.Write(frame(opBinary|final, b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (s *socket) Read(b []byte) (int, error) {
	for s.left == 0 {
		if err := s.begin(); err != nil {
			return 0, err
		}
	}
	n, err := s.in.Read(b[:min(uint64(len(b)), s.left)])
	for i := range n {
		b[i] ^= s.mask[s.at%4]
		s.at++
	}
	s.left -= uint64(n)
	return n, err
}

// begin reads the head of the next frame.
func (s *socket) begin() error {
	var start [2]byte
	if _, err := io.ReadFull(s.in, start[:]); err != nil {
		return err
	}
	length := make([]byte, map[byte]int{126: 2, 127: 8}[start[1]&^masked])
	if _, err := io.ReadFull(s.in, length); err != nil {
		return err
	}
	s.left = uint64(start[1] &^ masked)
	if len(length) > 0 {
		s.left = 0
		for _, b := range length {
			s.left = s.left<<8 | uint64(b)
		}
	}
	s.at = 0
	_, err := io.ReadFull(s.in, s.mask[:])
	return err
}
