package dial

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// certificate returns a certificate of a server called localhost, and who trusts it.
func certificate(t *testing.T) (serverSide, clientSide *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
}

func configured(f func(*natsserver.Options)) func(*natstest.Options) {
	return func(o *natstest.Options) { o.Configure = f }
}

// port returns the port of a URL.
func port(url string) string { return url[strings.LastIndex(url, ":")+1:] }

func dialer(t *testing.T, o Options) *Dialer {
	t.Helper()
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// connect connects by way of d and checks that requests are answered.
func connect(t *testing.T, d *Dialer, more ...nats.Option) *nats.Conn {
	t.Helper()
	servers, options := d.NATS()
	nc, err := nats.Connect(servers, append(append(options,
		nats.MaxReconnects(-1), nats.ReconnectWait(250*time.Millisecond), nats.ReconnectJitter(time.Millisecond, time.Millisecond)), more...)...)
	if err != nil {
		t.Fatalf("%v: %v", err, d.Err())
	}
	t.Cleanup(nc.Close)
	works(t, nc)
	return nc
}

func works(t *testing.T, nc *nats.Conn) {
	t.Helper()
	natstest.Eventually(t, func() error {
		sub, err := nc.SubscribeSync("x")
		if err != nil {
			return err
		}
		defer func() { _ = sub.Unsubscribe() }()
		if err := nc.Publish("x", []byte(strings.Repeat("x", 100_000))); err != nil {
			return err
		}
		_, err = sub.NextMsg(time.Second)
		return err
	})
}

func TestDialerSpeaksEveryScheme(t *testing.T) {
	mine, trust := certificate(t)
	ws := func(secure *tls.Config) func(*natsserver.Options) {
		return func(o *natsserver.Options) {
			o.Websocket = natsserver.WebsocketOpts{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoTLS: secure == nil, TLSConfig: secure, HandshakeTimeout: 5 * time.Second}
		}
	}
	for name, test := range map[string]struct {
		scheme    string
		configure func(*natsserver.Options)
		options   Options
		fails     Class
	}{
		"plain":                {scheme: "nats", configure: func(*natsserver.Options) {}},
		"tls":                  {scheme: "tls", configure: func(o *natsserver.Options) { o.TLSConfig = mine }, options: Options{TLS: trust}},
		"tls by the server":    {scheme: "nats", configure: func(o *natsserver.Options) { o.TLSConfig = mine }, options: Options{TLS: trust}},
		"handshake first":      {scheme: "tls", configure: func(o *natsserver.Options) { o.TLSConfig, o.TLSHandshakeFirst = mine, true }, options: Options{TLS: trust, TLSHandshakeFirst: true}},
		"ws":                   {scheme: "ws", configure: ws(nil)},
		"wss":                  {scheme: "wss", configure: ws(mine), options: Options{TLS: trust}},
		"nobody to trust":      {scheme: "tls", configure: func(o *natsserver.Options) { o.TLSConfig = mine }, fails: TLS},
		"no tls":               {scheme: "tls", configure: func(*natsserver.Options) {}, fails: TLS},
		"first, and it is not": {scheme: "tls", configure: func(o *natsserver.Options) { o.TLSConfig = mine }, options: Options{TLS: trust, TLSHandshakeFirst: true}, fails: TLS},
		"not first, and it is": {scheme: "tls", configure: func(o *natsserver.Options) { o.TLSConfig, o.TLSHandshakeFirst = mine, true }, options: Options{TLS: trust}, fails: Unreachable},
		"no ws":                {scheme: "ws", configure: func(*natsserver.Options) {}, fails: Handshake},
		"wss without tls":      {scheme: "wss", configure: ws(nil), fails: TLS},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t, configured(test.configure))
			at := port(s.URL())
			if varz, err := s.NATS().Varz(nil); err == nil && varz.Websocket.Port > 0 {
				at = strconv.Itoa(varz.Websocket.Port)
			}
			test.options.Servers = []string{test.scheme + "://localhost:" + at}
			d := dialer(t, test.options)
			if test.fails == "" {
				nc := connect(t, d)
				if _, _, err := net.SplitHostPort(nc.LocalAddr()); err != nil {
					t.Errorf("the local address is %s", nc.LocalAddr())
				}
				return
			}
			servers, options := d.NATS()
			if nc, err := nats.Connect(servers, options...); err == nil {
				nc.Close()
				t.Fatal("connected")
			}
			var failure *Error
			if !errors.As(d.Err(), &failure) || failure.Class != test.fails {
				t.Errorf("%v", d.Err())
			}
		})
	}
}

// The certificate is for localhost, and the cluster advertises addresses.
func TestDiscoveredServersInheritSchemeAndName(t *testing.T) {
	mine, trust := certificate(t)
	for _, scheme := range []string{"tls", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			clustered := func(routes string) func(*natstest.Options) {
				return configured(func(o *natsserver.Options) {
					o.TLSConfig = mine
					o.Websocket = natsserver.WebsocketOpts{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, TLSConfig: mine, HandshakeTimeout: 5 * time.Second}
					o.JetStream = false
					o.Cluster = natsserver.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: natsserver.RANDOM_PORT}
					o.Routes = natsserver.RoutesFromStr(routes)
				})
			}
			a := natstest.Start(t, clustered(""))
			b := natstest.Start(t, clustered("nats://"+a.NATS().ClusterAddr().String()))
			at := port(a.URL())
			if varz, err := a.NATS().Varz(nil); err == nil && scheme == "wss" {
				at = strconv.Itoa(varz.Websocket.Port)
			}
			nc := connect(t, dialer(t, Options{Servers: []string{scheme + "://localhost:" + at}, TLS: trust}))
			natstest.Eventually(t, func() error {
				if len(nc.DiscoveredServers()) == 0 {
					return errors.New("no server was discovered")
				}
				return nil
			})
			a.Stop()
			natstest.Eventually(t, func() error {
				if nc.ConnectedServerId() != b.NATS().ID() {
					return fmt.Errorf("connected to %s", nc.ConnectedServerId())
				}
				return nil
			})
			works(t, nc)
		})
	}
}

// mute listens and never says a word. It counts those who come.
func mute(t *testing.T) (address string, calls func() int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan net.Conn, 1<<10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(conns)
				return
			}
			conns <- c
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		for c := range conns {
			_ = c.Close()
		}
	})
	return l.Addr().String(), func() int { return len(conns) }
}

// advertising starts two servers, of which the other one advertises an address that is not its own, and returns the first.
func advertising(t *testing.T, address string) *natstest.Server {
	t.Helper()
	clustered := func(advertise, routes string) *natstest.Server {
		return natstest.Start(t, configured(func(o *natsserver.Options) {
			o.JetStream, o.ClientAdvertise = false, advertise
			o.Cluster = natsserver.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: natsserver.RANDOM_PORT}
			o.Routes = natsserver.RoutesFromStr(routes)
		}))
	}
	s := clustered("", "")
	clustered(address, "nats://"+s.NATS().ClusterAddr().String())
	return s
}

func discovered(t *testing.T, nc *nats.Conn, address string) {
	t.Helper()
	natstest.Eventually(t, func() error {
		if got := nc.DiscoveredServers(); len(got) != 1 || got[0] != "nats://"+address {
			return fmt.Errorf("discovered: %v", got)
		}
		return nil
	})
}

func TestServersOutOfReachAreNotWaitedFor(t *testing.T) {
	address, calls := mute(t)
	s := advertising(t, address)
	nc := connect(t, dialer(t, Options{Servers: []string{s.URL()}}))
	discovered(t, nc, address)
	s.Stop()
	natstest.Eventually(t, func() error {
		if calls() < 2 {
			return errors.New("the advertised address was not tried twice")
		}
		return nil
	})
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	natstest.Eventually(t, func() error {
		if !nc.IsConnected() {
			return errors.New("not connected")
		}
		return nil
	})
	if took := time.Since(began); took > time.Second {
		t.Errorf("back after %v", took)
	}
}

func TestThePolicyHoldsForDiscoveredServersToo(t *testing.T) {
	address, calls := mute(t)
	s := advertising(t, strings.Replace(address, "127.0.0.1", "127.0.0.2", 1))
	p, err := ParsePolicy([]string{"127.0.0.1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := dialer(t, Options{Servers: []string{s.URL()}, Policy: p})
	nc := connect(t, d)
	discovered(t, nc, strings.Replace(address, "127.0.0.1", "127.0.0.2", 1))
	s.Stop()
	natstest.Eventually(t, func() error {
		if err := d.Err(); err == nil || !strings.Contains(err.Error(), "refused") {
			return fmt.Errorf("after the end of the server: %w", err)
		}
		return nil
	})
	if strings.Contains(d.Err().Error(), "127.0.0.2") || calls() > 0 {
		t.Errorf("%d calls; %v", calls(), d.Err())
	}
}

func TestDiscoveredServersAreIgnored(t *testing.T) {
	address, _ := mute(t)
	s := advertising(t, address)
	nc := connect(t, dialer(t, Options{Servers: []string{s.URL()}, IgnoreDiscovered: true}))
	works(t, nc)
	if got := nc.DiscoveredServers(); len(got) > 0 {
		t.Errorf("discovered: %v", got)
	}
}

// What the policy refuses is not dialled, and told in one way.
func TestThePolicyRefuses(t *testing.T) {
	address, calls := mute(t)
	open, err := ParsePolicy(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	named, err := ParsePolicy([]string{"nats.example.com", "localhost", "10.0.0.0/8"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for host, p := range map[string]*Policy{
		"127.0.0.1": open, "localhost": open, "LocalHost.": open, "[::ffff:127.0.0.1]": open, "[::1]": open, "0.0.0.0": open,
		"169.254.169.254": open, "localhost.": named, "does-not-exist.invalid": named, "192.0.2.1": named,
	} {
		d := dialer(t, Options{Servers: []string{"nats://" + host + ":" + port(address)}, Policy: p})
		_, err := d.Dial("tcp", d.given[0].address())
		var failure *Error
		if !errors.As(err, &failure) || failure.Class != NotAllowed || !errors.Is(err, errNotAllowed) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if calls() > 0 {
		t.Errorf("%d calls", calls())
	}
}

func TestServersThatCantBeNamed(t *testing.T) {
	for _, url := range []string{
		"", "nats://", "http://a", "nats://a:0", "nats://a:65536", "nats://a:-1", "nats://0x7f000001", "nats://2130706433", "nats://0177.0.0.1", "nats://127.1",
		"nats://a,nats://b", "nats://a/path", "ws://a/path", "ws://a?x=y", "ws://a/#f", "nats://a b", "nats://a..b", "nats://-a", "nats://[::1", "nats://a%2eb",
	} {
		if d, err := New(Options{Servers: []string{url}}); err == nil {
			t.Errorf("%q is taken for %v", url, d.given)
		}
	}
	if _, err := New(Options{Servers: []string{"nats://a:4222,nats://b:4222"}}); err == nil || !strings.Contains(err.Error(), "an item of its own") {
		t.Errorf("several in one are told as %v", err)
	}
	for want, urls := range map[string][]string{
		"nats://a.example.com:4222,nats://u:p@b:4222,nats://10.0.0.1:1": {"A.Example.Com.", "tls://u:p@b", "nats://[::FFFF:10.0.0.1]:1", "tls://a.example.com"},
		"nats://c:80,nats://d:443":                                      {"ws://c/", "wss://d"},
	} {
		if servers, _ := dialer(t, Options{Servers: urls}).NATS(); servers != want {
			t.Errorf("%s, want %s", servers, want)
		}
	}
	if _, err := New(Options{Servers: []string{"ws://a", "nats://b"}}); !errors.Is(err, nats.ErrMixingWebsocketSchemes) {
		t.Errorf("schemes that clash: %v", err)
	}
}
