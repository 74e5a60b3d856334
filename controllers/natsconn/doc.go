// Package natsconn connects to NATS for the NodeRegistries.
//
// A Link is the way to the servers: it reads the Secrets, connects, and tells what stands in the way. The pool gives all
// NodeRegistries with the same servers, inbox prefix and identity one Link; the last to leave closes it.
//
// Secrets are got by name, past the cache, whenever a connection is to be made, every minute while it stands, and after
// each login that is refused; those with a user JWT after half of the time that it has left. What they hold lives in a conn
// alone. If it changes, the link makes another conn, and each session goes over to it: the bucket is listed there while the old
// conn goes on, so it is no gap. The old one is closed when the last session has left it. While the new one can't be made, the
// old one stays, and the condition Degraded says why. An established conn comes back by itself after an outage.
//
// # Permissions
//
// A server tells a missing permission to the connection only, while the request that needs it times out. The Link hands
// it to the sessions whose bucket the subject names. It counts until the bucket is read, or listed again without it.
package natsconn
