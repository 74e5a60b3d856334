package hostile

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// plainInfo is what an ordinary server says of itself.
const plainInfo = `{"server_id":"HOSTILE","server_name":"h","version":"2.15.2","proto":1,"headers":true,"max_payload":1048576,"jetstream":true}`

// act is what a server does: as an ordinary one where a field is not set, and as the field says where it is.
type act struct {
	// greet takes the place of INFO and of all that follows, beside reading what the client sends; info of the INFO alone.
	greet func(*peer)
	info  func(*peer) string
	// login takes the place of the answer to the client's CONNECT and PING.
	login func(*peer)
	// after is done once the client is in, beside everything else.
	after func(*peer)
	// requested is done once the client has made its first request, whose answers go to that subscription and subject; beside
	// everything else, and nothing is answered.
	requested func(p *peer, sid, reply string)
	// answer takes the place of the answers to JetStream requests where it returns one.
	answer func(p *peer, operation string) string
	// deliver is done once the client has subscribed to the consumer of a listing, beside everything else.
	deliver func(*peer, *consumer)
}

// peer is a client at the other end of a connection.
type peer struct {
	net.Conn

	server *Server
	act    *act
	in     *bufio.Reader

	loggedIn  bool
	subjects  map[string]string // by subject, the sid of each subscription
	consumers map[string]*consumer
}

// serve has an act done on each connection.
func serve(a act) func(*Server, net.Conn) {
	return func(s *Server, c net.Conn) { newPeer(s, c, &a).serve() }
}

func newPeer(s *Server, c net.Conn, a *act) *peer {
	return &peer{Conn: c, server: s, act: a, in: bufio.NewReaderSize(c, 64<<10), subjects: map[string]string{}, consumers: map[string]*consumer{}}
}

func (p *peer) serve() {
	if p.act.greet != nil {
		p.beside(func() { p.act.greet(p) })
		p.drain()
		return
	}
	info := plainInfo
	if p.act.info != nil {
		p.server.strike()
		info = p.act.info(p)
	}
	p.say("INFO %s\r\n", info)
	p.obey()
}

// drain reads until the other end closes.
func (p *peer) drain() { _, _ = io.Copy(io.Discard, p.in) }

// say writes; an error shows in the next read.
func (p *peer) say(format string, a ...any) { _, _ = fmt.Fprintf(p.Conn, format, a...) }

// flood writes what f returns for 0, 1, 2 … until the connection is closed.
func (p *peer) flood(f func(n int) []byte) {
	for n := 0; ; n++ {
		if _, err := p.Write(f(n)); err != nil {
			return
		}
	}
}

// endless writes one thing again and again.
func (p *peer) endless(text string) {
	chunk := []byte(strings.Repeat(text, max(1, 32<<10/len(text))))
	p.flood(func(int) []byte { return chunk })
}

// drip writes a text by one byte a second, over and over again.
func (p *peer) drip(text string) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i := 0; ; i++ {
		if _, err := p.Write([]byte{text[i%len(text)]}); err != nil {
			return
		}
		<-tick.C
	}
}

// beside runs f beside the peer's own loop, as what the script is about.
func (p *peer) beside(f func()) {
	p.server.strike()
	p.server.done.Go(f)
}

// obey answers what the client sends until it closes the connection.
func (p *peer) obey() {
	for {
		words, payload, err := p.next()
		if err != nil {
			return
		}
		p.command(words, payload)
	}
}

// next reads a command and, if it publishes, its payload.
func (p *peer) next() (words []string, payload []byte, err error) {
	line, err := p.in.ReadString('\n')
	if err != nil {
		return nil, nil, err
	}
	words = strings.Fields(line)
	if len(words) < 3 || words[0] != "PUB" && words[0] != "HPUB" {
		return words, nil, nil
	}
	size, err := strconv.Atoi(words[len(words)-1])
	if err != nil {
		return nil, nil, err
	}
	payload = make([]byte, size+2)
	_, err = io.ReadFull(p.in, payload)
	return words, payload[:size], err
}

func (p *peer) command(words []string, payload []byte) {
	switch {
	case len(words) == 1 && words[0] == "PING":
		p.pinged()
	case len(words) >= 3 && words[0] == "SUB":
		p.subscribed(words[1], words[len(words)-1])
	case len(words) == 4 && words[0] == "PUB":
		p.request(words[1], words[2], payload)
	}
}

// pinged answers a PING, of which the first is part of the login.
func (p *peer) pinged() {
	if p.loggedIn {
		p.say("PONG\r\n")
		return
	}
	p.loggedIn = true
	if login := p.act.login; login != nil {
		p.beside(func() { login(p) })
		return
	}
	p.say("PONG\r\n")
	if after := p.act.after; after != nil {
		p.beside(func() { after(p) })
	}
}

func (p *peer) subscribed(subject, sid string) {
	p.subjects[subject] = sid
	c := p.consumers[subject]
	if c == nil {
		return
	}
	c.sid = sid
	deliver := p.act.deliver
	if deliver == nil {
		p.server.done.Go(func() { c.beat(p) })
		return
	}
	p.beside(func() { deliver(p, c) })
}

// sidOf returns the subscription that a subject goes to.
func (p *peer) sidOf(subject string) string {
	for pattern, sid := range p.subjects {
		if pattern == subject || strings.HasPrefix(subject, strings.TrimSuffix(pattern, "*")) && strings.HasSuffix(pattern, "*") {
			return sid
		}
	}
	return "1"
}

// message sends a message.
func (p *peer) message(sid, subject, reply string, data []byte) {
	_, _ = p.Write(fmt.Appendf(nil, "MSG %s %s %s%d\r\n%s\r\n", subject, sid, spaced(reply), len(data), data))
}

func spaced(reply string) string {
	if reply == "" {
		return ""
	}
	return reply + " "
}
