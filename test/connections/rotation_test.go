package connections

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// The authority changes as people change it: first both are trusted, then the servers show certificates of the new one, then
// the old one goes. The client's certificate changes with it. No endpoint goes.
func TestCertificatesThatAreRotated(t *testing.T) {
	t.Parallel()
	older, newer := newAuthority(t), newAuthority(t)
	both := x509.NewCertPool()
	both.AddCert(older.certificate)
	both.AddCert(newer.certificate)
	var shown atomic.Pointer[tls.Config]
	shows := func(a *authority, trusts *x509.CertPool) {
		config := a.server("127.0.0.1", true)
		if trusts != nil {
			config.ClientCAs = trusts
		}
		shown.Store(config)
	}
	shows(older, nil)
	r := newRig(t, func(o *server.Options) {
		config := older.server("127.0.0.1", true)
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return shown.Load(), nil }
		withTLS(config)(o)
	})
	client := func(a *authority) map[string]string {
		certificate, key := a.issue("rollcall")
		return map[string]string{"tls.crt": certificate, "tls.key": key}
	}
	r.secret("ca", map[string]string{"ca.crt": older.pem})
	r.secret("client", client(older))
	r.registry("catga", tlsSpec(&rollcallv1alpha1.TLS{CA: secretCA("ca"), ClientCertificate: &rollcallv1alpha1.SecretReference{Name: "client"}}))
	r.service()
	r.await("catga", "Ready", "True/Ready")
	certificate, key := older.issue("fleet")
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	must(t, err)
	trusted := x509.NewCertPool()
	trusted.AddCert(older.certificate)
	fleet := r.nats.Connect(t, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trusted, Certificates: []tls.Certificate{pair}}))
	r.put(fleet, "web-1", "web-2")
	r.Within(patience, "two endpoints", func() bool { return r.endpoints() == 2 })
	end := r.keeps(2)

	r.secret("ca", map[string]string{"ca.crt": older.pem + newer.pem})
	shows(newer, both)
	must(t, r.nats.Restart())
	r.await("catga", "Connected", "True/Connected")
	r.await("catga", "Ready", "True/Ready")
	r.secret("client", client(newer))
	shows(newer, nil)
	must(t, r.nats.Restart())
	r.await("catga", "Connected", "False/TLSFailed")
	r.await("catga", "Ready", "True/Ready")
	r.secret("ca", map[string]string{"ca.crt": newer.pem})
	must(t, r.nats.Restart())
	r.await("catga", "Ready", "True/Ready")
	end()
}
