package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/rollcall-dev/rollcall/discovery"
)

// machine is a simulated machine outside of the cluster: a connection of its own, and a service that stays registered.
type machine struct {
	connection *nats.Conn
	registry   *discovery.Registry
	leave      context.CancelFunc
	left       chan error
}

// fleet is all machines by their ID.
type fleet struct {
	mu       sync.Mutex
	machines map[string]*machine
}

// start starts a machine.
func (f *fleet) start(ctx context.Context, url string, node discovery.Node) error {
	connection, err := nats.Connect(url, discovery.ConnectOptions()...)
	if err != nil {
		return err
	}
	registry, err := discovery.Open(ctx, connection, discovery.Options{TTL: ttl})
	if err != nil {
		connection.Close()
		return err
	}
	ctx, leave := context.WithCancel(ctx)
	m := &machine{connection: connection, registry: registry, leave: leave, left: make(chan error, 1)}
	go func() { m.left <- registry.KeepAlive(ctx, node, discovery.KeepAliveOptions{Interval: heartbeat}) }()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.machines == nil {
		f.machines = map[string]*machine{}
	}
	f.machines[node.ID] = m
	return nil
}

// shutDown ends a machine in good order: it unregisters.
func (f *fleet) shutDown(id string) error {
	m := f.take(id)
	m.leave()
	err := <-m.left
	m.registry.Close()
	m.connection.Close()
	if err != nil {
		return fmt.Errorf("shut down %s: %w", id, err)
	}
	return nil
}

// pullThePlug ends a machine with no word to anybody.
func (f *fleet) pullThePlug(id string) {
	m := f.take(id)
	m.connection.Close()
	m.leave()
	<-m.left
	m.registry.Close()
}

func (f *fleet) take(id string) *machine {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.machines[id]
	delete(f.machines, id)
	return m
}

// stop ends all machines.
func (f *fleet) stop() {
	for id := range f.machines {
		f.pullThePlug(id)
	}
}
