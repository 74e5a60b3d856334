package dial

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// scripted is a connection to a server that sends what a test has it send, in pieces of a size.
type scripted struct {
	net.Conn

	sends []byte
	piece int
}

func (s *scripted) Read(p []byte) (int, error) {
	if len(s.sends) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.sends[:min(s.piece, len(s.sends))])
	s.sends = s.sends[n:]
	return n, nil
}

func (*scripted) SetReadDeadline(time.Time) error  { return nil }
func (*scripted) SetWriteDeadline(time.Time) error { return nil }
func (*scripted) Close() error                     { return nil }

// through returns what a client gets of it, without the first INFO, and the error at its end.
func through(sends string, piece, buffer int) (string, error) {
	d := newDialer(Options{})
	t := newStream(d, &scripted{sends: []byte(sends), piece: piece}, server{scheme: "nats", host: "a", port: "1"}, &nats.ServerInfo{}, nil, false)
	t.ready = nil
	var got bytes.Buffer
	for p := make([]byte, buffer); ; {
		n, err := t.Read(p)
		got.Write(p[:n])
		if err != nil {
			return got.String(), err
		}
	}
}

var accepted = []string{
	"PING\r\n", "PONG\r\n", "+OK\r\n", "-ERR 'Permissions Violation for Publish to \"a b\"'\r\n",
	"MSG a 1 0\r\n\r\n", "MSG a 1 5\r\nhello\r\n", "MSG a.b 12 _INBOX.x 2\r\n\r\n\r\n", "HMSG a 1 12 17\r\nNATS/1.0\r\n\r\nhello\r\n",
	"HMSG a 1 r 12 12\r\nNATS/1.0\r\n\r\n\r\n", "HMSG a 1 0 3\r\nabc\r\n", "MSG é 1 3\r\n\x00\x01\n\r\n",
	"MSG a 999999999999999999 1\r\nx\r\n", "MSG a 1 40000\r\n" + strings.Repeat("x", 40000) + "\r\n",
	"MSG " + strings.Repeat("s", 60000) + " 1 1\r\nx\r\n",
}

func TestStreamHandsOnWhatServersSend(t *testing.T) {
	for _, text := range append(accepted, strings.Join(accepted, "")) {
		for _, piece := range []int{1, 2, 7, 4096, 1 << 20} {
			for _, buffer := range []int{64, 32 << 10} {
				if got, err := through(text, piece, buffer); got != text || !errors.Is(err, io.EOF) {
					t.Fatalf("%.60q in pieces of %d to %d: %.60q (%d of %d bytes), %v", text, piece, buffer, got, len(got), len(text), err)
				}
			}
		}
	}
}

func TestStreamRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"overflow":            "MSG _INBOX.x 1 99999999999999999\r\n",
		"negative by wrap":    "MSG a 1 18446744073709551615\r\n",
		"too large":           "MSG a 1 4194305\r\n",
		"headers beyond":      "HMSG a 1 13 12\r\n",
		"headers too large":   "HMSG a 1 70000 70001\r\n",
		"sid too long":        "MSG a 1111111111111111111 1\r\n",
		"sid no number":       "MSG a x 1\r\n",
		"no size":             "MSG a 1\r\n",
		"too many":            "MSG a 1 b c 1\r\n",
		"two spaces":          "MSG a  1 1\r\nx\r\n",
		"space at the end":    "MSG a 1 1 \r\nx\r\n",
		"space at the start":  "MSG  a 1 1\r\nx\r\n",
		"tab":                 "MSG\ta 1 1\r\nx\r\n",
		"control":             "MSG a\x00 1 1\r\nx\r\n",
		"cr within":           "MSG a\rb 1 1\r\nx\r\n",
		"lf alone":            "PING\n",
		"lower case":          "ping\r\n",
		"ping with more":      "PING x\r\n",
		"longer than it says": "MSG a 1 1\r\nxy\r\n",
		"no cr behind":        "MSG a 1 1\r\nx\n",
		"two cr":              "MSG a 1 1\r\nx\r\r\n",
		"empty line":          "\r\n",
		"junk":                "HTTP/1.1 400 Bad Request\r\n",
		"endless line":        "MSG " + strings.Repeat("a", 70<<10),
		"endless info":        "INFO {" + strings.Repeat("a", 270<<10),
		"endless error":       "-ERR '" + strings.Repeat("a", 70<<10),
		"long error":          "-ERR '" + strings.Repeat("a", 9<<10) + "'\r\n",
		"empty error":         "-ERR \r\n",
		"error no space":      "-ERR\r\n",
		"bad info":            "INFO {\r\n",
		"info is a list":      "INFO []\r\n",
	} {
		for _, piece := range []int{1, 32 << 10} {
			got, err := through("PING\r\n"+text, piece, 32<<10)
			var broken *Error
			if !errors.As(err, &broken) || broken.Class != Protocol {
				t.Errorf("%s: %v", name, err)
			}
			if len(got) > len("PING\r\nMSG a 1 1\r\nxy\r\n") {
				t.Errorf("%s: %d bytes were handed on", name, len(got))
			}
		}
	}
}

func TestStreamReplacesInfo(t *testing.T) {
	text := `MSG a 1 1` + "\r\nx\r\n" + `INFO {"server_id":"` + strings.Repeat("i", 1000) + `","Connect_URLs":["user:pw@evil:1","b:4222","B.:4222","c/d:1","e:0","127.1:4222","[::1]:4222"],"tls_required":true,"x":"` +
		strings.Repeat("y", 100000) + `"}` + "\r\nPING\r\n"
	want := "MSG a 1 1\r\nx\r\n" + `INFO {"server_id":"` + strings.Repeat("i", maxText) + `","server_name":"","proto":0,"version":"","host":"","port":0,"headers":false,"max_payload":0,"connect_urls":["b:4222","[::1]:4222"]}` + "\r\nPING\r\n"
	for _, piece := range []int{1, 100, 1 << 20} {
		if got, err := through(text, piece, 32<<10); got != want || !errors.Is(err, io.EOF) {
			t.Errorf("pieces of %d: %q, %v", piece, got, err)
		}
	}
}

// What a server advertises is bounded, at once and in the life of a connection.
func TestAdvertisedServersAreBounded(t *testing.T) {
	d := newDialer(Options{})
	from := server{scheme: "tls", host: "a.example.com", port: "4222"}
	all := map[string]bool{}
	for i := range 100 {
		var urls []string
		for j := range 100 {
			urls = append(urls, fmt.Sprintf("10.0.%d.%d:4222", i, j))
		}
		got := d.discover(from, urls)
		if len(got) > maxAdvertised {
			t.Fatalf("%d servers at once", len(got))
		}
		for _, a := range got {
			all[a] = true
		}
	}
	if len(all) != maxDiscovered || len(d.found) != maxDiscovered {
		t.Errorf("%d and %d servers", len(all), len(d.found))
	}
	if s, _ := d.lookup("10.0.0.1:4222"); s.scheme != "tls" || s.name != "a.example.com" {
		t.Errorf("a discovered server: %+v", s)
	}
}
