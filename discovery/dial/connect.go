package dial

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/nats-io/nats.go"
)

// connecting is one attempt to connect to a server.
type connecting struct {
	dialer   *Dialer
	server   server
	patience time.Duration // for the first answer; 0: as for all

	class   Class    // of what is being done
	conn    net.Conn // as far as it has come
	secured bool
}

func (c *connecting) run(ctx context.Context) (*stream, error) {
	if err := c.reach(ctx); err != nil {
		return nil, err
	}
	if c.server.webSocket() {
		if err := c.webSocket(ctx); err != nil {
			return nil, err
		}
	} else if c.dialer.handshakeFirst() {
		if err := c.secure(ctx); err != nil {
			return nil, err
		}
	}
	info, rest, err := c.info(ctx)
	if err != nil {
		return nil, err
	}
	if !c.server.webSocket() && !c.secured {
		if err := c.secureAsAsked(ctx, info, rest); err != nil {
			return nil, err
		}
	}
	c.class = Unreachable
	if err := c.conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return newStream(c.dialer, c.conn, c.server, info, rest, c.secured), nil
}

// reach resolves the name and connects to an address that the policy allows.
func (c *connecting) reach(ctx context.Context) error {
	if c.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.patience)
		defer cancel()
	}
	addresses, err := c.resolve(ctx)
	if err != nil {
		return err
	}
	c.class = Unreachable
	for i, a := range shuffled(addresses) {
		if err = c.try(ctx, a, len(addresses)-i); err == nil {
			return nil
		}
	}
	return err
}

// resolve returns the addresses of the server that the policy allows. What the policy refuses by name is not looked up, and
// what it refuses otherwise looks as if it had not been.
func (c *connecting) resolve(ctx context.Context) ([]netip.Addr, error) {
	c.class = NotAllowed
	policy, host := c.dialer.o.Policy, c.server.host
	named := policy.allowsName(host)
	if !named && !policy.resolves() {
		return nil, errNotAllowed
	}
	all, err := c.dialer.o.Resolver.LookupNetIP(ctx, "ip", host)
	switch {
	case err != nil && !named:
		return nil, errNotAllowed
	case err != nil:
		c.class = NotFound
		return nil, err
	}
	var allowed []netip.Addr
	for _, a := range all {
		if policy.allowsAddress(a, named) {
			allowed = append(allowed, a.Unmap())
		}
	}
	if len(allowed) == 0 {
		return nil, errNotAllowed
	}
	return allowed, nil
}

// try connects to one of so many addresses that are left, which share the time.
func (c *connecting) try(ctx context.Context, a netip.Addr, left int) error {
	end, _ := ctx.Deadline()
	var dialer net.Dialer
	dialer.Timeout = time.Until(end) / time.Duration(left)
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(a.String(), c.server.port))
	if err != nil {
		return err
	}
	c.conn = conn
	return nil
}

// until sets the deadline of what comes next.
func (c *connecting) until(ctx context.Context) error {
	end, _ := ctx.Deadline()
	return c.conn.SetDeadline(end)
}

func (c *connecting) info(ctx context.Context) (*nats.ServerInfo, []byte, error) {
	c.class = Unreachable
	if err := c.until(ctx); err != nil {
		return nil, nil, err
	}
	if c.patience > 0 && !c.secured {
		if err := c.conn.SetReadDeadline(time.Now().Add(c.patience)); err != nil {
			return nil, nil, err
		}
	}
	info, rest, err := readInfo(c.conn)
	var network net.Error
	if err != nil && !errors.As(err, &network) && !isEnd(err) && !errors.Is(err, errSilent) {
		c.class = Protocol
	}
	if err != nil {
		return nil, nil, c.hinted(err)
	}
	return info, rest, c.until(ctx)
}

// hinted says of a server that is silent what it may expect, if it was not that.
func (c *connecting) hinted(err error) error {
	if errors.Is(err, errSilent) && !c.secured && !c.server.webSocket() {
		return fmt.Errorf("%w; it may expect the TLS handshake first, or a WebSocket", err)
	}
	return err
}

// secureAsAsked secures the connection after INFO, if the server or somebody here asks for it.
func (c *connecting) secureAsAsked(ctx context.Context, info *nats.ServerInfo, rest []byte) error {
	wanted := c.dialer.mustSecure(c.server)
	c.class = TLS
	switch {
	case wanted && !info.TLSRequired && !info.TLSAvailable:
		return nats.ErrSecureConnWanted
	case !wanted && !info.TLSRequired:
		return nil
	case len(rest) > 0:
		c.class = Protocol
		return errEarly
	}
	return c.secure(ctx)
}

// secure does the TLS handshake.
func (c *connecting) secure(ctx context.Context) error {
	c.class = TLS
	if err := c.until(ctx); err != nil {
		return err
	}
	config, err := c.dialer.tlsConfig(c.server)
	if err != nil {
		return fmt.Errorf("%w: %w", nats.ErrTLS, err)
	}
	conn := tls.Client(c.conn, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("%w: %w", nats.ErrTLS, err)
	}
	c.conn, c.secured = conn, true
	return nil
}

// handshakeFirst reports whether the handshake comes before INFO.
func (d *Dialer) handshakeFirst() bool { return d.o.TLSHandshakeFirst || d.nats.TLSHandshakeFirst }

// mustSecure reports whether a connection to the server is refused without TLS.
func (d *Dialer) mustSecure(s server) bool {
	return s.secure() || d.secured || d.o.TLS != nil || d.nats.Secure || d.handshakeFirst()
}

// tlsConfig returns the settings of TLS for a server.
func (d *Dialer) tlsConfig(s server) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	switch {
	case d.o.TLS != nil:
		config = d.o.TLS.Clone()
	case d.nats.TLSConfig != nil:
		config = d.nats.TLSConfig.Clone()
	}
	if d.o.TLS == nil && d.nats.TLSCertCB != nil {
		certificate, err := d.nats.TLSCertCB()
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	if d.o.TLS == nil && d.nats.RootCAsCB != nil {
		roots, err := d.nats.RootCAsCB()
		if err != nil {
			return nil, err
		}
		config.RootCAs = roots
	}
	config.ServerName = cmp.Or(config.ServerName, s.name, s.host)
	return config, nil
}
