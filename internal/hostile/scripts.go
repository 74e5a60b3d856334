package hostile

import (
	"net"
	"slices"
)

// Script is how a server misbehaves.
type Script struct {
	// Kind is what it is about, Name what it does.
	Kind, Name string
	// Scheme is that of the server's URL; empty: nats. A client of a secure one has to trust CA.
	Scheme string

	serve func(*Server, net.Conn)
}

// secure says that a client has to trust CA to get far enough.
func (s Script) secure() bool { return s.Scheme == "tls" || s.Scheme == "wss" }

// Scripts returns all scripts. Those of a kind are together.
func Scripts() []Script {
	return slices.Concat(
		sizes(), lines(), infos(), refusals(), silences(), revisions(), buckets(), listings(), floods(), handshakes(), sockets(), securings(),
	)
}

// Kinds returns the kinds of all scripts.
func Kinds() []string {
	var kinds []string
	for _, s := range Scripts() {
		kinds = append(kinds, s.Kind)
	}
	return slices.Compact(kinds)
}

// Of returns the scripts of a kind.
func Of(kind string) []Script {
	return slices.DeleteFunc(Scripts(), func(s Script) bool { return s.Kind != kind })
}
