package dial

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// discoveredTimeout bounds how long a server that another one advertises may take to answer: such a server may be out
	// of reach, as in a cluster that advertises addresses of its own network.
	discoveredTimeout = 500 * time.Millisecond
	// maxAdvertised bounds how many servers one server may advertise at once, and maxDiscovered how many there may be in
	// the life of a connection: nats.go never forgets one.
	maxAdvertised = 32
	maxDiscovered = 1024
)

// Options are the settings of a Dialer.
type Options struct {
	// Servers are the URLs, with the scheme nats, tls, ws or wss; each item is one server. All are WebSockets or none is,
	// and if one has the scheme tls or wss, all are secured.
	Servers []string
	// TLS is how connections are secured, and says that they must be; nil: as the connection's own options, the scheme and
	// the server ask for.
	TLS *tls.Config
	// TLSHandshakeFirst says that the servers expect the handshake before they send anything.
	TLSHandshakeFirst bool
	// IgnoreDiscovered says that only Servers are dialled, and not what they advertise.
	IgnoreDiscovered bool
	// Policy decides which servers may be dialled; nil: all.
	Policy *Policy
	// Before is the Dialer of the connection that this one replaces, or nil: the servers that were advertised to it are known
	// here too. They may be the only ones that live.
	Before *Dialer
	// Resolver looks up the names of hosts; nil: that of the system.
	Resolver Resolver
	// MaxMessage bounds a message in bytes; 0: 4 MiB. What the server says of its own limit, max_payload, may bound it further.
	MaxMessage int
}

// Resolver looks up the names of hosts, as [net.Resolver] does.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Dialer connects one nats.Conn to a list of servers. Its methods are safe for concurrent use.
type Dialer struct {
	o       Options
	largest int
	gate    gate
	order   order
	// nats is what nats.Connect was given. It is complete once there is something to dial.
	nats *nats.Options

	mu      sync.Mutex
	given   []server
	found   map[string]server // that were advertised, by address
	failed  map[string]*Error // by address
	secured bool              // one of the given servers asks for TLS, so all have it
}

// New returns a Dialer of the given servers.
func New(o Options) (*Dialer, error) {
	if len(o.Servers) == 0 {
		return nil, errors.New("no NATS server is given")
	}
	d := newDialer(o)
	for _, text := range o.Servers {
		if err := d.give(text); err != nil {
			return nil, err
		}
	}
	d.inherit(o.Before)
	return d, nil
}

func newDialer(o Options) *Dialer {
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	d := &Dialer{
		o: o, largest: cmp.Or(o.MaxMessage, mostMessage), nats: &nats.Options{},
		found: map[string]server{}, failed: map[string]*Error{},
	}
	d.order.dialer = d
	return d
}

// give adds a server.
func (d *Dialer) give(text string) error {
	s, err := parseServer(text)
	if err != nil {
		return err
	}
	if len(d.given) > 0 && d.given[0].webSocket() != s.webSocket() {
		return nats.ErrMixingWebsocketSchemes
	}
	d.secured = d.secured || s.secure()
	if _, given := d.givenAt(s.address()); !given {
		d.given = append(d.given, s)
	}
	return nil
}

// NATS returns what nats.Connect takes: the servers, and options that come before one's own. It is for one connection.
func (d *Dialer) NATS() (servers string, options []nats.Option) {
	return strings.Join(append(d.urls(), d.inherited()...), ","), []nats.Option{d.install}
}

func (d *Dialer) urls() []string {
	urls := make([]string, len(d.given))
	for i, s := range d.given {
		urls[i] = s.url()
	}
	return urls
}

// Option is an option of nats.Connect that has a Dialer of its own dial. The settings of the Dialer are those of the
// connection: what other options say about TLS, time-outs and WebSocket headers holds for it.
//
// For whoever fills in a nats.Options: the servers have to be in it already.
func Option(o *nats.Options) error {
	d := newDialer(Options{})
	servers := o.Servers
	if o.Url != "" {
		servers = append([]string{o.Url}, servers...)
	}
	if len(servers) == 0 {
		servers = []string{nats.DefaultURL}
	}
	for _, text := range servers {
		if err := d.give(text); err != nil {
			return err
		}
	}
	o.Url, o.Servers = "", d.urls()
	return d.install(o)
}

func (d *Dialer) install(o *nats.Options) error {
	d.nats = o
	o.CustomDialer, o.SkipHostLookup = d, true
	o.ReconnectToServerCB = d.order.next
	if d.o.IgnoreDiscovered {
		o.IgnoreDiscoveredServers = true
	}
	return nil
}

// Of returns the Dialer of a connection; nil if another one dials.
func Of(nc *nats.Conn) *Dialer {
	d, _ := nc.Opts.CustomDialer.(*Dialer)
	return d
}

// Err returns why the last attempts failed, an [*Error] for each server; nil if a server has let the client in since.
func (d *Dialer) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []error
	for _, s := range d.given {
		if e := d.failed[s.address()]; e != nil {
			all = append(all, e)
		}
	}
	for _, address := range slices.Sorted(maps.Keys(d.failed)) {
		// What a server advertises and the policy refuses is nobody's fault.
		if _, given := d.givenAt(address); !given && d.failed[address].Class != NotAllowed {
			all = append(all, d.failed[address])
		}
	}
	return errors.Join(all...)
}

// SkipTLSHandshake tells nats.go that the connections are secured already.
func (*Dialer) SkipTLSHandshake() bool { return true }

// Dial connects to a server. It is for nats.go.
func (d *Dialer) Dial(_, address string) (net.Conn, error) {
	s, given := d.lookup(address)
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(d.nats.Timeout, nats.DefaultTimeout))
	defer cancel()
	conn, failure := d.connect(ctx, s, given)
	d.order.dialled(address, given, failure == nil, time.Now())
	if failure != nil {
		d.note(s, failure)
		return nil, failure
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.failed, address)
	return conn, nil
}

// succeed forgets why servers could not be used: one has let the client in.
func (d *Dialer) succeed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.failed)
}

// note keeps why a server could not be used.
func (d *Dialer) note(s server, failure *Error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed[s.address()] = failure
}

// lookup returns the server with the address, and whether it was given.
func (d *Dialer) lookup(address string) (s server, given bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, given = d.givenAt(address); given {
		return s, true
	}
	if s, ok := d.found[address]; ok {
		return s, false
	}
	host, port, _ := net.SplitHostPort(address) // Without a port nothing can be dialled.
	return server{scheme: "nats", host: normalizeHost(host), port: port}, false
}

// givenAt is called with the lock.
func (d *Dialer) givenAt(address string) (server, bool) {
	for _, s := range d.given {
		if s.address() == address {
			return s, true
		}
	}
	return server{}, false
}

// discover returns those of the servers that from advertises which may be dialled, as addresses.
func (d *Dialer) discover(from server, advertised []string) []string {
	if d.o.IgnoreDiscovered || d.nats.IgnoreDiscoveredServers {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var addresses []string
	for _, text := range advertised {
		if len(addresses) == maxAdvertised {
			break
		}
		host, port, err := net.SplitHostPort(text)
		s := server{scheme: from.scheme, host: normalizeHost(host), port: port, name: nameFor(normalizeHost(host), from)}
		if err != nil || s.check() != nil || slices.Contains(addresses, s.address()) {
			continue
		}
		if _, known := d.found[s.address()]; !known && len(d.found) == maxDiscovered {
			continue
		}
		if _, given := d.givenAt(s.address()); !given {
			d.found[s.address()] = s
		}
		addresses = append(addresses, s.address())
	}
	return addresses
}

// nameFor returns what the certificate of a host must be for that another server advertises; empty: for the host.
func nameFor(host string, from server) string {
	if _, err := netip.ParseAddr(host); err != nil {
		return ""
	}
	if _, err := netip.ParseAddr(from.host); err != nil {
		return from.host
	}
	return from.name
}

// most returns how large a message of a server may be.
func (d *Dialer) most(info *nats.ServerInfo) int {
	if info.MaxPayload > 0 {
		return int(min(info.MaxPayload, int64(d.largest)))
	}
	return d.largest
}

// silence returns after which time a connection that receives nothing is dead: nats.go sends pings.
func (d *Dialer) silence() time.Duration { return max(0, d.nats.PingInterval) * silentPings }

// silentPings is how many intervals of pings a server may be silent.
const silentPings = 3

// connect does all steps.
func (d *Dialer) connect(ctx context.Context, s server, given bool) (*stream, *Error) {
	c := &connecting{dialer: d, server: s}
	if !given {
		c.patience = discoveredTimeout
	}
	stream, err := c.run(ctx)
	if err == nil {
		return stream, nil
	}
	if c.conn != nil {
		_ = c.conn.Close()
	}
	if known, ok := errors.AsType[*Error](err); ok {
		return nil, known
	}
	return nil, &Error{s.String(), c.class, err}
}

// shuffled returns the addresses in any order, so that those of a name share the load.
func shuffled(addresses []netip.Addr) []netip.Addr {
	rand.Shuffle(len(addresses), func(i, j int) {
		addresses[i], addresses[j] = addresses[j], addresses[i]
	})
	return addresses
}
