package faults

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// wallClock is the wall clock of processes: it may be wrong, and step while they run. Their monotonic clock is right.
type wallClock struct {
	t *testing.T
	// shared has how many seconds the clock is off; the processes have it in their memory.
	shared *os.File
	off    time.Duration
}

func newWallClock(t *testing.T) *wallClock {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "off"))
	must(t, err)
	t.Cleanup(func() { _ = file.Close() })
	c := &wallClock{t: t, shared: file}
	c.step(0)
	return c
}

// step moves the clock.
func (c *wallClock) step(by time.Duration) {
	c.t.Helper()
	c.off += by
	_, err := c.shared.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(int64(c.off/time.Second))), 0)
	must(c.t, err)
}

// env are the variables of a process that has this clock, if it was built by build.
func (c *wallClock) env() []string { return []string{clockVariable + "=" + c.shared.Name()} }

// clockVariable names the file that says how far off the clock is.
const clockVariable = "ROLLCALL_FAULTS_CLOCK"

// build builds a program in which time.Now adds what the clock is off.
func (c *wallClock) build(program string) string {
	c.t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	must(c.t, err)
	original := filepath.Join(strings.TrimSpace(string(out)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	must(c.t, err)
	const now = "\tsec, nsec, mono := runtimeNow()\n"
	if !strings.Contains(string(source), now) {
		c.t.Fatalf("%s reads the clock in another way", original)
	}
	dir := c.t.TempDir()
	changed, added := filepath.Join(dir, "time.go"), filepath.Join(dir, "off.go")
	must(c.t, os.WriteFile(changed, []byte(strings.ReplaceAll(string(source), now, now+"\tsec += clockOff.Load()\n")), 0o600))
	must(c.t, os.WriteFile(added, []byte(fmt.Sprintf(addedToTime, clockVariable)), 0o600))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		original: changed, filepath.Join(filepath.Dir(original), "rollcall_off.go"): added,
	}})
	must(c.t, err)
	file := filepath.Join(dir, "overlay.json")
	must(c.t, os.WriteFile(file, overlay, 0o600))
	return build(c.t, program, "-overlay", file)
}

// addedToTime is a file of package time.
const addedToTime = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var clockOff = func() *atomic.Int64 {
	name, _ := syscall.Getenv(%q)
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("open the clock: " + err.Error())
	}
	shared, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("map the clock: " + err.Error())
	}
	return (*atomic.Int64)(unsafe.Pointer(&shared[0]))
}()
`
