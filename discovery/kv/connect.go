package kv

import (
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rollcall-dev/rollcall/discovery/dial"
)

// writeTimeout bounds one write to the network, of 32 KiB or the message that is larger.
const writeTimeout = 2 * time.Second

// maxPings is how many pings may be without an answer. A server gives up a client that takes nothing for ten seconds, so it
// has answered by then.
const maxPings = 10

// ConnectOptions returns what a connection of a Watcher or a Writer should be made with, before options of one's own.
// Such a connection comes back by itself, for ever and within a second of the server; it drops what can't be sent while
// it is down instead of sending it later, since a late heartbeat would raise the dead; and it notices a peer that
// vanished without a word within about six seconds, or two if there is more to send than its buffers hold. The first
// connection may fail too, and is then tried again.
//
// The servers are dialled by a [dial.Dialer], so the URLs that nats.go and its callbacks know have the scheme nats. It bounds
// what a server may send, stops reading while a Watcher has more than it can work off, and tries the given servers before
// those that they advertise. Options about TLS, time-outs and WebSocket headers hold; those about a proxy path and compression
// do not. With a dialer of one's own all that is missing, and a peer that vanished is noticed after 22 seconds.
func ConnectOptions() []nats.Option {
	return []nats.Option{
		dial.Option,
		nats.ReconnectBufSize(-1),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		nats.PingInterval(2 * time.Second),
		// An answer waits behind what the server has sent before. What notices in time that a peer is gone is the dialer.
		nats.MaxPingsOutstanding(maxPings),
		// The client holds its lock while it writes, so nothing else gets on meanwhile, not even the news that it is cut off.
		nats.FlusherTimeout(writeTimeout),
		nats.ReconnectOnFlusherError(),
		// Credentials that are being replaced are refused for a while; by default the second refusal would be final.
		nats.IgnoreAuthErrorAbort(),
	}
}
