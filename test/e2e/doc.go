// Package e2e proves on a real cluster what a user does with Rollcall: `make e2e` runs it, as root, on Linux.
//
// The test makes itself a machine of its own out of namespaces (package machine), brings up a whole cluster in it
// (package cluster), and does there what the documentation tells a user to do. Its files have the build tag e2e, so that
// `make test` does not run it.
package e2e
