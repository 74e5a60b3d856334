// Package hostile runs NATS servers that mean harm, each by a script. A server takes as much of the protocol as its script
// needs to be believed: the handshake, subscriptions, the requests to JetStream, a listing. Then it misbehaves, on every
// connection, for as long as that is open.
//
// server.go accepts connections, peer.go speaks the protocol, jetstream.go answers requests, websocket.go and secure.go are
// the layers below. The scripts are in the files of their kinds, scripts.go lists them.
package hostile
