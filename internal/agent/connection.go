package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rollcall-dev/rollcall/discovery"
)

// connection is the connection to NATS, and says in the log when it changes for the better or the worse.
type connection struct {
	*nats.Conn
	log *slog.Logger

	mu     sync.Mutex
	cause  error               // of the last attempt that failed
	denied map[string]struct{} // what the server has denied since the last heartbeat that succeeded
	deaf   time.Time           // since when it denies a subscription; zero if it doesn't
}

// connect starts to connect, and goes on in the background for ever. The errors are *ConfigError.
func connect(c *Config, log *slog.Logger) (*connection, error) {
	k := &connection{log: log, denied: map[string]struct{}{}}
	login, err := c.Login.options()
	if err != nil {
		return nil, err
	}
	options := append(discovery.ConnectOptions(),
		nats.Name("rollcall-agent "+c.NodeID),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { k.failed(err) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { k.failed(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { k.heard(err) }),
	)
	options = append(append(options, login...), c.TLS.options()...)
	if c.InboxPrefix != "" {
		options = append(options, nats.CustomInboxPrefix(c.InboxPrefix))
	}
	// A server that is away, or refuses the login, is no error: only what could never work is.
	if k.Conn, err = nats.Connect(strings.Join(c.Servers, ","), options...); err != nil {
		return nil, refuse("a connection to %s is not possible with these settings: %v", strings.Join(c.Servers, ","), err)
	}
	return k, nil
}

func (k *connection) failed(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.cause = err
	}
}

// heard takes in what the server reports beside the answers: above all that it denies something.
func (k *connection) heard(err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		k.failed(err)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if strings.Contains(strings.ToLower(err.Error()), "subscription to") && k.deaf.IsZero() {
		k.deaf = time.Now()
	}
	if _, told := k.denied[err.Error()]; !told {
		k.denied[err.Error()] = struct{}{}
		k.log.Warn("nats denies the user a permission: grant it", "error", err)
	}
}

// works notes that a heartbeat was answered.
func (k *connection) works() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.denied)
	k.deaf = time.Time{}
}

// The states of a connection, as the log tells them apart.
type connectionState uint8

const (
	starting connectionState = iota
	connected
	away
	refused
)

const (
	// lookInterval is the time from one look at the connection to the next.
	lookInterval = 500 * time.Millisecond
	// deafInterval is the time after which a connection is made anew whose answers the server denies: the server does not
	// take up a subscription that it has denied, even if it is allowed later.
	deafInterval = 30 * time.Second
)

// follow says in the log what becomes of the connection, until ctx ends.
func (k *connection) follow(ctx context.Context) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	state := starting
	for {
		next, cause := k.state()
		if next != state {
			k.tell(next, cause)
		}
		state = next
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		k.listen()
	}
}

func (k *connection) tell(state connectionState, cause error) {
	switch state {
	case connected:
		k.log.Info("connected to nats", "server", k.ConnectedUrlRedacted())
	case refused:
		k.log.Warn("nats refuses the login, trying on: correct the login, the TLS settings, or the user on the server", "error", cause)
	case away:
		k.log.Warn("nats can't be reached, trying on", "error", cause)
	}
}

// refusals are the errors that stay until somebody corrects something.
var refusals = []error{
	nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired, nats.ErrNkeysNotSupported,
	nats.ErrTLS, nats.ErrSecureConnWanted,
}

func (k *connection) state() (connectionState, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.IsConnected() {
		k.cause = nil
		return connected, nil
	}
	cause := k.cause
	// Why a server that answers refuses is told here alone.
	if last := k.LastError(); last != nil {
		cause = last
	}
	switch {
	case cause == nil:
		return starting, nil
	case slices.ContainsFunc(refusals, func(refusal error) bool { return errors.Is(cause, refusal) }):
		return refused, cause
	}
	return away, cause
}

// listen makes the connection anew if answers can't come in on it.
func (k *connection) listen() {
	k.mu.Lock()
	deaf := !k.deaf.IsZero() && time.Since(k.deaf) >= deafInterval
	if deaf {
		k.deaf = time.Time{}
	}
	k.mu.Unlock()
	if deaf {
		// The only error is that of a connection which is closed.
		_ = k.ForceReconnect()
	}
}

// address returns the address of the interface that leads to the server; false while there is no connection.
func (k *connection) address() (netip.Addr, bool) {
	local, err := netip.ParseAddrPort(k.LocalAddr())
	if err != nil {
		return netip.Addr{}, false
	}
	return local.Addr().Unmap().WithZone(""), true
}
