package discovery

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestReach(t *testing.T) {
	tests := map[string]struct {
		node  Node
		addrs []string
		ports []Port
	}{
		"a URL with a port": {Node{Endpoint: "http://10.1.2.3:5001"}, []string{"10.1.2.3"}, []Port{{"http", 5001, "TCP"}}},
		"http":              {Node{Endpoint: "HTTP://10.1.2.3/path?q"}, []string{"10.1.2.3"}, []Port{{"http", 80, "TCP"}}},
		"https":             {Node{Endpoint: "https://10.1.2.3/"}, []string{"10.1.2.3"}, []Port{{"https", 443, "TCP"}}},
		"ws":                {Node{Endpoint: "ws://10.1.2.3"}, []string{"10.1.2.3"}, []Port{{"ws", 80, "TCP"}}},
		"wss":               {Node{Endpoint: "wss://[2001:db8::1]"}, []string{"2001:db8::1"}, []Port{{"wss", 443, "TCP"}}},
		"host and port":     {Node{Endpoint: "10.1.2.3:9142"}, []string{"10.1.2.3"}, []Port{{"", 9142, "TCP"}}},
		"IPv6 and port":     {Node{Endpoint: "[2001:db8::1]:80"}, []string{"2001:db8::1"}, []Port{{"", 80, "TCP"}}},
		"addresses and ports win": {
			Node{Endpoint: "http://example.com", Addresses: []string{"10.0.0.5", "2001:db8::1", "10.0.0.5"}, Ports: []Port{{"dns", 53, "udp"}, {"", 80, ""}, {"", 80, "TCP"}}},
			[]string{"10.0.0.5", "2001:db8::1"}, []Port{{"dns", 53, "UDP"}, {"", 80, "TCP"}},
		},
		"the endpoint's port":     {Node{Endpoint: "http://example.com", Addresses: []string{"10.0.0.5"}}, []string{"10.0.0.5"}, []Port{{"http", 80, "TCP"}}},
		"the endpoint's host":     {Node{Endpoint: "10.0.0.5", Ports: []Port{{"http", 8080, "TCP"}}}, []string{"10.0.0.5"}, []Port{{"http", 8080, "TCP"}}},
		"an IPv4 address in IPv6": {Node{Endpoint: "[::ffff:10.0.0.5]:1"}, []string{"10.0.0.5"}, []Port{{"", 1, "TCP"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			addrs, ports, err := tt.node.Reach()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, a := range addrs {
				got = append(got, a.String())
			}
			if diff := cmp.Diff(tt.addrs, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.ports, ports); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReachErrors(t *testing.T) {
	port := []Port{{Port: 80}}
	tests := map[string]struct {
		node Node
		want Reason
	}{
		"nothing":               {Node{}, ReasonMissingAddress},
		"only ports":            {Node{Ports: port}, ReasonMissingAddress},
		"only addresses":        {Node{Addresses: []string{"10.0.0.1"}}, ReasonMissingPort},
		"an address alone":      {Node{Endpoint: "10.0.0.1"}, ReasonMissingPort},
		"an IPv6 address alone": {Node{Endpoint: "::1"}, ReasonMissingPort},
		"a scheme without port": {Node{Endpoint: "tcp://10.0.0.1"}, ReasonMissingPort},
		"a host name":           {Node{Endpoint: "http://web-1.example.com"}, ReasonAddressNotIP},
		"a host name and port":  {Node{Endpoint: "localhost:80"}, ReasonAddressNotIP},
		"a host name among IPs": {Node{Addresses: []string{"10.0.0.1", "db_1"}, Ports: port}, ReasonAddressNotIP},
		"a broken address":      {Node{Endpoint: "http://10.0.0.256"}, ReasonInvalidAddress},
		"an empty address":      {Node{Addresses: []string{""}, Ports: port}, ReasonInvalidAddress},
		"a prefix":              {Node{Addresses: []string{"10.0.0.0/8"}, Ports: port}, ReasonInvalidAddress},
		"a zone":                {Node{Endpoint: "http://[fe80::1%25eth0]:80"}, ReasonInvalidAddress},
		"port 0":                {Node{Endpoint: "10.0.0.1:0"}, ReasonInvalidPort},
		"port 65536":            {Node{Endpoint: "http://10.0.0.1:65536"}, ReasonInvalidPort},
		"a negative port":       {Node{Addresses: []string{"10.0.0.1"}, Ports: []Port{{Port: -1}}}, ReasonInvalidPort},
		"an unknown protocol":   {Node{Addresses: []string{"10.0.0.1"}, Ports: []Port{{Port: 1, Protocol: "ICMP"}}}, ReasonInvalidPort},
		"a name taken twice":    {Node{Addresses: []string{"10.0.0.1"}, Ports: []Port{{"a", 1, ""}, {"a", 2, ""}}}, ReasonInvalidPort},
		"no host":               {Node{Endpoint: "http:///path"}, ReasonInvalidEndpoint},
		"no host but a port":    {Node{Endpoint: ":80"}, ReasonInvalidEndpoint},
		"a word":                {Node{Endpoint: "web"}, ReasonInvalidEndpoint},
		"a user":                {Node{Endpoint: "https://u:p@10.1.2.3"}, ReasonInvalidEndpoint},
		"a user, no scheme":     {Node{Endpoint: "u:p@10.1.2.3:80"}, ReasonInvalidEndpoint},
		"a broken URL":          {Node{Endpoint: "http://[::1"}, ReasonInvalidEndpoint},
		"too many addresses":    {Node{Addresses: make([]string, 101), Ports: port}, ReasonInvalidAddress},
		"too many ports":        {Node{Addresses: []string{"10.0.0.1"}, Ports: make([]Port, 101)}, ReasonInvalidPort},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, _, err := tt.node.Reach(); reasonOf(err) != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func FuzzReach(f *testing.F) {
	f.Add("http://10.1.2.3:5001", "", 0, "")
	f.Add("[::ffff:1.2.3.4]:80", "fe80::1%eth0", 80, "udp")
	f.Add("://", "host", -1, "x")
	f.Add("http://[fe80::1%25eth0]:80", "10.0.0.1", 65536, "")
	f.Fuzz(func(t *testing.T, endpoint, address string, port int, protocol string) {
		n := Node{Endpoint: endpoint}
		if address != "" {
			n.Addresses = []string{address}
		}
		if port != 0 {
			n.Ports = []Port{{Port: port, Protocol: protocol}}
		}
		addrs, ports, err := n.Reach()
		if err != nil {
			if reasonOf(err) == "" {
				t.Fatalf("%v has no reason", err)
			}
			return
		}
		if len(addrs) == 0 || len(ports) == 0 {
			t.Fatalf("%+v is reached nowhere", n)
		}
		for _, a := range addrs {
			if !a.IsValid() || a.Is4In6() || a.Zone() != "" {
				t.Errorf("%v", a)
			}
		}
		for _, p := range ports {
			if p.Port < 1 || p.Port > 65535 || p.Protocol == "" {
				t.Errorf("%+v", p)
			}
		}
	})
}

func TestKey(t *testing.T) {
	valid := []string{"n1", "a.b.c", "A-Z_0=/9", strings.Repeat("x", MaxKeyLength-len("node."))}
	for _, id := range valid {
		key, err := Key("node.", id)
		if err != nil || key != "node."+id {
			t.Errorf("%.20q: got %.20q, %v", id, key, err)
		}
	}
	invalid := []string{"", ".", ".a", "a.", "a..b", "a b", "a*", ">", "ä", "a\x00", strings.Repeat("x", MaxKeyLength)}
	for _, id := range invalid {
		if _, err := Key("node.", id); !errors.Is(err, ErrInvalidID) {
			t.Errorf("%.20q: got %v", id, err)
		}
	}
	if _, err := Key(".x", "a"); !errors.Is(err, ErrInvalidID) {
		t.Errorf("a prefix with a leading dot: got %v", err)
	}
	if key, err := Key("", "a"); key != "a" || err != nil {
		t.Errorf("an empty prefix: got %q, %v", key, err)
	}
}

func TestReachIsPure(t *testing.T) {
	n := Node{Addresses: []string{"10.0.0.1"}, Ports: []Port{{Port: 1, Protocol: "tcp"}}}
	if _, _, err := n.Reach(); err != nil {
		t.Fatal(err)
	}
	want := Node{Addresses: []string{"10.0.0.1"}, Ports: []Port{{Port: 1, Protocol: "tcp"}}}
	if diff := cmp.Diff(want, n, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
}
