package dial

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/nats-io/nats.go"
)

// inherit takes over the servers that were advertised to another Dialer, which may be nil: as many as one server may
// advertise.
func (d *Dialer) inherit(before *Dialer) {
	if before == nil || d.o.IgnoreDiscovered {
		return
	}
	before.mu.Lock()
	found := maps.Clone(before.found)
	before.mu.Unlock()
	for _, address := range slices.Sorted(maps.Keys(found)) {
		if _, given := d.givenAt(address); !given && len(d.found) < maxAdvertised {
			d.found[address] = found[address]
		}
	}
}

// inherited returns the URLs of the servers that were advertised to another Dialer.
func (d *Dialer) inherited() []string {
	var urls []string
	for _, address := range slices.Sorted(maps.Keys(d.found)) {
		urls = append(urls, d.found[address].url())
	}
	return urls
}

// Reach returns nil if one of the given servers accepts a connection, else why none does, an [*Error] for each. It sends and
// reads nothing.
func (d *Dialer) Reach(ctx context.Context) error {
	var all []error
	for _, s := range d.given {
		err := d.reach(ctx, s)
		if err == nil {
			return nil
		}
		all = append(all, err)
	}
	return errors.Join(all...)
}

func (d *Dialer) reach(ctx context.Context, s server) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(d.nats.Timeout, nats.DefaultTimeout))
	defer cancel()
	c := &connecting{dialer: d, server: s}
	if err := c.reach(ctx); err != nil {
		return &Error{s.String(), c.class, err}
	}
	return c.conn.Close()
}
