package kv

import (
	"errors"
	"strings"
)

// ErrInvalidKey is the error for a key prefix that no key of NATS Key-Value can start with.
var ErrInvalidKey = errors.New("invalid key")

// ValidKey reports whether clients accept the key: letters, digits and -/_=. without a dot at either end or two in a row.
func ValidKey(key string) bool {
	return key != "" && ValidKeyPrefix(key) && !strings.HasSuffix(key, ".")
}

// ValidKeyPrefix reports whether a valid key may start with prefix.
func ValidKeyPrefix(prefix string) bool {
	return !strings.HasPrefix(prefix, ".") && !strings.Contains(prefix, "..") && strings.IndexFunc(prefix, notInKey) < 0
}

func notInKey(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("-/_=.", r)
}

func validBucket(name string) bool {
	return name != "" && strings.IndexFunc(name, func(r rune) bool { return notInKey(r) || strings.ContainsRune("/=.", r) }) < 0
}
