// Package ext is what Traefik leaves to whoever builds it: members of their own in its dynamic configuration. Traefik itself
// has none, and neither have the tests.
package ext

// HTTP has no members.
type HTTP struct{}

// Router has no members.
type Router struct{}
