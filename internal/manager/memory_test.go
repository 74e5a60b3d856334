package manager

import (
	"runtime/debug"
	"testing"
)

// TestMemoryLimit: the garbage collector keeps to nine tenths of the limit, unless an administrator has said otherwise.
func TestMemoryLimit(t *testing.T) {
	unlimited := debug.SetMemoryLimit(-1)
	for name, tt := range map[string]struct {
		limit       int64
		environment string
		want        int64
	}{
		"no limit":   {0, "", unlimited},
		"a limit":    {1 << 30, "", 1 << 30 / 10 * 9},
		"a variable": {1 << 30, "512MiB", unlimited},
		"turned off": {1 << 30, "off", unlimited},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOMEMLIMIT", tt.environment)
			defer debug.SetMemoryLimit(unlimited)
			o := Options{MemoryLimit: tt.limit}
			o.limitMemory()
			if got := debug.SetMemoryLimit(-1); got != tt.want {
				t.Errorf("it keeps to %d bytes, not to %d", got, tt.want)
			}
		})
	}
}
