package kv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// result is the end of a write.
type result struct {
	revision uint64
	err      error
}

// putBy is Put, and waits for the end.
func putBy(t testing.TB, w *Writer, key, value string, after uint64) result {
	t.Helper()
	return await(t, func(done func(uint64, error)) { w.Put(key, []byte(value), after, done) })
}

func await(t testing.TB, do func(func(uint64, error))) result {
	t.Helper()
	results := make(chan result, 2)
	do(func(revision uint64, err error) { results <- result{revision, err} })
	select {
	case r := <-results:
		return r
	case <-time.After(natstest.Patience):
		t.Fatal("a write has no end")
		return result{}
	}
}

func newWriter(t testing.TB, nc *nats.Conn, o WriterOptions) *Writer {
	t.Helper()
	if _, _, err := EnsureBucket(t.Context(), nc, BucketConfig{Name: o.Bucket, TTL: time.Minute, History: 1, Create: true, Domain: o.Domain}); err != nil {
		t.Fatal(err)
	}
	w, err := NewWriter(nc, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func TestWriterIsGuarded(t *testing.T) {
	w := newWriter(t, natstest.Start(t).Connect(t), WriterOptions{Bucket: "b"})
	first := putBy(t, w, "k", "1", 0)
	if first.err != nil || first.revision == 0 {
		t.Fatalf("the first write: %+v", first)
	}
	if r := putBy(t, w, "k", "2", 0); !errors.Is(r.err, ErrOvertaken) {
		t.Errorf("a write over nothing, where there is something: %+v", r)
	}
	second := putBy(t, w, "k", "2", first.revision)
	if second.err != nil {
		t.Errorf("a write over the last revision: %+v", second)
	}
	if r := await(t, func(done func(uint64, error)) { w.Delete("k", first.revision, done) }); !errors.Is(r.err, ErrOvertaken) {
		t.Errorf("a removal of an old revision: %+v", r)
	}
	if r := await(t, func(done func(uint64, error)) { w.Delete("k", 0, done) }); !errors.Is(r.err, ErrNotRegistered) {
		t.Errorf("a removal of no revision: %+v", r)
	}
	if e, err := w.Last(t.Context(), "k"); err != nil || e.Revision != second.revision || string(e.Value) != "2" {
		t.Errorf("the last message is %+v, %v", e, err)
	}
	if r := await(t, func(done func(uint64, error)) { w.Delete("k", second.revision, done) }); r.err != nil {
		t.Errorf("a removal: %+v", r)
	}
	if e, err := w.Last(t.Context(), "none"); err != nil || e.Revision != 0 {
		t.Errorf("the last message of no key is %+v, %v", e, err)
	}
	if r := putBy(t, w, "k", strings.Repeat("x", 2<<20), 0); !errors.Is(r.err, ErrTooLarge) {
		t.Errorf("a message over the server's limit: %+v", r)
	}
}

func TestWriterReachesAnotherDomain(t *testing.T) {
	s := natstest.Start(t, func(o *natstest.Options) { o.Domain = "hub" })
	w := newWriter(t, s.Connect(t), WriterOptions{Bucket: "b", Domain: "hub"})
	if r := putBy(t, w, "k", "1", 0); r.err != nil {
		t.Errorf("a write: %+v", r)
	}
	if got := w.Subject("k"); got != "$JS.hub.API.$KV.b.k" {
		t.Errorf("the subject is %s", got)
	}
}

func TestWriterOutages(t *testing.T) {
	s := natstest.Start(t)
	proxy := natstest.StartProxy(t, s)
	nc, err := nats.Connect(proxy.URL(), ConnectOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	w := newWriter(t, nc, WriterOptions{Bucket: "b", Timeout: 500 * time.Millisecond, Window: 2})
	proxy.Freeze()
	began := time.Now()
	if r := putBy(t, w, "k", "1", 0); !errors.Is(r.err, ErrNoAnswer) || time.Since(began) > 2*time.Second {
		t.Errorf("a write into a frozen connection: %+v after %s", r, time.Since(began))
	}
	proxy.Cut()
	natstest.Eventually(t, func() error {
		if r := putBy(t, w, "k", "1", 0); !errors.Is(r.err, ErrConnectionLost) {
			return fmt.Errorf("a write without a connection: %+v", r)
		}
		return nil
	})
	proxy.Heal()
	natstest.Eventually(t, func() error {
		e, err := w.Last(context.Background(), "k")
		if err != nil {
			return err
		}
		return putBy(t, w, "k", "2", e.Revision).err
	})
	if _, err := w.Last(t.Context(), "k"); err != nil {
		t.Error(err)
	}
	js, err := newJetStream(nc, apiPrefix("", ""))
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if r := putBy(t, w, "k", "3", 0); !errors.Is(r.err, ErrUnavailable) {
		t.Errorf("a write without a bucket: %+v", r)
	}
}

// stuck is a way to the server that has no room for more than a ping once err is set.
type stuck struct {
	net.Conn

	err *atomic.Pointer[error]
}

func (s stuck) Write(b []byte) (int, error) {
	if err := s.err.Load(); err != nil && len(b) > 1<<10 {
		return 0, *err
	}
	return s.Conn.Write(b)
}

// stucker dials the server of a test.
type stucker struct{ err atomic.Pointer[error] }

func (s *stucker) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	s.err.Store(nil)
	return stuck{c, &s.err}, nil
}

// What the network refuses is no refusal of the server's. The client drops what it had to send then, so it is to connect anew
// even if nothing else fails.
func TestWriterLeavesAStuckConnection(t *testing.T) {
	for name, failure := range map[string]error{
		"full":  &net.OpError{Op: "write", Net: "tcp", Err: os.ErrDeadlineExceeded},
		"reset": &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.ECONNRESET)},
	} {
		t.Run(name, func(t *testing.T) {
			dialer := &stucker{}
			nc, err := nats.Connect(natstest.Start(t).URL(), append(ConnectOptions(), nats.SetCustomDialer(dialer))...)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			w := newWriter(t, nc, WriterOptions{Bucket: "b"})
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
			dialer.err.Store(&failure)
			// The client writes at once what is larger than its buffer.
			if r := putBy(t, w, "k", strings.Repeat("1", 64<<10), 0); !errors.Is(r.err, ErrConnectionLost) {
				t.Errorf("the write ends with %v", r.err)
			}
			natstest.Eventually(t, func() error {
				if nc.Stats().Reconnects == 0 {
					return errors.New("the connection is the same")
				}
				return nil
			})
			natstest.Eventually(t, func() error {
				e, err := w.Last(t.Context(), "k")
				if err != nil {
					return err
				}
				return putBy(t, w, "k", "2", e.Revision).err
			})
		})
	}
}

func TestWriterClose(t *testing.T) {
	s := natstest.Start(t)
	proxy := natstest.StartProxy(t, s)
	nc, err := nats.Connect(proxy.URL(), ConnectOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	w := newWriter(t, nc, WriterOptions{Bucket: "b", Timeout: time.Minute, Window: 1})
	proxy.Freeze()
	results := make(chan error, 3)
	done := func(_ uint64, err error) { results <- err }
	w.Put("a", nil, 0, done)
	go w.Put("b", nil, 0, done) // It waits for the first.
	w.Close()
	w.Close()
	w.Put("c", nil, 0, done)
	for range 3 {
		if err := <-results; !errors.Is(err, ErrWriterClosed) {
			t.Errorf("a write of a closed writer ends with %v", err)
		}
	}
	proxy.Heal()
}
