package hostile

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// sink hands on what it is told.
type sink struct {
	synced  chan struct{}
	entries chan kv.Entry
}

func (sink) Listing(kv.Cause)     {}
func (sink) Absent([]string)      {}
func (sink) Bucket(kv.Bucket)     {}
func (sink) Disconnected(error)   {}
func (s sink) Entry(e kv.Entry)   { s.entries <- e }
func (s sink) Synced(_ kv.Bucket) { s.synced <- struct{}{} }

// A script that goes wrong in one thing has to be believed in the others, or it would not come to that.
func TestBelieved(t *testing.T) {
	a := act{deliver: func(p *peer, c *consumer) {
		_, _ = p.Write(c.entry(nil, "n1", record("n1"), 1, time.Now().UnixNano()))
		_, _ = p.Write(c.deleted(nil, "n1", 2))
		c.beat(p)
	}}
	for scheme, serve := range map[string]func(*Server, net.Conn){"nats": serve(a), "tls": serveSecurely(a), "ws": serveSocket(a)} {
		t.Run(scheme, func(t *testing.T) {
			s := Start(t, Script{Scheme: scheme, serve: serve})
			nc, err := nats.Connect(s.URL(), nats.Secure(trust(t)))
			if scheme != "tls" {
				nc, err = nats.Connect(s.URL())
			}
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			seen := sink{synced: make(chan struct{}, 10), entries: make(chan kv.Entry, 10)}
			w, err := kv.NewWatcher(nc, kv.WatcherOptions{Bucket: "b", KeyPrefix: "node."}, kv.Observe(seen))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- w.Run(ctx) }()
			<-seen.synced
			if e := <-seen.entries; e.Key != "node.n1" || e.Operation != kv.Put || e.Revision != 1 {
				t.Errorf("seen is %+v", e)
			}
			if e := <-seen.entries; e.Key != "node.n1" || e.Operation != kv.Unregister || e.Revision != 2 {
				t.Errorf("seen is %+v", e)
			}
			cancel()
			<-done
			if s.Struck() == 0 || s.Seen() == 0 {
				t.Error("nothing is counted")
			}
		})
	}
}

func trust(t *testing.T) *tls.Config {
	t.Helper()
	ca, err := CA()
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ca))
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
}

func TestBait(t *testing.T) {
	s := Start(t, Script{serve: serve(act{})})
	for _, forbidden := range []bool{false, true} {
		nc, err := nats.Connect("nats://"+s.bait(forbidden), nats.UserInfo("u", "hidden"), nats.Timeout(100*time.Millisecond))
		if err == nil {
			nc.Close()
		}
	}
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for len(s.Caught()) < 2 {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("caught is %q", s.Caught())
		}
	}
}

func TestNames(t *testing.T) {
	names := map[string]bool{}
	for i, s := range Scripts() {
		if names[s.Name+s.Kind] || s.Name == "" || s.Kind == "" || s.serve == nil {
			t.Errorf("script %d has no name, or that of another: %q %q", i, s.Kind, s.Name)
		}
		names[s.Name+s.Kind] = true
	}
	if len(Kinds()) != 12 {
		t.Errorf("the kinds are %q", Kinds())
	}
}
