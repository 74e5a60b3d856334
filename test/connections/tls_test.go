package connections

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// authority signs certificates.
type authority struct {
	*testing.T
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{T: t}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	certificate, key, text := a.sign(template, nil)
	a.certificate, a.key, a.pem = certificate, key, text
	return a
}

// sign signs a certificate, with itself if there is no parent.
func (a *authority) sign(template, parent *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, string) {
	a.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(a, err)
	template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	must(a, err)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	signer := a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	must(a, err)
	certificate, err := x509.ParseCertificate(der)
	must(a, err)
	return certificate, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// issue returns a certificate for a host and its key, in PEM.
func (a *authority) issue(host string) (certificate, key string) {
	a.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: host}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	_, private, text := a.sign(template, a.certificate)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	must(a, err)
	return text, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// server returns the TLS settings of a server with a certificate for a host, which demands one of its clients if asked.
func (a *authority) server(host string, demand bool) *tls.Config {
	a.Helper()
	certificate, key := a.issue(host)
	own, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	must(a, err)
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}}
	if demand {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		config.ClientCAs.AddCert(a.certificate)
	}
	return config
}

func withTLS(config *tls.Config) func(*server.Options) {
	return func(o *server.Options) {
		o.TLSConfig, o.TLS, o.TLSTimeout = config, true, 5
		o.TLSVerify = config.ClientAuth == tls.RequireAndVerifyClientCert
	}
}

func tlsSpec(t *rollcallv1alpha1.TLS) func(*rollcallv1alpha1.NodeRegistrySpec) {
	return func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Connection.TLS = t }
}

func secretCA(name string) *rollcallv1alpha1.CAReference {
	return &rollcallv1alpha1.CAReference{Kind: rollcallv1alpha1.CASecret, Name: name, Key: "ca.crt"}
}

func TestCA(t *testing.T) {
	t.Parallel()
	mine, other := newAuthority(t), newAuthority(t)
	r := newRig(t, withTLS(mine.server("127.0.0.1", false)))
	r.secret("ca", map[string]string{"ca.crt": mine.pem})
	r.secret("other", map[string]string{"ca.crt": other.pem})
	must(t, r.API.Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "ca"}, Data: map[string]string{"bundle.pem": other.pem + mine.pem},
	}))
	r.registry("secret", tlsSpec(&rollcallv1alpha1.TLS{CA: secretCA("ca")}))
	r.registry("configmap", tlsSpec(&rollcallv1alpha1.TLS{CA: &rollcallv1alpha1.CAReference{Kind: rollcallv1alpha1.CAConfigMap, Name: "ca", Key: "bundle.pem"}}))
	r.registry("other", tlsSpec(&rollcallv1alpha1.TLS{CA: secretCA("other")}))
	r.registry("none")
	r.await("secret", "Ready", "True/Ready")
	r.await("configmap", "Ready", "True/Ready")
	for _, refused := range []string{"other", "none"} {
		r.await(refused, "Connected", "False/TLSFailed", "TLS", "certificate signed by unknown authority")
		r.await(refused, "Ready", "False/TLSFailed", "TLS")
	}
	// Another bundle is picked up as well.
	r.secret("other", map[string]string{"ca.crt": mine.pem})
	r.await("other", "Ready", "True/Ready")
}

func TestServerName(t *testing.T) {
	t.Parallel()
	mine := newAuthority(t)
	r := newRig(t, withTLS(mine.server("nats.example.com", false)))
	r.secret("ca", map[string]string{"ca.crt": mine.pem})
	r.registry("named", tlsSpec(&rollcallv1alpha1.TLS{CA: secretCA("ca"), ServerName: "nats.example.com"}))
	r.registry("unnamed", tlsSpec(&rollcallv1alpha1.TLS{CA: secretCA("ca")}))
	r.await("named", "Ready", "True/Ready")
	r.await("unnamed", "Connected", "False/TLSFailed", "TLS", "127.0.0.1")
}

func TestClientCertificate(t *testing.T) {
	t.Parallel()
	mine, other := newAuthority(t), newAuthority(t)
	r := newRig(t, withTLS(mine.server("127.0.0.1", true)))
	r.secret("ca", map[string]string{"ca.crt": mine.pem})
	for name, signer := range map[string]*authority{"mine": mine, "other": other} {
		certificate, key := signer.issue("rollcall")
		r.secret(name, map[string]string{"tls.crt": certificate, "tls.key": key})
		r.registry(name, tlsSpec(&rollcallv1alpha1.TLS{CA: secretCA("ca"), ClientCertificate: &rollcallv1alpha1.SecretReference{Name: name}}))
	}
	r.registry("none", tlsSpec(&rollcallv1alpha1.TLS{CA: secretCA("ca")}))
	r.await("mine", "Ready", "True/Ready")
	for _, refused := range []string{"other", "none"} {
		r.await(refused, "Connected", "False/TLSFailed", "TLS")
	}
}

// A websocket is secured by its scheme.
func TestWebsocket(t *testing.T) {
	t.Parallel()
	mine := newAuthority(t)
	r := newRig(t, func(o *server.Options) {
		o.Websocket = server.WebsocketOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT, TLSConfig: mine.server("127.0.0.1", false), HandshakeTimeout: 5 * time.Second}
	})
	r.secret("ca", map[string]string{"ca.crt": mine.pem})
	varz, err := r.nats.NATS().Varz(nil)
	must(t, err)
	r.registry("socket", tlsSpec(&rollcallv1alpha1.TLS{CA: secretCA("ca")}), func(s *rollcallv1alpha1.NodeRegistrySpec) {
		s.Connection.Servers = []string{fmt.Sprintf("wss://127.0.0.1:%d", varz.Websocket.Port)}
	})
	r.await("socket", "Ready", "True/Ready")
}

// A server with handshake_first says nothing before TLS.
func TestHandshakeFirst(t *testing.T) {
	t.Parallel()
	mine := newAuthority(t)
	r := newRig(t, func(o *server.Options) {
		withTLS(mine.server("127.0.0.1", false))(o)
		o.TLSHandshakeFirst = true
	})
	r.secret("ca", map[string]string{"ca.crt": mine.pem})
	r.registry("first", tlsSpec(&rollcallv1alpha1.TLS{CA: secretCA("ca"), HandshakeFirst: true}))
	r.registry("later", tlsSpec(&rollcallv1alpha1.TLS{CA: secretCA("ca")}))
	r.await("first", "Ready", "True/Ready")
	r.await("later", "Ready", "False/ServerUnreachable", "handshake first")
}
