package agent

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rollcall-dev/rollcall/discovery"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

func TestItRegistersHeartbeatsAndUnregisters(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Minute)
	agent := r.agent("--ports", "http:8080,dns:53/UDP", "--addresses", "10.1.0.1,fd00::1", "--name", "web 1", "--zone", "eu-1a",
		"--metadata", "role=web", "--metadata", "tags=a,b")
	first := r.registered("web-1")
	if first.Name != "web 1" || first.Zone != "eu-1a" || first.Metadata["role"] != "web" || first.Metadata["tags"] != "a,b" ||
		strings.Join(first.Addresses, " ") != "10.1.0.1 fd00::1" || len(first.Ports) != 2 || first.Ports[1] != (discovery.Port{Name: "dns", Port: 53, Protocol: "UDP"}) {
		t.Errorf("the record is %+v", first)
	}
	if first.Load == nil || *first.Load < 0 || first.Owner == nil || first.Owner.Cluster != "" || first.Owner.UID == "" {
		t.Errorf("the load is %v, the owner %v", first.Load, first.Owner)
	}
	r.within(patience, "a later heartbeat", func() bool {
		n, _ := r.node("web-1")
		return n.LastSeen.Sub(first.LastSeen) > 3*interval
	})
	agent.signal(syscall.SIGTERM)
	agent.ends(0)
	if _, ok := r.node("web-1"); ok {
		t.Error("the node is still registered")
	}
	if got := r.removal("web-1"); got != jetstream.KeyValueDelete.String() {
		t.Errorf("the key was removed by %s", got)
	}
	agent.says(`msg="connected to nats"`, `msg="node registered"`, `msg="node unregistered"`)
}

func TestKilledItExpires(t *testing.T) {
	const ttl = 2 * time.Second
	r := newRig(t)
	r.bucket(ttl)
	agent := r.agent()
	r.registered("web-1")
	agent.signal(syscall.SIGKILL)
	agent.ends(-1)
	if took := r.gone("web-1"); took > ttl+time.Second {
		t.Errorf("the entry was there for %s more, with a TTL of %s", took, ttl)
	}
	if got := r.removal("web-1"); got != jetstream.KeyValuePurge.String() {
		t.Errorf("the key was removed by %s", got)
	}
}

func TestItComesBackAfterARestartOfTheServer(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Minute)
	agent := r.agent()
	r.registered("web-1")
	r.nats.Stop()
	agent.says(`msg="nats can't be reached, trying on"`)
	if err := r.nats.Restart(); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	r.within(patience, "a heartbeat", func() bool {
		n, _ := r.node("web-1")
		return n.LastSeen.After(back)
	})
	agent.says(`msg="node heartbeats again"`)
	for _, line := range []string{"nats can't be reached", "node can't heartbeat", "node heartbeats again", "node registered"} {
		if n := agent.count(line); n != 1 {
			t.Errorf("%q is in the log %d times", line, n)
		}
	}
}

func TestItWaitsForNATS(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Minute)
	r.nats.Stop()
	agent := r.agent()
	agent.says(`msg="nats can't be reached, trying on"`)
	if err := r.nats.Restart(); err != nil {
		t.Fatal(err)
	}
	r.registered("web-1")
	if n := agent.count("can't be reached"); n != 1 {
		t.Errorf("it was said %d times that nats is away", n)
	}
}

func TestASignalEndsItWithoutNATSToo(t *testing.T) {
	r := newRig(t)
	r.nats.Stop()
	agent := r.agent()
	agent.says("can't be reached")
	agent.signal(syscall.SIGTERM)
	agent.ends(0)
}

// An agent that can't unregister gives up after its grace period, and at once on a second signal.
func TestTheGracePeriodBoundsUnregistering(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Minute)
	patient, impatient := r.agent("--node-id", "web-1", "--grace-period", "1s"), r.agent("--node-id", "web-2", "--grace-period", "1h")
	r.registered("web-1")
	r.registered("web-2")
	r.nats.Stop()
	patient.says("can't be reached")
	began := time.Now()
	patient.signal(syscall.SIGTERM)
	patient.ends(0)
	if took := time.Since(began); took < time.Second || took > patience {
		t.Errorf("it ended after %s", took)
	}
	patient.says("node may still be registered, and then expires")
	impatient.signal(syscall.SIGTERM)
	select {
	case <-impatient.done:
		t.Error("it gave up before its grace period ended")
	case <-time.After(time.Second):
	}
	impatient.signal(os.Interrupt)
	impatient.ends(1)
}

// A short outage at the moment of the signal is sat out.
func TestItUnregistersOnceNATSIsBack(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Minute)
	agent := r.agent("--grace-period", patience.String())
	r.registered("web-1")
	r.nats.Stop()
	agent.says("can't be reached")
	agent.signal(syscall.SIGTERM)
	if err := r.nats.Restart(); err != nil {
		t.Fatal(err)
	}
	agent.ends(0)
	if _, ok := r.node("web-1"); ok {
		t.Error("the node is still registered")
	}
}

func TestAnEntryThatIsPurgedComesBack(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Minute)
	r.agent("--heartbeat-interval", "1s")
	r.registered("web-1")
	for name, remove := range map[string]func() error{
		"nats kv del":   func() error { return r.kv.Delete(t.Context(), "node.web-1") },
		"nats kv purge": func() error { return r.kv.Purge(t.Context(), "node.web-1") },
	} {
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		r.registered("web-1")
		t.Logf("after %s it is back within %s", name, time.Since(began))
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("after %s it took %s", name, took)
		}
	}
}

// Without an address of its own, the node has that of the interface that leads to the server.
func TestTheAddressLeadsToTheServer(t *testing.T) {
	address := outward(t)
	r := newRig(t, func(o *natstest.Options) { o.Configure = func(so *server.Options) { so.Host = address } })
	r.bucket(time.Minute)
	r.start(nil, "--servers", r.nats.URL(), "--node-id", "web-1", "--ports", "8080", "--heartbeat-interval", interval.String())
	if n := r.registered("web-1"); len(n.Addresses) != 1 || n.Addresses[0] != address || n.Endpoint != address+":8080" {
		t.Errorf("the addresses are %v, the endpoint is %s, the server is reached from %s", n.Addresses, n.Endpoint, address)
	}
}

// outward returns an IPv4 address of this machine that others may reach.
func outward(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() && prefix.Addr().IsGlobalUnicast() {
			return prefix.Addr().String()
		}
	}
	t.Fatal("the test needs an interface besides the loopback interface: give the machine one")
	return ""
}

func TestALoopbackAddressIsRefused(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Minute)
	agent := r.start(nil, "--servers", r.nats.URL(), "--node-id", "web-1", "--ports", "8080")
	agent.ends(2)
	agent.says("127.0.0.1", "give --addresses or --endpoint")
}

func TestItTellsWhetherItIsRegistered(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Minute)
	address := natstest.FreeAddress(t)
	agent := r.agent("--health-probe-bind-address", address)
	r.registered("web-1")
	r.within(patience, "/readyz to be good", func() bool { return status(address, "/readyz") == 200 })
	if got := status(address, "/healthz"); got != 200 {
		t.Errorf("/healthz answers %d", got)
	}
	// An outage makes no pod unready.
	r.nats.Stop()
	agent.says("node can't heartbeat")
	if got := status(address, "/readyz"); got != 200 {
		t.Errorf("without NATS, /readyz answers %d", got)
	}
}

func TestTheLoadIsThatOfACommand(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Minute)
	file := filepath.Join(t.TempDir(), "load")
	write(t, file, "0.5\n")
	agent := r.agent("--load-command", "cat "+file, "--heartbeat-interval", "1s", "--load-timeout", "1s")
	if n := r.registered("web-1"); n.Load == nil || *n.Load != 0.5 {
		t.Errorf("the load is %v", n.Load)
	}
	beats := func(what string) {
		t.Helper()
		last, _ := r.node("web-1")
		r.within(patience, "a heartbeat "+what, func() bool {
			n, _ := r.node("web-1")
			return n.LastSeen.Sub(last.LastSeen) > 2*time.Second
		})
		if n, _ := r.node("web-1"); n.Load == nil || *n.Load != 0.5 {
			t.Errorf("%s the load is %v", what, n.Load)
		}
	}
	write(t, file, "busy")
	beats("after nonsense")
	agent.says("heartbeats go on with the last one", `\"busy\"`)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	beats("while the command hangs")
	if n := agent.count("the load can't be read"); n != 1 {
		t.Errorf("it was said %d times that the load can't be read", n)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	write(t, file, "0.75")
	r.within(patience, "the new load", func() bool {
		n, _ := r.node("web-1")
		return *n.Load == 0.75
	})
	agent.says("the load can be read again")
}
