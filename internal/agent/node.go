package agent

import (
	"context"

	"github.com/rollcall-dev/rollcall/discovery"
)

// node returns the node as it is first registered.
func (a *agent) node() (discovery.Node, error) {
	node := a.config.node()
	if !a.config.findsAddress() {
		return node, nil
	}
	address, ok := a.connection.address()
	if !ok {
		// The connection is gone again; the address comes with the first heartbeat.
		return node, nil
	}
	if address.IsLoopback() {
		return node, refuse("the way to the NATS server is the loopback interface %s, on which nobody else reaches this node: give --addresses or --endpoint", address)
	}
	a.config.locate(&node, []string{address.String()})
	return node, nil
}

// refresh brings the node up to date before a heartbeat. It belongs to one goroutine.
func (a *agent) refresh(ctx context.Context, n *discovery.Node) {
	n.Draining = a.draining.Load()
	if load, ok := a.load.read(ctx); ok {
		n.Load = &load
	}
	if !a.config.findsAddress() {
		return
	}
	address, ok := a.connection.address()
	if !ok || address.IsLoopback() || len(n.Addresses) == 1 && n.Addresses[0] == address.String() {
		return
	}
	if len(n.Addresses) > 0 {
		a.log.Info("the way to nats has another address, and so has the node", "before", n.Addresses[0], "now", address.String())
	}
	a.config.locate(n, []string{address.String()})
}
