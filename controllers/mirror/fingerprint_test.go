package mirror

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

func someFacts() *facts {
	return &facts{
		id: "web-1", displayName: "web 1", zone: "eu-1a", origin: "external",
		addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")},
		ports:     []Port{{Name: "http", Port: 80, Protocol: "TCP"}},
		metadata:  map[string]string{"role": "web", "rack": "7"},
		labels:    map[string]string{"role": "web"},
		remarks:   []string{"one", "two"},
		verdict:   fault{rollcallv1alpha1.ReasonAddressRefused, "no"},
	}
}

// Facts that differ in anything that a projection shows have different fingerprints.
func TestFingerprint(t *testing.T) {
	seen := map[fingerprint]string{fingerprintOf(someFacts()): "nothing"}
	for name, change := range map[string]func(f *facts){
		"id":                 func(f *facts) { f.id = "web-2" },
		"display name":       func(f *facts) { f.displayName = "" },
		"zone":               func(f *facts) { f.zone = "eu-1b" },
		"origin":             func(f *facts) { f.origin = "a" },
		"strings that moved": func(f *facts) { f.displayName, f.zone = f.displayName+f.zone, "" },
		"anonymous":          func(f *facts) { f.anonymous = true },
		"draining":           func(f *facts) { f.draining = true },
		"fault":              func(f *facts) { f.fault = f.verdict },
		"verdict":            func(f *facts) { f.verdict.message = "never" },
		"address":            func(f *facts) { f.addresses[1] = netip.MustParseAddr("10.0.0.3") },
		"mapped address":     func(f *facts) { f.addresses[1] = netip.MustParseAddr("::ffff:10.0.0.2") },
		"order of addresses": func(f *facts) { slices.Reverse(f.addresses) },
		"fewer addresses":    func(f *facts) { f.addresses = f.addresses[:1] },
		"port":               func(f *facts) { f.ports[0].Port = 81 },
		"port name":          func(f *facts) { f.ports[0].Name = "web" },
		"protocol":           func(f *facts) { f.ports[0].Protocol = "UDP" },
		"no port":            func(f *facts) { f.ports = nil },
		"metadata":           func(f *facts) { f.metadata["rack"] = "8" },
		"metadata that swap": func(f *facts) { f.metadata["rack"], f.metadata["role"] = "web", "7" },
		"less metadata":      func(f *facts) { delete(f.metadata, "rack") },
		"empty metadata":     func(f *facts) { f.metadata["rack"] = "" },
		"label":              func(f *facts) { f.labels["role"] = "db" },
		"a label more":       func(f *facts) { f.labels["rack"] = "7" },
		"remarks":            func(f *facts) { f.remarks = []string{"onetwo"} },
	} {
		f := someFacts()
		change(f)
		sum := fingerprintOf(f)
		if other, taken := seen[sum]; taken {
			t.Errorf("%s and %s make no difference", name, other)
		}
		seen[sum] = name
	}
}

// Facts that say the same have the same fingerprint, wherever they are in memory.
func TestFingerprintOfTheSame(t *testing.T) {
	want := fingerprintOf(someFacts())
	for range 100 {
		f := someFacts()
		f.metadata = map[string]string{}
		maps.Copy(f.metadata, someFacts().metadata)
		f.remarks = slices.Clone(f.remarks)
		if fingerprintOf(f) != want {
			t.Fatal("the same facts have two fingerprints")
		}
	}
}
