package hostile

import (
	"fmt"
	"strings"
	"time"
)

// floods are valid lines without end.
func floods() []Script {
	flood := func(name, line string) Script {
		return Script{Kind: "floods", Name: name, serve: serve(act{after: func(p *peer) { p.endless(line) }})}
	}
	live := func(name, format string, payload int) Script {
		return Script{Kind: "floods", Name: name, serve: serve(act{requested: func(p *peer, sid, reply string) {
			p.endless(strings.NewReplacer("SID", sid, "SUBJECT", reply).Replace(format) + strings.Repeat("x", payload) + "\r\n")
		}})}
	}
	return []Script{
		flood("PING", "PING\r\n"),
		flood("PONG", "PONG\r\n"),
		flood("+OK", "+OK\r\n"),
		flood("-ERR", "-ERR 'bad'\r\n"),
		flood("INFO", "INFO "+plainInfo+"\r\n"),
		flood("MSG to subscriptions that are none", "MSG a 999 2\r\nab\r\n"),
		live("MSG to a live subscription", "MSG SUBJECT SID 0\r\n", 0),
		live("MSG of 1 MiB to a live subscription", "MSG SUBJECT SID 1048576\r\n", 1<<20),
		live("HMSG with headers to a live subscription", "HMSG SUBJECT SID 22 22\r\nNATS/1.0\r\nA: B\r\n\r\n\r\n", 0),
		{Kind: "floods", Name: "messages to the subscription of a listing", serve: serve(act{deliver: func(p *peer, c *consumer) {
			p.endless(fmt.Sprintf("MSG %s %s 0\r\n\r\n", c.deliver, c.sid))
		}})},
		{Kind: "floods", Name: "heartbeats of a consumer, with an answer that is wanted", serve: serve(act{deliver: func(p *peer, c *consumer) {
			const headers = "NATS/1.0 100 FlowControl Request\r\nNats-Last-Consumer: 0\r\nNats-Last-Stream: 0\r\n\r\n"
			p.endless(fmt.Sprintf("HMSG %s %s $JS.FC.x %d %d\r\n%s\r\n", c.deliver, c.sid, len(headers), len(headers), headers))
		}})},
	}
}

// silences are servers that say little, slowly, or nothing.
func silences() []Script {
	drip := func(name string, a act) Script { return Script{Kind: "silences", Name: name, serve: serve(a)} }
	return []Script{
		drip("INFO by one byte a second", act{greet: func(p *peer) { p.drip("INFO " + plainInfo + "\r\n") }}),
		drip("the answer to CONNECT by one byte a second", act{login: func(p *peer) { p.drip("+OK\r\n") }}),
		drip("a message by one byte a second", act{requested: func(p *peer, sid, reply string) {
			p.say("MSG %s %s 1000000\r\n", reply, sid)
			p.drip("x")
		}}),
		drip("no INFO", act{greet: func(*peer) {}}),
		drip("no answer to CONNECT", act{login: func(*peer) {}}),
		drip("no answer to a request", act{requested: func(*peer, string, string) {}}),
		drip("an empty answer to each request", act{answer: func(*peer, string) string { return "{}" }}),
		drip("no listing", act{answer: endlessStream, deliver: func(*peer, *consumer) {}}),
		drip("closes at once", act{greet: func(p *peer) { _ = p.Close() }}),
		drip("closes after INFO", act{login: func(p *peer) { _ = p.Close() }}),
		drip("closes after the login", act{after: (*peer).drop}),
		drip("closes while it lists", act{deliver: func(p *peer, _ *consumer) { <-time.After(10 * time.Millisecond); _ = p.Close() }}),
	}
}
