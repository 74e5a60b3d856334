package hostile

import (
	"bufio"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// bait is a listener to which a script lures its clients, and which keeps what they send.
type bait struct {
	listener net.Listener
	done     sync.WaitGroup

	mu     sync.Mutex
	caught []string
}

func layBait(t testing.TB, host string) *bait {
	t.Helper()
	listener, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	b := &bait{listener: listener}
	b.done.Go(b.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		b.done.Wait()
	})
	return b
}

func (b *bait) address() string { return b.listener.Addr().String() }

func (b *bait) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.caught)
}

func (b *bait) accept() {
	for {
		c, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.done.Go(func() { b.take(c) })
	}
}

// take keeps the first line that comes, or that there was a connection.
func (b *bait) take(c net.Conn) {
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	_, _ = c.Write([]byte("INFO " + plainInfo + "\r\n"))
	line, _ := bufio.NewReader(c).ReadString('\n')
	b.mu.Lock()
	defer b.mu.Unlock()
	b.caught = append(b.caught, c.LocalAddr().String()+": "+line)
}
