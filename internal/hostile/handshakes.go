package hostile

import (
	"bytes"
	"compress/flate"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
)

// handshakes are answers to the request for a WebSocket.
func handshakes() []Script {
	answer := func(name string, f func(p *peer, accept string)) Script {
		return Script{Kind: "HTTP", Name: name, Scheme: "ws", serve: serveHTTP(f)}
	}
	endless := func(name, start, text string) Script {
		return answer(name, func(p *peer, accept string) {
			p.say("%s", strings.ReplaceAll(start, "ACCEPT", accept))
			p.endless(text)
		})
	}
	redirect := func(name, status string) Script {
		return answer(name, func(p *peer, _ string) {
			p.say("HTTP/1.1 %s\r\nLocation: http://user:stolen@%s/path?x=y\r\nContent-Length: 0\r\n\r\n", status, p.server.bait(false))
			_ = p.Close()
		})
	}
	const upgraded = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n"
	return []Script{
		endless("a status without end", "HTTP/1.1 101 ", "x"),
		endless("headers without end", upgraded, "A: b\r\n"),
		endless("a header without end", upgraded+"A: ", "b"),
		endless("a body without end", "HTTP/1.1 200 OK\r\n\r\n", "x"),
		endless("a body without end of an error", "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n\r\n", "x"),
		endless("a body in chunks without end", "HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
		endless("early hints without end", "", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
		endless("100 Continue without end", "", "HTTP/1.1 100 Continue\r\n\r\n"),
		endless("another protocol", "", "\x00"),
		redirect("a redirect", "302 Found"),
		redirect("a redirect that keeps the method", "307 Temporary Redirect"),
		redirect("a redirect for good", "301 Moved Permanently"),
		answer("a proof that is none", func(p *peer, _ string) {
			p.say(switching, "none", "")
			p.endless("x")
		}),
		answer("extensions that nobody wanted", func(p *peer, accept string) {
			p.say(switching, accept, "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: x\r\n")
			p.flood(func(int) []byte { return bomb() })
		}),
		answer("headers by one byte a second", func(p *peer, _ string) { p.drip("HTTP/1.1 101 Switching Protocols\r\n") }),
		answer("no answer", func(*peer, string) {}),
	}
}

// bomb is a frame of a few kilobytes that unpacks to many megabytes.
var bomb = sync.OnceValue(func() []byte {
	var packed bytes.Buffer
	w, _ := flate.NewWriter(&packed, flate.BestCompression)
	_, _ = w.Write([]byte("INFO {\"server_id\":\""))
	for range 64 {
		_, _ = w.Write(bytes.Repeat([]byte("x"), 1<<20))
	}
	_ = w.Flush()
	return frame(opBinary|final|compressed, packed.Bytes())
})

// sockets are the frames of a WebSocket.
func sockets() []Script {
	frames := func(name string, f func(*peer)) Script {
		return Script{Kind: "frames", Name: name, Scheme: "ws", serve: serveFrames(f)}
	}
	endless := func(name string, start, again []byte) Script {
		return frames(name, func(p *peer) {
			_, _ = p.Write(start)
			p.endless(string(again))
		})
	}
	kilobyte := bytes.Repeat([]byte("x"), 1<<10)
	return []Script{
		endless("fragments without end", frame(opBinary, kilobyte), frame(opContinuation, kilobyte)),
		endless("empty fragments without end", frame(opBinary, nil), frame(opContinuation, nil)),
		endless("empty frames without end", nil, frame(opBinary|final, nil)),
		endless("a frame of 2^63-1", head(opBinary|final, 1<<63-1), kilobyte),
		endless("a frame of 2^64-1", head(opBinary|final, 1<<64-1), kilobyte),
		endless("a frame of a terabyte", head(opBinary|final, 1<<40), kilobyte),
		endless("pings without end", nil, frame(opPing|final, []byte("p"))),
		endless("pongs without end", nil, frame(opPong|final, nil)),
		endless("a ping of 64 KiB", nil, frame(opPing|final, bytes.Repeat(kilobyte, 64))),
		endless("a ping in fragments", nil, frame(opPing, []byte("p"))),
		endless("a close of 64 KiB", nil, frame(opClose|final, bytes.Repeat(kilobyte, 64))),
		endless("a close without a reason", nil, frame(opClose|final, []byte{1})),
		endless("a close with another reason each", nil, frame(opClose|final, []byte("\x03\xe8\xff\xff\xff"))),
		endless("frames that are masked", nil, append(append([]byte{opBinary | final, masked | 4}, 1, 2, 3, 4), "abcd"...)),
		endless("frames that are compressed", nil, bomb()),
		endless("reserved bits", nil, frame(0x70|opBinary|final, kilobyte)),
		endless("frames of an unknown kind", nil, frame(0x7|final, kilobyte)),
		endless("a continuation of nothing", nil, frame(opContinuation|final, kilobyte)),
		endless("text", nil, frame(opText|final, []byte("\xff\xfe"))),
		frames("one byte a frame, one a second", func(p *peer) {
			every(p, 1e9, func(uint64) []byte { return frame(opBinary|final, []byte("P")) })
		}),
		{Kind: "frames", Name: "a message larger than memory", Scheme: "ws", serve: serveSocket(act{requested: func(p *peer, sid, reply string) {
			p.say("MSG %s %s 99999999999999999\r\n", reply, sid)
			p.endless("x")
		}})},
		{Kind: "frames", Name: "messages to a live subscription", Scheme: "ws", serve: serveSocket(act{requested: func(p *peer, sid, reply string) {
			p.endless(fmt.Sprintf("MSG %s %s 2\r\nab\r\n", reply, sid))
		}})},
	}
}

// securings are handshakes of TLS that lead nowhere.
func securings() []Script {
	raw := func(name string, f func(*peer)) Script {
		return Script{Kind: "TLS", Name: name, Scheme: "tls", serve: serveRawTLS(f)}
	}
	endless := func(name string, again []byte) Script { return raw(name, func(p *peer) { p.endless(string(again)) }) }
	tlsRecord := func(kind byte, payload []byte) []byte {
		return append(binary.BigEndian.AppendUint16([]byte{kind, 3, 3}, uint16(len(payload))), payload...)
	}
	const changeCipherSpec, alert, handshake, data = 20, 21, 22, 23
	return []Script{
		raw("no answer", func(*peer) {}),
		raw("one byte a second", func(p *peer) { p.drip("\x16\x03\x03\x40\x00") }),
		endless("empty records of the handshake", tlsRecord(handshake, nil)),
		endless("empty records of data", tlsRecord(data, nil)),
		endless("alerts", tlsRecord(alert, []byte{1, 0})),
		endless("changes of the cipher", tlsRecord(changeCipherSpec, []byte{1})),
		endless("records longer than allowed", tlsRecord(handshake, bytes.Repeat([]byte{11}, 0xffff))),
		endless("a message of 16 MiB", append(tlsRecord(handshake, append([]byte{2, 0xff, 0xff, 0xff}, make([]byte, 1<<14-4)...)), tlsRecord(handshake, make([]byte, 1<<14))...)),
		endless("requests for another hello", tlsRecord(handshake, []byte{0, 0, 0, 0})),
		endless("no TLS", []byte("HTTP/1.1 400 Bad Request\r\n")),
		{Kind: "TLS", Name: "a chain of megabytes", Scheme: "tls", serve: serveChain},
		{Kind: "TLS", Name: "closes after the handshake", Scheme: "tls", serve: serveSecurely(act{after: (*peer).drop, login: (*peer).drop})},
		{Kind: "TLS", Name: "no answer to CONNECT", Scheme: "tls", serve: serveSecurely(act{login: func(*peer) {}})},
	}
}

// serveChain shows a chain of megabytes: 64 certificates of 64 KiB each.
func serveChain(s *Server, c net.Conn) {
	p := newPeer(s, c, &act{})
	p.say("INFO %s\r\n", secureInfo)
	own, err := certify(make([]byte, 60<<10))
	if err != nil {
		return
	}
	for len(own.Certificate) < 64 {
		own.Certificate = append(own.Certificate, own.Certificate[0])
	}
	s.strike()
	secure := tls.Server(c, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}})
	_ = secure.Handshake() //nolint:noctx // It ends with the connection.
	newPeer(s, secure, &act{}).drain()
}
