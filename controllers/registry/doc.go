// Package registry turns a NodeRegistry into a connection, a bucket and a Mirror, and says in its status how they are.
//
// One session per NodeRegistry finds or creates the bucket and watches it into the Mirror. The session outlives every
// outage; the Mirror outlives the session, so that another Secret or server drops no node.
//
// # Connections
//
// A link is the way to the servers: it reads the Secrets, connects, and tells what stands in the way. The pool gives all
// NodeRegistries with the same servers, inbox prefix and identity one link; the last to leave closes it.
//
// Secrets are got by name, past the cache, whenever a connection is to be made, every minute while it stands, and after
// each login that is refused. What they hold lives in a conn alone. If it changes, the link makes another conn, moves the
// sessions over, and closes the old one when the last has left it. While the new one can't be made, the old one stays,
// and the condition Degraded says why. An established conn comes back by itself after an outage.
//
// # Permissions
//
// A server tells a missing permission to the connection only, while the request that needs it times out. The link hands
// it to the sessions whose bucket the subject names. It counts until the bucket is read, or listed again without it.
package registry
