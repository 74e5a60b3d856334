package registry

import (
	"fmt"
	"strings"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// leastValueSize is the least MaxValueSize in bytes that leaves room for a short record. The server counts the headers
// as well, and its own markers need 72 bytes.
const leastValueSize = 128

// The names of kv.Difference that warnings tells more about.
const (
	settingTTL     = "TTL"
	settingMarkers = "Markers"
)

// settings says how the bucket differs from the spec and what it lacks; empty if there is nothing to say. An existing
// bucket is never altered.
func (o *observation) settings() string {
	var parts []string
	b := &o.mirror.Bucket
	for _, d := range o.session.differences {
		if d.Setting != settingMarkers && (d.Setting != settingTTL || b.TTL > 0) {
			parts = append(parts, fmt.Sprintf("%s is %s, not %s", d.Setting, d.Got, d.Want))
		}
	}
	if len(parts) > 0 {
		parts = []string{"the bucket exists with other settings, which are in force: " + strings.Join(parts, ", ")}
	}
	if b.Name != "" {
		parts = append(parts, warnings(b)...)
	}
	return strings.Join(parts, "; ")
}

// warnings says what a bucket lacks, and what follows from it.
func warnings(b *kv.Bucket) []string {
	var all []string
	if b.TTL == 0 {
		all = append(all, "the bucket has no TTL: a node that dies without unregistering stays until somebody deletes its key")
	}
	switch {
	case b.TTL == 0 || b.Markers:
	case oldServer(b.ServerVersion):
		all = append(all, fmt.Sprintf("the NATS server %s is older than 2.11 and writes no marker when a key passes its TTL: "+
			"Rollcall times nodes out by itself, but other readers of the bucket don't hear of it", b.ServerVersion))
	default:
		all = append(all, "the bucket is set to have no marker written when a key passes its TTL: "+
			"Rollcall times nodes out by itself, but other readers of the bucket don't hear of it")
	}
	if size := b.MaxValueSize; size > 0 && size < leastValueSize {
		text := fmt.Sprintf("the bucket takes values of at most %d bytes, headers included: most records are larger, and the server refuses them", size)
		if b.Markers {
			text += "; it may refuse its own markers too, and then no key ever passes its TTL"
		}
		all = append(all, text)
	}
	return all
}

// oldServer reports whether a server of that version knows no markers. A version that can't be read counts as new.
func oldServer(version string) bool {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major < 2 || (major == 2 && minor < 11)
}
