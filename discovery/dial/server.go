package dial

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// server is one server that may be dialled.
type server struct {
	scheme string // nats, tls, ws or wss
	host   string // a name in lower case or an address, without brackets
	port   string
	name   string // what the certificate must be for; empty: the host
	user   *url.Userinfo
}

func (s server) secure() bool    { return s.scheme == "tls" || s.scheme == "wss" }
func (s server) webSocket() bool { return s.scheme == "ws" || s.scheme == "wss" }

// address is what nats.go knows the server by, and dials.
func (s server) address() string { return net.JoinHostPort(s.host, s.port) }

func (s server) String() string { return s.scheme + "://" + s.address() }

// url returns the URL for nats.go, which is to take every stream for a plain one.
func (s server) url() string {
	u := url.URL{Scheme: "nats", Host: s.address(), User: s.user}
	return u.String()
}

var defaultPorts = map[string]string{"nats": "4222", "tls": "4222", "ws": "80", "wss": "443"}

// parseServer reads a URL. The scheme may be missing, the path of a WebSocket may be "/".
func parseServer(text string) (server, error) {
	text = strings.TrimSpace(text)
	if !strings.Contains(text, "://") {
		text = "nats://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return server{}, fmt.Errorf("the URL of a NATS server is malformed: %w", withoutURL(err))
	}
	s := server{scheme: strings.ToLower(u.Scheme), host: normalizeHost(u.Hostname()), port: u.Port(), user: u.User}
	known := defaultPorts[s.scheme]
	if known == "" {
		return server{}, fmt.Errorf("the scheme of a NATS server is nats, tls, ws or wss, not %q", u.Scheme)
	}
	if s.port == "" {
		s.port = known
	}
	if err := alone(u); err != nil {
		return server{}, err
	}
	return s, s.check()
}

// alone returns an error if there is more in a URL than a server.
func alone(u *url.URL) error {
	switch {
	case strings.Contains(u.Host, ","):
		return errors.New("several NATS servers are given as one, with commas: give each an item of its own")
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "", u.ForceQuery, u.Opaque != "":
		return fmt.Errorf("%s://%s has a path, a query or a fragment: the URL of a NATS server has none", u.Scheme, u.Host)
	}
	return nil
}

// withoutURL returns the cause alone: the URL may hold a password.
func withoutURL(err error) error {
	if malformed, ok := errors.AsType[*url.Error](err); ok {
		return malformed.Err
	}
	return err
}

// check returns an error if the server can't be one.
func (s server) check() error {
	if _, err := netip.ParseAddr(s.host); err != nil && !validName(s.host) {
		return fmt.Errorf("%q is no host name and no address", s.host)
	}
	if n, err := strconv.ParseUint(s.port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q is no port", s.port)
	}
	return nil
}

// normalizeHost returns the one spelling of a host: a name in lower case without the dot at the end, or an address.
func normalizeHost(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().String()
	}
	return host
}

// validName reports whether the text is a host name. One whose last label is a number isn't: some resolvers take 127.1,
// 0x7f000001 and 0177.0.0.1 for addresses.
func validName(host string) bool {
	if host == "" || len(host) > 253 {
		return false
	}
	labels := strings.Split(host, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
	}
	last := labels[len(labels)-1]
	_, err := strconv.ParseUint(last, 0, 64)
	return err != nil && strings.Trim(last, "0123456789") != ""
}
