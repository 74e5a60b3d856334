package manager

import (
	"runtime/debug"
	"testing"
)

// TestMemoryLimit: the garbage collector keeps to nine tenths of the limit, and lets there be more garbage, unless an administrator
// has said otherwise.
func TestMemoryLimit(t *testing.T) {
	unlimited := debug.SetMemoryLimit(-1)
	percent := debug.SetGCPercent(100)
	defer debug.SetGCPercent(percent)
	for name, tt := range map[string]struct {
		limit        int64
		memory, gogc string
		want         int64
		wantPercent  int
	}{
		"no limit":        {0, "", "", unlimited, 100},
		"a limit":         {1 << 30, "", "", 1 << 30 / 10 * 9, 200},
		"another limit":   {1 << 30, "512MiB", "", unlimited, 100},
		"turned off":      {1 << 30, "off", "", unlimited, 100},
		"another percent": {1 << 30, "", "50", 1 << 30 / 10 * 9, 100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOMEMLIMIT", tt.memory)
			t.Setenv("GOGC", tt.gogc)
			debug.SetGCPercent(100)
			defer debug.SetMemoryLimit(unlimited)
			o := Options{MemoryLimit: tt.limit}
			o.limitMemory()
			if got := debug.SetMemoryLimit(-1); got != tt.want {
				t.Errorf("it keeps to %d bytes, not to %d", got, tt.want)
			}
			if got := debug.SetGCPercent(100); got != tt.wantPercent {
				t.Errorf("there may be %d %% of garbage, not %d", got, tt.wantPercent)
			}
		})
	}
}
