// Package dial connects to NATS servers that nobody has to trust. A [Dialer] resolves a name, asks the [Policy], connects,
// reads the server's INFO, secures the connection, and hands nats.go a plain stream in which every line and every message
// has been checked: no server can make the client dial where it may not, fill the memory, or end the process.
//
//	resolve → policy → TCP → INFO → TLS           nats, tls
//	resolve → policy → TCP → TLS → INFO           the same with the handshake first
//	resolve → policy → TCP (→ TLS) → WebSocket    ws, wss
//
// One deadline, the Timeout of nats.Options, bounds all steps together. What nats.go gets are URLs with the scheme nats;
// the Dialer knows by host and port which scheme each server has. A server that another one advertises has the scheme of
// that one, and if it is an address the name in its certificate.
//
//	bound                          value
//	a control line                 64 KiB, INFO 256 KiB
//	a message                      the server's max_payload, and 4 MiB or [Options].MaxMessage
//	the headers of a message       64 KiB
//	frames that carry nothing      64 KiB at once
//	servers advertised at once     32, and 1024 in the life of a connection
//	a server that is silent        three intervals of the client's pings
//	lines a second                 5,000, and 20,000 at once; what goes beyond takes turns with the other connections of the process
//
// A turn is what is read at once, up to 32 KiB. While others wait for theirs it lasts until the backlogs of the connection are
// worked off, so no number of servers that send without end keeps more than half of the processors busy. A connection that is
// alone with its load does not notice: a fleet of 100,000 nodes that heartbeats 10,000 times a second is beyond its rate.
package dial
