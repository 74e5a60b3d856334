package testrig

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Memory returns how much memory a process takes, and the most that it has taken since ForgetMemory, in MiB. It needs Linux.
func Memory(t testing.TB, pid int) (now, most int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	return mebibytes(string(status), "VmRSS:"), mebibytes(string(status), "VmHWM:")
}

func mebibytes(status, name string) int {
	_, rest, _ := strings.Cut(status, name)
	kilobytes, _ := strconv.Atoi(strings.Fields(rest + " 0")[0])
	return kilobytes >> 10
}

// ForgetMemory forgets the most memory that a process has taken, so that what it takes from now on shows.
func ForgetMemory(t testing.TB, pid int) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0o600); err != nil {
		t.Fatal(err)
	}
}
