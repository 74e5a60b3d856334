package kv

import (
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// What is beyond the bound is dropped, be it large or very many empty messages with headers.
func TestInboxIsBounded(t *testing.T) {
	s := natstest.Start(t)
	own, err := nats.Connect(s.URL(), ConnectOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	other, err := nats.Connect(s.URL(), append(ConnectOptions(), nats.SetCustomDialer(&net.Dialer{}))...)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for name, test := range map[string]struct {
		nc      *nats.Conn
		message *nats.Msg
		most    int
	}{
		"large":          {own, &nats.Msg{Data: make([]byte, 1<<20)}, 7},
		"empty":          {own, &nats.Msg{}, maxPending / leastWeight},
		"headers":        {own, &nats.Msg{Header: nats.Header{"a": nil, "b": nil}}, maxPending / (leastWeight + 2*headerWeight)},
		"another dialer": {other, &nats.Msg{Data: make([]byte, 1<<20)}, 63},
	} {
		in := newInbox(test.nc, make(chan struct{}, 1))
		for range test.most + 100 {
			in.add(test.message)
		}
		pending := in.Pending()
		taken := in.take(time.Now())
		if got := len(taken); got > test.most || got < test.most*9/10 || pending > in.most {
			t.Errorf("%s: %d messages, %d bytes are kept, want up to %d", name, got, pending, test.most)
		}
		in.done(taken)
		in.give(taken)
		if in.add(test.message); len(in.take(time.Now())) != 1 || in.Pending() != weight(test.message) {
			t.Errorf("%s: once it is worked off, %d bytes are pending", name, in.Pending())
		}
		in.close()
	}
}
