package hostile

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
)

// Server is a server that follows a script. Its methods are safe for concurrent use.
type Server struct {
	script   Script
	listener net.Listener
	baits    []*bait
	done     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
	seen   int
	struck int
}

// The addresses of hosts. A manager that is tested may dial the first two.
const (
	serverHost    = "127.0.0.1"
	baitHost      = "127.0.0.3"
	forbiddenHost = "127.0.0.2"
)

// Allowed are the hosts that a manager may dial: that nobody has named the second is what the scripts are about.
func Allowed() []string { return []string{serverHost, baitHost} }

// Start starts a server, and stops it when the test ends. It needs Linux, where all of 127.0.0.0/8 is there.
func Start(t testing.TB, script Script) *Server {
	t.Helper()
	listener, err := net.Listen("tcp", serverHost+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{script: script, listener: listener, conns: map[net.Conn]struct{}{}}
	for _, host := range []string{baitHost, forbiddenHost} {
		s.baits = append(s.baits, layBait(t, host))
	}
	t.Cleanup(s.Stop)
	s.done.Go(s.accept)
	return s
}

// URL is where clients connect to.
func (s *Server) URL() string {
	scheme := s.script.Scheme
	if scheme == "" {
		scheme = "nats"
	}
	return fmt.Sprintf("%s://%s", scheme, s.listener.Addr())
}

// Struck returns how many connections there were on which the script has come to what it is about.
func (s *Server) Struck() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.struck
}

// Seen returns how many connections there were.
func (s *Server) Seen() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// Caught returns what was sent to places to which the script has lured its clients.
func (s *Server) Caught() []string {
	var all []string
	for _, b := range s.baits {
		all = append(all, b.all()...)
	}
	return all
}

func (s *Server) strike() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.struck++
}

// bait returns the address of a listener on a host that may be dialled, or on one that nobody may.
func (s *Server) bait(forbidden bool) string {
	if forbidden {
		return s.baits[1].address()
	}
	return s.baits[0].address()
}

func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || !s.keep(c) {
			continue
		}
		s.done.Go(func() {
			defer s.drop(c)
			s.script.serve(s, c)
		})
	}
}

func (s *Server) keep(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = c.Close()
		return false
	}
	s.conns[c] = struct{}{}
	s.seen++
	return true
}

func (s *Server) drop(c net.Conn) {
	_ = c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Stop stops the server and closes all connections. Stopping a stopped server does nothing.
func (s *Server) Stop() {
	_ = s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.done.Wait()
}
