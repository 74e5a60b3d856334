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
// each login that is refused; those with a user JWT after half of the time that it has left. What they hold lives in a conn
// alone. If it changes, the link makes another conn, and each session goes over to it: the bucket is listed there while the old
// conn goes on, so it is no gap. The old one is closed when the last session has left it. While the new one can't be made, the
// old one stays, and the condition Degraded says why. An established conn comes back by itself after an outage.
//
// # What a person says
//
// The cordons are an input of the Mirror: a handler of the DiscoveredNodes' watch brings spec.cordoned in. It outlives the
// object, whoever deletes it. Departures knows which NodeRegistries are gone; session and Mirror wait for one to come back for
// 10 s, and are adopted by whatever is created under its name. Under a new leader the Mirror is gone, but not what is known of
// it: DiscoveredNodes that are collected before the NodeRegistry is back are remembered as its seed.
//
// # Permissions
//
// A server tells a missing permission to the connection only, while the request that needs it times out. The link hands
// it to the sessions whose bucket the subject names. It counts until the bucket is read, or listed again without it.
package registry
