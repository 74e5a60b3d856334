package record

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

func someFacts() *Facts {
	return &Facts{
		ID: "web-1", DisplayName: "web 1", Zone: "eu-1a", Origin: "external",
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")},
		Ports:     []Port{{Name: "http", Port: 80, Protocol: "TCP"}},
		Metadata:  map[string]string{"role": "web", "rack": "7"},
		Notes:     []string{"one", "two"},
		Failing:   []string{"spec.record.zone"},
		Refusal:   Fault{rollcallv1alpha1.ReasonInvalidRecord, "no"},
	}
}

// Facts that differ in anything that a message says have different fingerprints.
func TestFingerprint(t *testing.T) {
	seen := map[fingerprint]string{fingerprintOf(someFacts(), false): "nothing"}
	for name, change := range map[string]func(f *Facts){
		"id":                 func(f *Facts) { f.ID = "web-2" },
		"display name":       func(f *Facts) { f.DisplayName = "" },
		"zone":               func(f *Facts) { f.Zone = "eu-1b" },
		"origin":             func(f *Facts) { f.Origin = "a" },
		"strings that moved": func(f *Facts) { f.DisplayName, f.Zone = f.DisplayName+f.Zone, "" },
		"anonymous":          func(f *Facts) { f.Anonymous = true },
		"draining":           func(f *Facts) { f.Draining = true },
		"no refusal":         func(f *Facts) { f.Refusal = Fault{} },
		"refusal":            func(f *Facts) { f.Refusal.Message = "never" },
		"address":            func(f *Facts) { f.Addresses[1] = netip.MustParseAddr("10.0.0.3") },
		"mapped address":     func(f *Facts) { f.Addresses[1] = netip.MustParseAddr("::ffff:10.0.0.2") },
		"order of addresses": func(f *Facts) { slices.Reverse(f.Addresses) },
		"fewer addresses":    func(f *Facts) { f.Addresses = f.Addresses[:1] },
		"port":               func(f *Facts) { f.Ports[0].Port = 81 },
		"port name":          func(f *Facts) { f.Ports[0].Name = "web" },
		"protocol":           func(f *Facts) { f.Ports[0].Protocol = "UDP" },
		"no port":            func(f *Facts) { f.Ports = nil },
		"metadata":           func(f *Facts) { f.Metadata["rack"] = "8" },
		"metadata that swap": func(f *Facts) { f.Metadata["rack"], f.Metadata["role"] = "web", "7" },
		"less metadata":      func(f *Facts) { delete(f.Metadata, "rack") },
		"empty metadata":     func(f *Facts) { f.Metadata["rack"] = "" },
		"notes":              func(f *Facts) { f.Notes = []string{"onetwo"} },
		"another expression": func(f *Facts) { f.Failing = []string{"spec.record.metadata"} },
		"no expression":      func(f *Facts) { f.Failing = nil },
	} {
		f := someFacts()
		change(f)
		sum := fingerprintOf(f, false)
		if other, taken := seen[sum]; taken {
			t.Errorf("%s and %s make no difference", name, other)
		}
		seen[sum] = name
	}
}

// Facts that say the same have the same fingerprint, wherever they are in memory.
func TestFingerprintOfTheSame(t *testing.T) {
	want := fingerprintOf(someFacts(), false)
	for range 100 {
		f := someFacts()
		f.Metadata = map[string]string{}
		maps.Copy(f.Metadata, someFacts().Metadata)
		f.Notes = slices.Clone(f.Notes)
		if fingerprintOf(f, false) != want {
			t.Fatal("the same facts have two fingerprints")
		}
	}
}
