package natsconn

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/nats-io/nats-server/v2/server"
	"k8s.io/utils/clock"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery/dial"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// names is a resolver that a test changes.
type names struct {
	mu  sync.Mutex
	all map[string]string
}

func (n *names) set(host, address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := maps.Clone(n.all)
	if all == nil {
		all = map[string]string{}
	}
	if all[host] = address; address == "" {
		delete(all, host)
	}
	n.all = all
}

// LookupNetIP implements dial.Resolver.
func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	address, found := n.all[host]
	if !found {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return []netip.Addr{netip.MustParseAddr(address)}, nil
}

// joined joins a link of a pool of its own.
func joined(t *testing.T, o Options, c rollcallv1alpha1.Connection) *Link {
	t.Helper()
	o.Clock, o.Log = clock.RealClock{}, logr.Discard()
	p, g := NewPool(o), &guest{name: "joined"}
	l := p.Join("fleet", c, g)
	t.Cleanup(func() {
		p.Leave(l, g)
		<-l.over
	})
	return l
}

// eventually waits for a state of a link.
func eventually(t *testing.T, l *Link, what string, holds func(State) bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for began := time.Now(); !holds(l.State()); <-ticker.C {
		if time.Since(began) > natstest.Patience {
			t.Fatalf("waited in vain for %s: %+v", what, l.State())
		}
	}
}

func isUp(s State) bool { return s.Connected && s.Trouble == (Trouble{}) }

func reason(want string, says ...string) func(State) bool {
	return func(s State) bool {
		return s.Trouble.Reason == want && !slices.ContainsFunc(says, func(part string) bool { return !strings.Contains(s.Trouble.Message, part) })
	}
}

// An object that was stored before such items were refused is told what to correct.
func TestAnItemThatIsNoServer(t *testing.T) {
	for _, item := range []string{"nats://a:1,nats://b:1", "nats://a:1/path", "http://a:1", "nats://a:0", "nats://a b:1"} {
		l := joined(t, Options{}, rollcallv1alpha1.Connection{Servers: []string{"nats://127.0.0.1:1", item}})
		eventually(t, l, item, reason(rollcallv1alpha1.ReasonServersInvalid, "spec.connection.servers"))
	}
}

// The name of a server is looked up at each attempt, so one that has moved is found.
func TestANameThatChangesItsAddress(t *testing.T) {
	first := natstest.Start(t)
	port := first.Port()
	n := &names{}
	n.set("nats.example.com", "127.0.0.1")
	l := joined(t, Options{Resolver: n}, rollcallv1alpha1.Connection{Servers: []string{"nats://NATS.example.com:" + port}})
	eventually(t, l, "the connection", isUp)
	c, err := l.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	first.Stop()
	n.set("nats.example.com", "")
	eventually(t, l, "the name to be missed", reason(rollcallv1alpha1.ReasonServerNotFound, "nats.example.com"))

	natstest.Start(t, func(o *natstest.Options) {
		o.Configure = func(so *server.Options) {
			so.Host, so.Port = "127.0.0.2", int(netip.MustParseAddrPort("127.0.0.1:"+port).Port())
		}
	})
	n.set("nats.example.com", "127.0.0.2")
	eventually(t, l, "the connection to the other address", isUp)
	if at := c.NATS().ConnectedAddr(); at != "127.0.0.2:"+port {
		t.Errorf("it is connected to %s", at)
	}
	if c.Replaced().Err() != nil {
		t.Error("nothing changed but the address, and the connection was replaced")
	}
}

// All servers that are listed are replaced: the connection goes on with those that were discovered, and it is said that a
// restart would find none.
func TestListedServersThatAreGone(t *testing.T) {
	cluster := natstest.StartCluster(t, 3)
	gone := cluster.Servers[0]
	n := &names{}
	n.set("nats-0.example.com", "127.0.0.1")
	listed := "nats://nats-0.example.com:" + gone.Port()
	l := joined(t, Options{Resolver: n}, rollcallv1alpha1.Connection{Servers: []string{listed}})
	strict := joined(t, Options{Resolver: n}, rollcallv1alpha1.Connection{Servers: []string{listed}, DiscoveredServers: rollcallv1alpha1.DiscoveredIgnore})
	eventually(t, l, "the connection", isUp)
	eventually(t, strict, "the strict connection", isUp)
	gone.Stop()
	n.set("nats-0.example.com", "")
	eventually(t, l, "another server", func(s State) bool { return s.Connected })
	eventually(t, strict, "the name to be missed", func(s State) bool {
		return !s.Connected && reason(rollcallv1alpha1.ReasonServerNotFound)(s)
	})
	eventually(t, l, "the warning", func(s State) bool {
		return s.Connected && reason(rollcallv1alpha1.ReasonServerNotFound, "spec.connection.servers", "nats-0.example.com")(s)
	})
	// One of them is there again.
	n.set("nats-0.example.com", "127.0.0.1")
	if err := gone.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, l, "the warning to be over", isUp)
	eventually(t, strict, "the strict connection to be back", isUp)
}

// What the policy refuses is not dialled, and nothing else is told of it, whatever is there.
func TestServersThatAreNotAllowed(t *testing.T) {
	there := natstest.Start(t)
	nowhere := natstest.FreeAddress(t)
	n := &names{}
	n.set("inside.example.com", "127.0.0.1")
	n.set("nats.example.org", "192.0.2.1")
	for _, allowed := range [][]string{nil, {"*.example.com"}, {"192.0.2.0/24"}} {
		policy, err := dial.ParsePolicy(allowed, nil)
		if err != nil {
			t.Fatal(err)
		}
		texts := map[string]bool{}
		for _, server := range []string{there.URL(), "nats://" + nowhere, "nats://inside.example.com:" + there.Port()} {
			l := joined(t, Options{Resolver: n, Policy: policy}, rollcallv1alpha1.Connection{Servers: []string{server}})
			eventually(t, l, server, reason(rollcallv1alpha1.ReasonServerNotAllowed, "--allowed-server"))
			_, text, _ := strings.Cut(l.State().Trouble.Message, server[:strings.LastIndex(server, ":")])
			_, text, _ = strings.Cut(text, ": ") // The port is told of some only.
			texts[text] = true
		}
		if len(texts) != 1 {
			t.Errorf("with %v, refusals differ: %v", allowed, slices.Collect(maps.Keys(texts)))
		}
	}
	varz, err := there.NATS().Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	if varz.TotalConnections != 0 {
		t.Errorf("a server that is not allowed was dialled %d times", varz.TotalConnections)
	}
}

// The cause is told of servers that are allowed.
func TestUnreachableServersSayWhy(t *testing.T) {
	nowhere := natstest.FreeAddress(t)
	l := joined(t, Options{}, rollcallv1alpha1.Connection{Servers: []string{"nats://" + nowhere, "nats://not-there.invalid:4222"}})
	eventually(t, l, "the cause", reason(rollcallv1alpha1.ReasonServerUnreachable, "connection refused", "not-there.invalid"))
	text := l.State().Trouble.Message
	for range 20 {
		eventually(t, l, "the state", func(State) bool { return true })
		if got := l.State().Trouble.Message; got != text {
			t.Fatalf("the same trouble is told as %q and %q", text, got)
		}
	}
	if n := len([]rune(text)); n > 500 {
		t.Errorf("it takes %d characters", n)
	}
}
