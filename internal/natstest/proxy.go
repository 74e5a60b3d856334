package natstest

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy is a TCP proxy in front of a server. It can cut the way, as a server that goes away does, or freeze it, as a
// network that swallows packets does. Its methods are safe for concurrent use.
type Proxy struct {
	target   string
	listener net.Listener
	done     sync.WaitGroup

	mu     sync.Mutex
	moving *sync.Cond // signalled when frozen or conns changes
	frozen bool
	cut    bool
	closed bool
	rate   int // bytes a second of each connection; 0: no limit
	// conns holds the open connections, and whether they are stranded.
	conns map[net.Conn]bool
}

// RunProxy starts a proxy to target, a host and port.
func RunProxy(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("natstest: starting a proxy: %w", err)
	}
	p := &Proxy{target: target, listener: l, conns: map[net.Conn]bool{}}
	p.moving = sync.NewCond(&p.mu)
	p.done.Go(p.accept)
	return p, nil
}

// StartProxy starts a proxy to s and stops it when the test ends.
func StartProxy(t testing.TB, s *Server) *Proxy {
	t.Helper()
	s.mu.Lock()
	target := fmt.Sprintf("%s:%d", s.opts.Host, s.opts.Port)
	s.mu.Unlock()
	p, err := RunProxy(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// URL is where clients connect to.
func (p *Proxy) URL() string { return "nats://" + p.listener.Addr().String() }

// Cut closes every connection and refuses new ones until Heal.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	p.closeConns()
}

// Freeze keeps every connection open and moves no byte in either direction until Heal.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = true
}

// Strand makes the connections that there are half-open: both ends go on taking them for open, but no byte moves any more,
// not even after Heal. New ones work.
func (p *Proxy) Strand() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		p.conns[c] = true
	}
}

// Slow lets through so many bytes a second and direction, until Heal.
func (p *Proxy) Slow(bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = bytes
}

// Heal ends Cut, Freeze and Slow; what a frozen connection held back arrives now.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.frozen, p.rate = false, false, 0
	p.moving.Broadcast()
}

// Stop closes the proxy and waits for its goroutines.
func (p *Proxy) Stop() {
	p.mu.Lock()
	p.closed = true
	p.closeConns()
	p.mu.Unlock()
	_ = p.listener.Close()
	p.done.Wait()
}

func (p *Proxy) closeConns() {
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
	p.moving.Broadcast()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		p.done.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	if !p.keep(client) {
		return
	}
	upstream, err := net.Dial("tcp", p.target)
	if err != nil {
		p.drop(client)
		return
	}
	if !p.keep(upstream) {
		p.drop(client)
		return
	}
	p.done.Go(func() { p.pump(upstream, client) })
	p.pump(client, upstream)
}

// keep remembers c, or closes it and answers false if the way is cut.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut || p.closed {
		_ = c.Close()
		return false
	}
	p.conns[c] = false
	return true
}

func (p *Proxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(p.conns, c)
	}
	p.moving.Broadcast()
}

// pump moves bytes from one side to the other until either ends, and holds them while the proxy is frozen.
func (p *Proxy) pump(from, to net.Conn) {
	defer p.drop(from, to)
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if !p.thaw(from) {
			return
		}
		if n > 0 {
			p.brake(n)
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// brake waits for as long as n bytes take on a slow way.
func (p *Proxy) brake(n int) {
	p.mu.Lock()
	rate := p.rate
	p.mu.Unlock()
	if rate > 0 {
		<-time.After(time.Duration(n) * time.Second / time.Duration(rate))
	}
}

// thaw waits until the way isn't frozen and reports whether c is still open.
func (p *Proxy) thaw(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		stranded, open := p.conns[c]
		if !open {
			return false
		}
		if !p.frozen && !stranded {
			return true
		}
		p.moving.Wait()
	}
}
