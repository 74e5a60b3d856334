package dial

import (
	"context"
	"errors"
	"net"
	"slices"
)

// discovered returns the URLs of the servers that another connection has discovered, without those that are given.
func (d *Dialer) discovered() []string {
	var urls []string
	for _, text := range d.o.Discovered {
		s, err := parseServer(text)
		given := slices.ContainsFunc(d.servers, func(g server) bool { return g.address() == s.address() })
		if err == nil && !given && !d.o.IgnoreDiscovered {
			s.user = nil
			urls = append(urls, s.url())
		}
	}
	return urls
}

// Reach returns nil if one of the given servers accepts a connection, else why none does, an [*Error] for each. It sends and
// reads nothing.
func (d *Dialer) Reach(ctx context.Context) error {
	var all []error
	for _, s := range d.servers {
		one, cancel := context.WithTimeout(ctx, d.timeout())
		err := d.reach(one, s)
		cancel()
		if err == nil {
			return nil
		}
		all = append(all, err)
	}
	return errors.Join(all...)
}

func (d *Dialer) reach(ctx context.Context, s server) error {
	addresses, failure := d.resolve(ctx, s)
	if failure != nil {
		return failure
	}
	var err error
	for _, a := range addresses {
		var conn net.Conn
		if conn, err = new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(a.String(), s.port)); err == nil {
			return conn.Close()
		}
	}
	return &Error{s.String(), Unreachable, err}
}
