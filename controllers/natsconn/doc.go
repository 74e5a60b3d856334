// Package natsconn connects to NATS for the NodeRegistries.
//
// A Link is the way to the servers: it reads the Secrets, connects, and tells what stands in the way. The Pool gives all
// NodeRegistries with the same servers, inbox prefix and identity one Link; the last to leave ends it. A Conn is one connection
// with one identity. Members use it between Acquire and Release, and hear of a change by a method that does not block.
//
// # One loop
//
// Each Link has one loop, and the loop owns all of its fields. The callbacks of the client and the helpers post events to one
// bounded channel. There are at most two helpers at a time: one that reads the Secrets and connects with what they hold (an
// attempt), and one that waits for the answer to a ping. What others may see is in the view, under a lock of its own.
//
// The rows are events, the columns what the Link has: no Conn, a Conn that is up, or one that is down, which the client makes
// again by itself.
//
//	                          none                     up                            down
//	it is time to look        attempt                  the same                      the same
//	attempt: other content    up                       up; the old Conn is replaced  up; the old Conn is replaced
//	attempt: same content     -                        no trouble; survey            -
//	attempt: failed           the trouble is told      the same, as Degraded         the trouble is told
//	attempt: a Secret is lost the trouble is told      Keep: as failed; Close: none  Keep: as failed; Close: none
//	disconnected              -                        down                          -
//	reconnect failed          -                        -                             the cause is told
//	reconnect refused         -                        -                             none; attempt
//	reconnected               -                        -                             up
//	closed by the client      -                        none; attempt                 none; attempt
//	permission denied         -                        members are told; look soon   members are told
//	the same, to subscribe    -                        also: reconnect, with backoff -
//	a member finds silence    -                        ping                          -
//	no answer to the ping     -                        reconnect                     -
//	the last member has left  end                      end; the Conn is retired      end; the Conn is retired
//
// A Conn that is replaced or retired is closed when its last user has released it. Events of such a Conn say nothing.
//
// # When the Secrets are read
//
// They are got by name, past the cache.
//
//	nothing is wrong                     every 7.5 to 10 minutes; with a login that expires, after half of the time that it has left
//	the client connects again            every 1.5 to 2 minutes: another content would not help
//	no server answers                    the same; meanwhile what is in hand is tried every 250 to 500 ms
//	a login, Secret, certificate, limit  every 3 to 4 s, the first times sooner. Other content is tried at once, the same with
//	or permission is in the way          backoff: a login or a limit up to a minute, anything else up to 5 s
//
// # Permissions
//
// A server tells a missing permission to the connection only, while the request that needs it times out. The Link hands it to
// the members whose bucket the subject names. A subscription that was denied is not restored by the server when the permission
// comes, so the connection is made again, with backoff up to a minute.
package natsconn
