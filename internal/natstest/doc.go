// Package natstest runs real NATS servers inside the process: a single one, a cluster of three, and a TCP proxy that
// cuts or freezes the way to one. Tests use [Start], [StartCluster] and [StartProxy], which clean up after themselves;
// a program that isn't a test uses [Run], [RunCluster] and [RunProxy].
//
// Servers keep JetStream in a directory on disk and come back on the same port with the same store after a
// [Server.Restart], so a client sees what it would see of a server whose process was restarted.
package natstest
