package natstest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// The ports that are given out: below those that systems take by themselves, for connections and for listeners that ask for
// any. Nobody else comes by one between the moment at which it is found free and that at which it is taken, nor while a server
// is down that comes back.
const firstPort, lastPort = 20_000, 32_000

var ports = struct {
	sync.Mutex
	next int
}{next: firstPort + rand.IntN(lastPort-firstPort)} //nolint:gosec // Ports are no secret.

// FreePorts returns n ports of the loopback interface that are free, none of them twice.
func FreePorts(n int) ([]int, error) {
	ports.Lock()
	defer ports.Unlock()
	var free []int
	for range lastPort - firstPort {
		if len(free) == n {
			return free, nil
		}
		if ports.next++; ports.next >= lastPort {
			ports.next = firstPort
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", ports.next)); err == nil {
			_ = l.Close()
			free = append(free, ports.next)
		}
	}
	return nil, errors.New("natstest: there is no free port")
}

// FreeAddress returns an address of the loopback interface on which nobody listens, see [FreePorts].
func FreeAddress(t testing.TB) string {
	t.Helper()
	free, err := FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", free[0])
}
