package discovery

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// defaultPorts are the ports that a scheme implies.
var defaultPorts = map[string]int{"http": 80, "https": 443, "ws": 80, "wss": 443}

// Reach returns where the node is reached. Addresses and Ports come before Endpoint, which stands in for whichever of
// them is empty. Endpoint is a URL, whose scheme names the port and, for http, https, ws and wss, gives it a default, or
// host:port, which gives a port without a name. Path, query and fragment are ignored; a user is an error, since a record is
// no place for a password. There are at most 64 addresses and 1,000 ports, and a name of at most 63 characters for a port.
//
// The addresses are unmapped, without duplicates and in the record's order; protocols are TCP, UDP or SCTP in upper case.
// The errors are [*RecordError] with a reason of those listed there. Host names aren't resolved: [ReasonAddressNotIP].
func (n Node) Reach() ([]netip.Addr, []Port, error) {
	if len(n.Addresses) > 0 && len(n.Ports) > 0 {
		return reach(n.Addresses, n.Ports)
	}
	if n.Endpoint == "" {
		if len(n.Addresses) == 0 {
			return nil, nil, recordError(ReasonMissingAddress, "there is no address, set Endpoint, or Addresses and Ports")
		}
		return nil, nil, recordError(ReasonMissingPort, "there is no port, set Ports or Endpoint")
	}
	host, port, err := parseEndpoint(n.Endpoint)
	if err != nil {
		return nil, nil, err
	}
	addresses, ports := n.Addresses, n.Ports
	if len(addresses) == 0 {
		addresses = []string{host}
	}
	if len(ports) == 0 {
		if port.Port == 0 {
			return nil, nil, recordError(ReasonMissingPort, "Endpoint %.200q has no port, add one", n.Endpoint)
		}
		ports = []Port{port}
	}
	return reach(addresses, ports)
}

// The limits of one node. The JSON Schema of the record and the DiscoveredNode have the same.
const (
	maxAddresses = 64
	maxPorts     = 1000
	maxPortName  = 63
)

func reach(addresses []string, ports []Port) ([]netip.Addr, []Port, error) {
	if len(addresses) > maxAddresses {
		return nil, nil, recordError(ReasonInvalidAddress, "there are %d addresses, give at most %d", len(addresses), maxAddresses)
	}
	if len(ports) > maxPorts {
		return nil, nil, recordError(ReasonInvalidPort, "there are %d ports, give at most %d", len(ports), maxPorts)
	}
	addrs, err := parseAddresses(addresses)
	if err != nil {
		return nil, nil, err
	}
	normal, err := normalPorts(ports)
	if err != nil {
		return nil, nil, err
	}
	return addrs, normal, nil
}

func parseAddresses(addresses []string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for _, a := range addresses {
		addr, err := parseAddress(a)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	return addrs, nil
}

func normalPorts(ports []Port) ([]Port, error) {
	normal := make([]Port, 0, len(ports))
	named := make(map[string]Port, len(ports))
	for _, p := range ports {
		p, err := normalPort(p)
		if err != nil {
			return nil, err
		}
		same, taken := named[p.Name]
		switch {
		case !taken:
			named[p.Name] = p
			normal = append(normal, p)
		case same != p:
			return nil, recordError(ReasonInvalidPort, "two ports have the name %.80q, give each its own", p.Name)
		}
	}
	return normal, nil
}

func parseAddress(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	switch {
	case err == nil && addr.Zone() != "":
		return netip.Addr{}, recordError(ReasonInvalidAddress, "address %.80q has a zone, which means something on its own host only", s)
	case err == nil:
		return addr.Unmap(), nil
	case hostName(s):
		return netip.Addr{}, recordError(ReasonAddressNotIP, "%.80q is a host name, an IP address is expected", s)
	}
	return netip.Addr{}, recordError(ReasonInvalidAddress, "%.80q isn't an IP address", s)
}

// hostName reports whether s looks like a host name rather than like a broken IP address.
func hostName(s string) bool {
	letters := strings.ContainsFunc(s, func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' })
	return letters && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

func normalPort(p Port) (Port, error) {
	if p.Port < 1 || p.Port > 65535 {
		return Port{}, recordError(ReasonInvalidPort, "port %d is out of range, use 1 to 65535", p.Port)
	}
	if utf8.RuneCountInString(p.Name) > maxPortName {
		return Port{}, recordError(ReasonInvalidPort, "the name of port %d is longer than %d characters", p.Port, maxPortName)
	}
	p.Protocol = strings.ToUpper(p.Protocol)
	switch p.Protocol {
	case "":
		p.Protocol = "TCP"
	case "TCP", "UDP", "SCTP":
	default:
		return Port{}, recordError(ReasonInvalidPort, "port %d has the protocol %.20q, use TCP, UDP or SCTP", p.Port, p.Protocol)
	}
	return p, nil
}

// parseEndpoint returns the endpoint's host and its port, whose number is 0 if the endpoint has none.
func parseEndpoint(endpoint string) (string, Port, error) {
	if strings.Contains(endpoint, "://") {
		return parseURL(endpoint)
	}
	if _, err := netip.ParseAddr(endpoint); err == nil {
		return endpoint, Port{}, nil
	}
	if strings.Contains(endpoint, "@") {
		return "", Port{}, errUser()
	}
	host, number, err := net.SplitHostPort(endpoint)
	if err != nil || host == "" {
		return "", Port{}, recordError(ReasonInvalidEndpoint, "Endpoint %.200q is neither a URL nor host:port", endpoint)
	}
	port, err := parsePort(number)
	return host, Port{Port: port}, err
}

// errUser is the error for an endpoint with a user. It doesn't quote the endpoint, which may hold a password.
func errUser() error {
	return recordError(ReasonInvalidEndpoint, "Endpoint has a user (an @ in it), leave out user and password")
}

func parseURL(endpoint string) (string, Port, error) {
	u, err := url.Parse(endpoint)
	switch {
	case err == nil && u.User != nil, err != nil && strings.Contains(endpoint, "@"):
		return "", Port{}, errUser()
	case err != nil || u.Hostname() == "":
		return "", Port{}, recordError(ReasonInvalidEndpoint, "Endpoint %.200q isn't a URL with a host", endpoint)
	}
	port := Port{Name: u.Scheme, Port: defaultPorts[u.Scheme]}
	if u.Port() != "" {
		port.Port, err = parsePort(u.Port())
	}
	return u.Hostname(), port, err
}

func parsePort(s string) (int, error) {
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil || port == 0 {
		return 0, recordError(ReasonInvalidPort, "port %.20q is out of range, use 1 to 65535", s)
	}
	return int(port), nil
}
