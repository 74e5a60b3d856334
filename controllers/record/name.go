package record

import (
	"crypto/sha256"
	"encoding/base32"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// hashLength is the number of characters of a hashed name's suffix: 26 of 5 bits each, 130 bits of SHA-256, so that two
// IDs never share a name in practice.
const hashLength = 26

// suffixLength is the length of a hashed name's "--" and hash.
const suffixLength = 2 + hashLength

var (
	hashEncoding = base32.HexEncoding.WithPadding(base32.NoPadding)
	unfitRunes   = regexp.MustCompile(`[^a-z0-9]+`)
	hashed       = regexp.MustCompile(`--[0-9a-v]{26}$`)
)

// Name returns the name of the DiscoveredNode of a node ID: "<registry>.<id>" where that is a valid name, else
// "<registry>.<sanitised>--<hash>". It is injective: registry names have no dot, and an ID that itself looks like a
// hashed name is hashed too. The registry's name must be a DNS label, so the result is never longer than 253 characters.
func Name(registry, id string) string {
	plain := registry + "." + id
	if !hashed.MatchString(id) && len(validation.IsDNS1123Subdomain(plain)) == 0 {
		return plain
	}
	return registry + "." + sanitised(id, validation.DNS1123LabelMaxLength)
}

// KeyName returns the name of the DiscoveredNode of a key whose node ID is unknown or another one's. No node ID has such
// a name: none holds the character 0.
func KeyName(registry, key string) string {
	return registry + "." + sanitised("\x00"+key, validation.DNS1123LabelMaxLength)
}

// Names returns the names that the DiscoveredNode of a key may have, as far as the key alone tells.
func (p *Policy) Names(registry, key string) []string {
	names := []string{KeyName(registry, key)}
	if id, is := strings.CutPrefix(key, p.KeyPrefix); is && p.reader().KeyHoldsID() {
		names = append(names, Name(registry, id))
	}
	return names
}

// labelValue returns the value as it stands where it is a valid label value, else sanitised and hashed.
func labelValue(value string) string {
	if len(validation.IsValidLabelValue(value)) == 0 {
		return value
	}
	return sanitised(value, validation.LabelValueMaxLength)
}

// sanitised returns "<readable part>--<hash>" of at most that many characters, which starts and ends with a letter or
// digit and holds nothing else but dashes.
func sanitised(id string, length int) string {
	readable := unfitRunes.ReplaceAllString(strings.ToLower(id), "-")
	readable = strings.Trim(readable[:min(len(readable), length-suffixLength)], "-")
	if readable == "" {
		readable = "node"
	}
	sum := sha256.Sum256([]byte(id))
	return readable + "--" + strings.ToLower(hashEncoding.EncodeToString(sum[:]))[:hashLength]
}

// RegistryOf returns the registry's part of a DiscoveredNode's name; empty if the name is none that Name makes.
func RegistryOf(name string) string {
	registry, _, found := strings.Cut(name, ".")
	if !found {
		return ""
	}
	return registry
}
