package agent

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// password is what the server expects, so that nothing else is taken for it.
const password = "correct horse battery staple"

func TestTLSWithUserAndPassword(t *testing.T) {
	certificate, ca := certificates(t)
	r := newRig(t, func(o *natstest.Options) {
		o.Configure = func(so *server.Options) {
			so.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}
			so.TLS, so.TLSTimeout, so.Username, so.Password = true, 10, "fleet", password
		}
	})
	r.bucket(time.Minute, nats.RootCAs(ca), nats.UserInfo("fleet", password))
	file := filepath.Join(t.TempDir(), "password")
	write(t, file, "wrong\n")
	agent := r.agent("--tls-ca-file", ca, "--username", "fleet", "--password-file", file)
	agent.says("nats refuses the login", "Authorization Violation")
	// A file that is replaced needs no restart.
	write(t, file, password+"\n")
	r.registered("web-1")
	if agent.count(password) != 0 {
		t.Error("the password is in the log")
	}
	stranger := r.agent("--node-id", "web-2", "--username", "fleet", "--password", password, "--tls")
	stranger.says("nats refuses the login", "certificate")
	misnamed := r.agent("--node-id", "web-3", "--username", "fleet", "--password", password, "--tls-ca-file", ca, "--tls-server-name", "elsewhere.example.net")
	misnamed.says("nats refuses the login", "elsewhere.example.net")
}

func TestAClientCertificateIsShown(t *testing.T) {
	certificate, ca := certificates(t)
	r := newRig(t, func(o *natstest.Options) {
		o.Configure = func(so *server.Options) {
			so.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAnyClientCert}
			so.TLS, so.TLSTimeout = true, 10
		}
	})
	key := filepath.Join(filepath.Dir(ca), "tls.key")
	r.bucket(time.Minute, nats.RootCAs(ca), nats.ClientCert(ca, key))
	r.agent("--tls-ca-file", ca, "--tls-certificate-file", ca, "--tls-key-file", key, "--tls-server-name", "example.com")
	r.registered("web-1")
}

// certificates returns a certificate for 127.0.0.1 and example.com, which is its own authority, and its file; the key is
// beside it.
func certificates(t *testing.T) (certificate tls.Certificate, file string) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	certificate = s.TLS.Certificates[0]
	dir := t.TempDir()
	file = filepath.Join(dir, "ca.crt")
	write(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})))
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "tls.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	return certificate, file
}

func TestItLogsInWithANKey(t *testing.T) {
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := user.PublicKey()
	seed, _ := user.Seed()
	r := newRig(t, func(o *natstest.Options) {
		o.Configure = func(so *server.Options) { so.Nkeys = []*server.NkeyUser{{Nkey: public}} }
	})
	r.bucket(time.Minute, nats.Nkey(public, user.Sign))
	file := filepath.Join(t.TempDir(), "seed")
	write(t, file, string(seed)+"\n")
	r.agent("--nkey-file", file)
	r.registered("web-1")
}

func TestItLogsInWithAToken(t *testing.T) {
	r := newRig(t, func(o *natstest.Options) {
		o.Configure = func(so *server.Options) { so.Authorization = password }
	})
	r.bucket(time.Minute, nats.Token(password))
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, password+"\n")
	r.agent("--token-file", file)
	r.start([]string{"ROLLCALL_TOKEN=" + password}, "--servers", r.nats.URL(), "--node-id", "web-2", "--endpoint", "10.1.0.2:80")
	r.registered("web-1")
	r.registered("web-2")
}

// credentials makes an account, a server that trusts it, and the credentials file of a user of it.
func credentials(t *testing.T) (configure func(*server.Options), file string) {
	t.Helper()
	operator, err := nkeys.CreateOperator()
	if err != nil {
		t.Fatal(err)
	}
	operatorKey, _ := operator.PublicKey()
	resolver := &server.MemAccResolver{}
	account := func(limits jwt.JetStreamLimits) (nkeys.KeyPair, string) {
		pair, err := nkeys.CreateAccount()
		if err != nil {
			t.Fatal(err)
		}
		key, _ := pair.PublicKey()
		claims := jwt.NewAccountClaims(key)
		claims.Limits.JetStreamLimits = limits
		text, err := claims.Encode(operator)
		if err != nil {
			t.Fatal(err)
		}
		if err := resolver.Store(key, text); err != nil {
			t.Fatal(err)
		}
		return pair, key
	}
	_, system := account(jwt.JetStreamLimits{})
	fleet, _ := account(jwt.JetStreamLimits{DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit})
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	key, _ := user.PublicKey()
	seed, _ := user.Seed()
	text, err := jwt.NewUserClaims(key).Encode(fleet)
	if err != nil {
		t.Fatal(err)
	}
	content, err := jwt.FormatUserConfig(text, seed)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "user.creds")
	write(t, file, string(content))
	return func(so *server.Options) {
		claims := jwt.NewOperatorClaims(operatorKey)
		claims.SystemAccount = system
		text, err := claims.Encode(operator)
		if err != nil {
			t.Fatal(err)
		}
		if claims, err = jwt.DecodeOperatorClaims(text); err != nil {
			t.Fatal(err)
		}
		so.SystemAccount = system
		so.TrustedOperators, so.AccountResolver = []*jwt.OperatorClaims{claims}, resolver
	}, file
}

func TestItLogsInWithACredentialsFile(t *testing.T) {
	configure, file := credentials(t)
	r := newRig(t, func(o *natstest.Options) { o.Configure = configure })
	r.bucket(time.Minute, nats.UserCredentials(file))
	r.agent("--credentials-file", file)
	r.registered("web-1")
	broken := filepath.Join(t.TempDir(), "user.creds")
	write(t, broken, "no credentials")
	agent := r.agent("--credentials-file", broken)
	agent.ends(2)
	agent.says("it must hold a user's JWT and seed")
}

// The rights that docs/agent.md names are enough, and what the server denies is said once.
func TestItNeedsTheDocumentedPermissionsOnly(t *testing.T) {
	documented := []string{"$JS.API.STREAM.INFO.KV_catga_nodes", "$JS.API.STREAM.MSG.GET.KV_catga_nodes", "$KV.catga_nodes.node.web-1"}
	r := newRig(t, func(o *natstest.Options) {
		o.Configure = func(so *server.Options) {
			so.Users = []*server.User{{Username: "admin", Password: password}, {Username: "web-1", Password: password, Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: documented},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_web-1.>"}},
			}}}
		}
	})
	r.bucket(time.Minute, nats.UserInfo("admin", password))
	login := []string{"--username", "web-1", "--password", password, "--inbox-prefix", "_INBOX_web-1"}
	agent := r.agent(login...)
	r.registered("web-1")
	agent.signal(syscall.SIGTERM)
	agent.ends(0)
	r.gone("web-1")
	if n := agent.count("denies"); n != 0 {
		t.Errorf("%d permissions were denied", n)
	}
	other := r.agent(append(login, "--node-id", "web-2")...)
	other.says("nats denies the user a permission", `$KV.catga_nodes.node.web-2`)
	other.says("node can't heartbeat")
	if n := other.count("nats denies"); n != 1 {
		t.Errorf("it was said %d times that a permission is denied", n)
	}
}
