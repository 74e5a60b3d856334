package dial

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

// replay is a server for nats.go that lets it log in, and then sends what a test has it send.
type replay struct {
	net.Conn

	greeting, sends []byte
	piece           int
	subscribed      chan struct{}
}

func (r *replay) Dial(_, _ string) (net.Conn, error) { return r, nil }

func (r *replay) Read(p []byte) (int, error) {
	if len(r.greeting) > 0 {
		n := copy(p, r.greeting)
		r.greeting = r.greeting[n:]
		return n, nil
	}
	<-r.subscribed
	if len(r.sends) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.sends[:min(r.piece, len(r.sends))])
	r.sends = r.sends[n:]
	return n, nil
}

func (*replay) Write(p []byte) (int, error)      { return len(p), nil }
func (*replay) Close() error                     { return nil }
func (*replay) SetDeadline(time.Time) error      { return nil }
func (*replay) SetReadDeadline(time.Time) error  { return nil }
func (*replay) SetWriteDeadline(time.Time) error { return nil }

// reading is what somebody makes of what a server sends.
type reading struct {
	Messages []string // of the subscription 1
	Count    int      // of all messages
	Bytes    int
}

// readByNATS returns what nats.go makes of it.
func readByNATS(t *testing.T, sends string, piece int) reading {
	t.Helper()
	r := &replay{greeting: []byte("INFO {\"headers\":true}\r\nPONG\r\n"), sends: []byte(sends), piece: piece, subscribed: make(chan struct{})}
	closed := make(chan struct{})
	nc, err := nats.Connect("nats://127.0.0.1:1", nats.SetCustomDialer(r), nats.NoReconnect(), nats.PingInterval(0),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	messages := make(chan *nats.Msg, len(sends)) // Room for all: what does not fit is dropped.
	if _, err := nc.ChanSubscribe("a", messages); err != nil {
		t.Fatal(err)
	}
	close(r.subscribed)
	<-closed
	got := reading{Count: int(nc.Stats().InMsgs), Bytes: int(nc.Stats().InBytes)}
	for len(messages) > 0 {
		m := <-messages
		got.Messages = append(got.Messages, fmt.Sprintf("%q %q %q", m.Subject, m.Reply, m.Data))
	}
	return got
}

// read returns what the text means: each line that announces a message is followed by that message. It ends before an error
// with which nats.go closes the connection.
func read(all string) (want reading, meant string) {
	for text := all; text != ""; {
		meant = all[:len(all)-len(text)]
		line, rest, _ := strings.Cut(text, "\r\n")
		text = rest
		verb, args, _ := strings.Cut(line, " ")
		fields := strings.Split(args, " ")
		headers := 0
		switch verb {
		case "MSG":
		case "HMSG":
			headers, _ = strconv.Atoi(fields[len(fields)-2])
			fields = append(fields[:len(fields)-2], fields[len(fields)-1])
		case "-ERR":
			if !strings.HasPrefix(strings.ToLower(args), "'permissions violation") {
				return want, meant
			}
			continue
		default:
			continue
		}
		size, _ := strconv.Atoi(fields[len(fields)-1])
		if len(text) < size+1 {
			return want, all // It was cut off.
		}
		want.Count++
		want.Bytes += size
		if sid, _ := strconv.Atoi(fields[1]); sid == 1 {
			reply := ""
			if len(fields) == 4 {
				reply = fields[2]
			}
			want.Messages = append(want.Messages, fmt.Sprintf("%q %q %q", fields[0], reply, text[headers:size]))
		}
		text = strings.TrimPrefix(text[size:], "\r\n")
		text = strings.TrimPrefix(text, "\r")
	}
	return want, all
}

// Whatever the stream lets pass means to nats.go what it means to a reader of the protocol, however it arrives.
func FuzzStreamAgainstNATS(f *testing.F) {
	for i, text := range accepted {
		f.Add([]byte(text), i)
	}
	f.Add([]byte(strings.Join(accepted, "")), 3)
	f.Add([]byte("MSG a 1 99999999999999999\r\nMSG a 1 1\r\nx\r\n"), 5)
	f.Add([]byte("INFO {\"connect_urls\":[\"a:1\"]}\r\nMSG a 1 2\r\nPI\r\nPING\r\n-ERR 'x'\r\nMSG a 1 1\r\n1\r\n"), 1)
	f.Fuzz(func(t *testing.T, sends []byte, piece int) {
		piece = 1 + int(uint(piece)%5000)
		passed, _ := through(string(sends), piece, 1<<15)
		if whole, _ := through(string(sends), len(sends)+1, 1<<15); !strings.HasPrefix(whole, passed) && !strings.HasPrefix(passed, whole) {
			t.Fatalf("what passes depends on how it arrives:\n%q\n%q", passed, whole)
		}
		want, meant := read(passed)
		if diff := cmp.Diff(want, readByNATS(t, meant, piece)); diff != "" {
			t.Errorf("%q:\n%s", passed, diff)
		}
	})
}
