package natstest

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// readyTimeout bounds how long a server may take until it answers; a loaded machine needs most of it for a cluster.
const readyTimeout = 30 * time.Second

// Options are the settings of a server. The zero value, with a Dir, is a single server on a free port of the loopback
// interface.
type Options struct {
	// Dir is where JetStream keeps its files. Required.
	Dir string
	// Port is the client port; 0 takes a free one, see [FreePorts].
	Port int
	// Domain is the JetStream domain; empty for none.
	Domain string
	// Configure, if set, changes the server's own options before the first start.
	Configure func(*server.Options)
}

// Server is a NATS server that can be stopped and started again on the same port and store. Its methods are safe for
// concurrent use.
type Server struct {
	mu   sync.Mutex
	opts server.Options
	srv  *server.Server
}

// Run starts a server and returns once it accepts connections and JetStream is ready.
func Run(o Options) (*Server, error) {
	if o.Dir == "" {
		return nil, errors.New("natstest: no directory: set Options.Dir")
	}
	if o.Port == 0 {
		ports, err := FreePorts(1)
		if err != nil {
			return nil, err
		}
		o.Port = ports[0]
	}
	s := &Server{opts: serverOptions(o)}
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, nil
}

// Start is [Run] for a test: the store lives in t.TempDir, and the server is stopped when the test ends.
func Start(t testing.TB, set ...func(*Options)) *Server {
	t.Helper()
	o := Options{Dir: t.TempDir()}
	for _, f := range set {
		f(&o)
	}
	s, err := Run(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func serverOptions(o Options) server.Options {
	so := server.Options{
		Host:            "127.0.0.1",
		Port:            o.Port,
		JetStream:       true,
		JetStreamDomain: o.Domain,
		StoreDir:        o.Dir,
		NoLog:           true,
		NoSigs:          true,
	}
	if o.Configure != nil {
		o.Configure(&so)
	}
	return so
}

func (s *Server) start() error {
	o := s.opts
	srv, err := server.NewServer(&o)
	if err != nil {
		return fmt.Errorf("natstest: %w", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(readyTimeout) {
		srv.Shutdown()
		srv.WaitForShutdown()
		return fmt.Errorf("natstest: the server isn't ready after %v", readyTimeout)
	}
	s.srv = srv
	return nil
}

// URL is where clients connect to; it stays the same over a restart.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("nats://%s:%d", s.opts.Host, s.opts.Port)
}

// Port is the port that clients connect to.
func (s *Server) Port() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strconv.Itoa(s.opts.Port)
}

// Stop stops the server and waits until it is gone. Stopping a stopped server does nothing.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
}

func (s *Server) stop() {
	if s.srv == nil {
		return
	}
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
	s.srv = nil
}

// Restart stops the server, if it runs, and starts it again on the same port and store.
func (s *Server) Restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
	return s.start()
}

// Wipe stops the server, empties its store and starts it again on the same port: what a lost volume looks like.
func (s *Server) Wipe() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
	if err := os.RemoveAll(s.opts.StoreDir); err != nil {
		return fmt.Errorf("natstest: emptying the store: %w", err)
	}
	return s.start()
}

// NATS returns the running server for what this package doesn't offer; nil while it is stopped.
func (s *Server) NATS() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.srv
}

// LeafURL is where leaf nodes connect to; the server must have been configured to accept them.
func (s *Server) LeafURL(t testing.TB) []*url.URL {
	t.Helper()
	varz, err := s.NATS().Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	return []*url.URL{{Scheme: "nats-leaf", Host: fmt.Sprintf("%s:%d", varz.LeafNode.Host, varz.LeafNode.Port)}}
}

// Connect connects a client to the server and closes it when the test ends. The client reconnects for ever and soon.
func (s *Server) Connect(t testing.TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	return connect(t, s.URL(), opts...)
}

func connect(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	base := []nats.Option{nats.Timeout(Patience), nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond), nats.ReconnectBufSize(-1)}
	nc, err := nats.Connect(url, append(base, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}
