// Package dial connects to NATS servers that nobody has to trust.
package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Options are the settings of a Dialer.
type Options struct {
	// Servers are the URLs, with the scheme nats, tls, ws or wss; each item is one server.
	Servers []string
	// TLS is how connections are secured; nil: as the connection's own options, the scheme and the server ask for.
	TLS *tls.Config
	// TLSHandshakeFirst says that the servers expect the handshake before they send anything.
	TLSHandshakeFirst bool
	// IgnoreDiscovered says that only Servers are dialled, and not what they advertise.
	IgnoreDiscovered bool
	// Policy decides which servers may be dialled; nil: all.
	Policy *Policy
	// MaxMessage bounds a message in bytes; 0: 4 MiB.
	MaxMessage int
}

// Dialer connects to a list of servers.
type Dialer struct {
	o       Options
	servers []server
	timeout func() time.Duration

	mu     sync.Mutex
	failed map[string]*Error
}

// New returns a Dialer of the given servers.
func New(o Options) (*Dialer, error) {
	d := &Dialer{o: o, failed: map[string]*Error{}, timeout: func() time.Duration { return nats.DefaultTimeout }}
	if len(o.Servers) == 0 {
		return nil, errors.New("no NATS server is given")
	}
	for _, text := range o.Servers {
		s, err := parseServer(text)
		if err != nil {
			return nil, err
		}
		d.servers = append(d.servers, s)
	}
	return d, nil
}

// NATS returns what nats.Connect takes: the servers, and options that come before one's own.
func (d *Dialer) NATS() (servers string, options []nats.Option) {
	urls := make([]string, len(d.servers))
	for i, s := range d.servers {
		urls[i] = s.url()
	}
	return strings.Join(urls, ","), []nats.Option{d.install}
}

func (d *Dialer) install(o *nats.Options) error {
	d.timeout = func() time.Duration { return o.Timeout }
	o.CustomDialer, o.SkipHostLookup = d, true
	o.IgnoreDiscoveredServers = d.o.IgnoreDiscovered
	return nil
}

// Err returns why the last attempts failed, an [*Error] for each server; nil if the last one succeeded.
func (d *Dialer) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []error
	for _, s := range d.servers {
		if e := d.failed[s.address()]; e != nil {
			all = append(all, e)
		}
	}
	return errors.Join(all...)
}

// Dial connects to a server. It is for nats.go.
func (d *Dialer) Dial(_, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	s := server{scheme: "nats", host: normalizeHost(host), port: port}
	for _, given := range d.servers {
		if given.address() == address {
			s = given
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), d.timeout())
	defer cancel()
	conn, failure := d.connect(ctx, s)
	d.mu.Lock()
	defer d.mu.Unlock()
	if failure != nil {
		d.failed[address] = failure
		return nil, failure
	}
	clear(d.failed)
	return conn, nil
}

func (d *Dialer) connect(ctx context.Context, s server) (net.Conn, *Error) {
	addresses, failure := d.resolve(ctx, s)
	if failure != nil {
		return nil, failure
	}
	var conn net.Conn
	var err error
	for _, a := range addresses {
		if conn, err = new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(a.String(), s.port)); err == nil {
			return conn, nil
		}
	}
	return nil, &Error{s.String(), Unreachable, err}
}

// resolve returns the addresses of the server that the policy allows.
func (d *Dialer) resolve(ctx context.Context, s server) ([]netip.Addr, *Error) {
	refused := &Error{s.String(), NotAllowed, errors.New("the policy does not allow the server")}
	named := d.o.Policy.allowsName(s.host)
	if !named && !d.o.Policy.resolves() {
		return nil, refused
	}
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", s.host)
	if err != nil && !named {
		return nil, refused // It says nothing about names that nobody allows.
	}
	if err != nil {
		return nil, &Error{s.String(), NotFound, fmt.Errorf("resolving the name: %w", err)}
	}
	var allowed []netip.Addr
	for _, a := range all {
		if d.o.Policy.allowsAddress(a, named) {
			allowed = append(allowed, a)
		}
	}
	if len(allowed) == 0 {
		return nil, refused
	}
	return allowed, nil
}
