package dial

import (
	"net/netip"
	"testing"
)

func TestPolicyRefusesWhatNobodyAllows(t *testing.T) {
	p, err := ParsePolicy(nil, []netip.Addr{netip.MustParseAddr("10.96.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{
		"127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::127.0.0.1", "64:ff9b:1::127.0.0.1",
		"64:ff9b:1:7f00:0:100::", "64:ff9b:1:7f:0:1::", "64:ff9b:1:0:7f:0:100:0", "::127.0.0.1", "::ffff:0:127.0.0.1",
		"fe80::5efe:127.0.0.1", "2001:db8::5efe:127.0.0.1", "2001:db8::200:5efe:127.0.0.1", "2001:0:0:0:0:0:80ff:fffe",
		"2001:0:7f00:1::", "0.0.0.0", "0.1.2.3", "::", "169.254.169.254", "169.254.170.2", "fe80::1", "fe80::1%eth0",
		"fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "::ffff:169.254.169.254",
		"64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1", "64:ff9b::100.100.100.200", "224.0.0.1", "ff02::1", "255.255.255.255",
		"240.0.0.1", "10.96.0.1", "::ffff:10.96.0.1", "64:ff9b::10.96.0.1", "2002:a60:1::",
	} {
		if p.allowsAddress(netip.MustParseAddr(a), true) {
			t.Errorf("%s is allowed", a)
		}
	}
	for _, a := range []string{"10.0.0.1", "192.0.2.1", "2001:db8::1", "fd12::1", "64:ff9b::10.0.0.1", "2002:a00:1::", "100.64.0.1"} {
		if !p.allowsAddress(netip.MustParseAddr(a), true) {
			t.Errorf("%s is refused", a)
		}
	}
}

func TestPolicyIsTheOnlyGate(t *testing.T) {
	p, err := ParsePolicy([]string{"Nats.Example.com.", "*.below.example", "10.0.0.0/8", "::1", "127.0.0.7"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{
		"nats.example.com": true, "a.below.example": true, "a.b.below.example": true,
		"below.example": false, "xbelow.example": false, "a.nats.example.com": false, ".below.example": false, "10.0.0.1": false,
	} {
		if got := p.allowsName(host); got != want {
			t.Errorf("%s by name: %v", host, got)
		}
	}
	for _, test := range []struct {
		address string
		named   bool
		want    bool
	}{
		{"192.0.2.1", true, true}, {"192.0.2.1", false, false}, {"10.1.1.1", false, true}, {"::ffff:10.1.1.1", false, true},
		{"::1", false, true}, {"127.0.0.7", false, true}, {"127.0.0.1", true, false}, {"127.0.0.1", false, false},
		{"169.254.169.254", true, false}, {"64:ff9b::127.0.0.7", true, false},
	} {
		if got := p.allowsAddress(netip.MustParseAddr(test.address), test.named); got != test.want {
			t.Errorf("%s, named: %v: %v", test.address, test.named, got)
		}
	}
}

func TestPolicyEntries(t *testing.T) {
	for _, entry := range []string{"", "*", "*.", "a.*.b", "nats://a", "a:4222", "10.0.0.0/33", "10.1", "0x7f000001", "2130706433", "017.0.0.1", "a/b", "fe80::1%eth0", "::ffff:10.0.0.0/104", "a b", "*.*.a"} {
		if _, err := ParsePolicy([]string{entry}, nil); err == nil {
			t.Errorf("%q is taken", entry)
		}
	}
	for _, entry := range []string{"a", "A.b.", "*.b", "10.0.0.1", "[::1]", "10.0.0.1/8", "::/0", " a "} {
		if _, err := ParsePolicy([]string{entry}, nil); err != nil {
			t.Errorf("%q: %v", entry, err)
		}
	}
}

func TestNoPolicyAllowsEverything(t *testing.T) {
	for _, p := range []*Policy{nil, {}} {
		if !p.allowsName("a") || !p.allowsAddress(netip.MustParseAddr("127.0.0.1"), true) {
			t.Error("refused")
		}
	}
}
