// Package natsserver runs one NATS server with JetStream, with no logins and no encryption, for trying Rollcall out where
// there is no NATS yet. It is not for production.
package natsserver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Command is the first argument of the manager's binary that makes it such a server.
const Command = "nats-server"

// memory is how many bytes buckets in memory may take together.
const memory = 128 << 20

// readyTimeout bounds how long the server may take until it accepts connections.
const readyTimeout = 30 * time.Second

// Options are the options of a server; BindFlags documents the flags that set them.
type Options struct {
	// StoreDir is where the buckets are kept. It is made if it does not exist.
	StoreDir string
	// Address and MonitorAddress are host:port.
	Address, MonitorAddress string
}

// BindFlags defines the flags that set o, from which docs/reference/flags.md is made.
func BindFlags(flags *flag.FlagSet, o *Options) {
	flags.StringVar(&o.StoreDir, "store-dir", "/data", "Directory in which the buckets are kept.")
	flags.StringVar(&o.Address, "address", ":4222", "Address for clients.")
	flags.StringVar(&o.MonitorAddress, "monitor-address", ":8222", "Address of the endpoint /healthz and of NATS' other monitoring endpoints.")
}

// Run runs a server until ctx ends.
func Run(ctx context.Context, o Options) error {
	options, err := o.server()
	if err != nil {
		return err
	}
	nats, err := server.NewServer(options)
	if err != nil {
		return err
	}
	nats.ConfigureLogger()
	nats.Start()
	defer func() {
		nats.Shutdown()
		nats.WaitForShutdown()
	}()
	if !nats.ReadyForConnections(readyTimeout) {
		return fmt.Errorf("the NATS server is not ready after %v", readyTimeout)
	}
	<-ctx.Done()
	return nil
}

func (o *Options) server() (*server.Options, error) {
	host, port, err := split(o.Address)
	monitorHost, monitorPort, monitorErr := split(o.MonitorAddress)
	if err := errors.Join(err, monitorErr); err != nil {
		return nil, err
	}
	return &server.Options{
		ServerName:         "rollcall-nats",
		Host:               host,
		Port:               port,
		HTTPHost:           monitorHost,
		HTTPPort:           monitorPort,
		JetStream:          true,
		StoreDir:           o.StoreDir,
		JetStreamMaxMemory: memory,
		NoSigs:             true,
	}, nil
}

func split(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("the port of %q: %w", address, err)
	}
	return host, int(number), nil
}
