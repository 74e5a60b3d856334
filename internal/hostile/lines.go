package hostile

import (
	"fmt"
	"strings"
)

// sizes are messages to a live subscription, whose sizes are not those of a message.
func sizes() []Script {
	var all []Script
	add := func(name, format string) {
		all = append(all, Script{Kind: "sizes", Name: name, serve: serve(act{requested: func(p *peer, sid, reply string) {
			p.say("%s", strings.NewReplacer("SID", sid, "SUBJECT", reply).Replace(format))
			p.endless("x")
		}})})
	}
	for _, size := range [][2]string{
		{"more than memory", "99999999999999999"}, {"2^31", "2147483648"}, {"2^63-1", "9223372036854775807"}, {"2^64", "18446744073709551616"},
		{"2^64-1", "18446744073709551615"}, {"negative", "-1"}, {"signed", "+5"}, {"hexadecimal", "0x10"}, {"not a number", "a"}, {"a fraction", "1.5"},
		{"of 40 digits", strings.Repeat("9", 40)}, {"beyond max_payload", "8388609"}, {"a gigabyte", "1073741824"},
	} {
		add("MSG of a size that is "+size[0], "MSG SUBJECT SID "+size[1]+"\r\n")
	}
	for _, header := range [][2]string{
		{"headers longer than the message", "20 10"}, {"negative headers", "-5 10"}, {"headers that overflow", "9223372036854775807 9223372036854775807"},
		{"a total that overflows", "10 99999999999999999"}, {"headers of no length", "0 0"}, {"headers that are no number", "a b"},
	} {
		add("HMSG with "+header[0], "HMSG SUBJECT SID "+header[1]+"\r\nNATS/1.0\r\n\r\n")
	}
	for _, sid := range [][2]string{{"a word", "abc"}, {"negative", "-1"}, {"of 40 digits", strings.Repeat("9", 40)}, {"zero", "0"}} {
		add("MSG whose sid is "+sid[0], "MSG SUBJECT "+sid[1]+" 3\r\nabc\r\n")
	}
	add("a message that ends too late", "MSG SUBJECT SID 3\r\nabcdefghijk\r\n")
	add("MSG without anything", "MSG\r\n")
	add("bare newlines", "MSG SUBJECT SID 3\nabc\n")
	add("HMSG whose headers are none", "HMSG SUBJECT SID 12 12\r\n\x00\x01\x02:::::\r\n\r\n\r\n")
	return all
}

// lines are lines without end.
func lines() []Script {
	greeting := func(name, start, endless string) Script {
		return Script{Kind: "lines", Name: name, serve: serve(act{greet: func(p *peer) {
			p.say("%s", start)
			p.endless(endless)
		}})}
	}
	login := func(name, start, endless string) Script {
		return Script{Kind: "lines", Name: name, serve: serve(act{login: func(p *peer) {
			p.say("%s", start)
			p.endless(endless)
		}})}
	}
	after := func(name, scheme, start, endless string) Script {
		a := act{after: func(p *peer) {
			p.say("%s", start)
			p.endless(endless)
		}}
		s := Script{Kind: "lines", Name: name, Scheme: scheme, serve: serve(a)}
		switch scheme {
		case "ws":
			s.serve = serveSocket(a)
		case "tls":
			s.serve = serveSecurely(a)
		}
		return s
	}
	return []Script{
		greeting("an INFO without end", `INFO {"server_id":"`, "x"),
		greeting("an INFO of ever more members", `INFO {"server_id":"a"`, `,"x":1`),
		greeting("an INFO that nests without end", "INFO ", `{"a":[`),
		greeting("anything instead of INFO", "", "HTTP/1.1 200 OK "),
		greeting("zeros instead of INFO", "", "\x00"),
		greeting("empty lines instead of INFO", "", "\r\n"),
		login("a line without end for an answer to CONNECT", "", "x"),
		login("an -ERR without end for an answer to CONNECT", "-ERR '", "x"),
		login("empty lines for an answer to CONNECT", "", "\r\n"),
		login("+OK without end for an answer to CONNECT", "", "+OK\r\n"),
		login("an -ERR of a megabyte for an answer to CONNECT", "-ERR '"+strings.Repeat("y", 1<<20)+"'\r\n", "x"),
		after("a verb without end", "", "X", "x"),
		after("an -ERR without end", "", "-ERR '", "x"),
		after("an INFO without end, later", "", `INFO {"server_id":"`, "x"),
		after("the arguments of a MSG without end", "", "MSG ", "x"),
		after("blanks before the arguments of a MSG without end", "", "MSG", " "),
		after("the arguments of an HMSG without end", "", "HMSG ", "x "),
		after("a PING without end", "", "PING", " "),
		after("a +OK without end", "", "+OK", " "),
		after("carriage returns without end", "", "PING\r", "\r"),
		after("a line without end in a WebSocket", "ws", "-ERR '", "x"),
		after("a line without end behind TLS", "tls", "MSG ", "x"),
	}
}

// refusals say -ERR, each time in other words.
func refusals() []Script {
	flood := func(name, format string) Script {
		return Script{Kind: "refusals", Name: name, serve: serve(act{after: func(p *peer) {
			p.flood(func(n int) []byte { return fmt.Appendf(nil, format, n) })
		}})}
	}
	login := func(name, format string) Script {
		return Script{Kind: "refusals", Name: name, serve: serve(act{login: func(p *peer) {
			p.say(format, p.server.Struck())
			_ = p.Close()
		}})}
	}
	return []Script{
		login("a login that is refused in other words each time", "-ERR 'Authorization Violation %d'\r\n"),
		login("a login that is refused in 40,000 characters", "-ERR 'Authorization Violation %d "+strings.Repeat("ü", 20_000)+"'\r\n"),
		login("a login that ends in other words each time", "-ERR 'no %d'\r\n"),
		flood("permissions for ever other subjects", "-ERR 'Permissions Violation for Publish to \"a.%d\"'\r\n"),
		flood("permissions for subscriptions to ever other subjects", "-ERR 'Permissions Violation for Subscription to \"_INBOX.a.%d\"'\r\n"),
		flood("ever other errors", "-ERR 'bad %d'\r\n"),
		flood("slow consumer, over and over", "-ERR 'Slow Consumer %d'\r\n"),
		{Kind: "refusals", Name: "ever other refusals of JetStream", serve: serve(act{answer: func(p *peer, _ string) string {
			return fmt.Sprintf(`{"error":{"code":500,"err_code":%d,"description":"no %d %s"}}`, p.server.Struck(), p.server.Struck(), strings.Repeat("x", 40_000))
		}})},
	}
}

// infos are INFO lines.
func infos() []Script {
	after := func(name string, line func(p *peer, n int) string) Script {
		return Script{Kind: "infos", Name: name, serve: serve(act{after: func(p *peer) {
			p.flood(func(n int) []byte { return []byte("INFO " + line(p, n) + "\r\n") })
		}})}
	}
	with := func(members string) string { return strings.TrimSuffix(plainInfo, "}") + "," + members + "}" }
	fixed := func(name, info string) Script {
		return Script{Kind: "infos", Name: name, serve: serve(act{info: func(*peer) string { return info }, after: (*peer).drop})}
	}
	many := func(n, count int) string {
		var urls strings.Builder
		for i := range count {
			fmt.Fprintf(&urls, `"h%d-%d.example:4222",`, n, i)
		}
		return with(`"connect_urls":[` + strings.TrimSuffix(urls.String(), ",") + "]")
	}
	return []Script{
		after("ever other connect_urls", func(_ *peer, n int) string { return many(n, 1000) }),
		after("connect_urls with a password for a bait", func(p *peer, n int) string {
			return with(fmt.Sprintf(`"connect_urls":["user%d:stolen@%s"]`, n, p.server.bait(false)))
		}),
		after("an INFO of 200 KiB again and again", func(*peer, int) string { return with(`"cluster":"` + strings.Repeat("c", 200<<10) + `"`) }),
		after("lame duck mode again and again", func(*peer, int) string { return with(`"ldm":true`) }),
		after("ever other clusters", func(_ *peer, n int) string { return with(fmt.Sprintf(`"cluster":"c%d","server_name":"s%d"`, n, n)) }),
		fixedBait("connect_urls that lead to a bait which nobody may dial", true, "%s"),
		fixedBait("connect_urls that have a password for a bait", false, "user:stolen@%s"),
		fixedBait("connect_urls that have a scheme and a path to a bait", false, "ws://%s/path?x=y"),
		fixed("a hundred thousand connect_urls", many(0, 100_000)),
		fixed("max_payload of 2^62", with(`"max_payload":4611686018427387904`)),
		fixed("max_payload that is negative", with(`"max_payload":-1`)),
		fixed("max_payload of no number", with(`"max_payload":"much"`)),
		fixed("a version of 100 KiB", with(`"version":"`+strings.Repeat("9", 100<<10)+`"`)),
		fixed("a nonce of 100 KiB", with(`"nonce":"`+strings.Repeat("n", 100<<10)+`"`)),
		fixed("a client_ip that is none", with(`"client_ip":"`+strings.Repeat(":", 1000)+`","client_id":18446744073709551615,"proto":99999`)),
		fixed("members that are null", `{"server_id":null,"headers":null,"connect_urls":[null,null,""],"max_payload":null}`),
	}
}

// fixedBait is an INFO whose connect_urls lead to a bait, of a server that goes away after the login: so somebody else has to be
// dialled.
func fixedBait(name string, forbidden bool, format string) Script {
	return Script{Kind: "infos", Name: name, serve: serve(act{
		info: func(p *peer) string {
			return fmt.Sprintf("%s,\"connect_urls\":[%q]}", strings.TrimSuffix(plainInfo, "}"), fmt.Sprintf(format, p.server.bait(forbidden)))
		},
		after: (*peer).drop,
	})}
}

// drop closes the connection a moment after the client came in.
func (p *peer) drop() {
	p.say("PING\r\n")
	_ = p.Close()
}
