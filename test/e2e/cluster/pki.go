//go:build linux

package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// lifetime is how long the certificates of a cluster are valid, which lives for minutes.
const lifetime = 24 * time.Hour

// authority signs the certificates of a cluster and writes them to a folder.
type authority struct {
	dir         string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// identity is who a certificate speaks for: as a client a user and its groups, as a server its names and addresses.
type identity struct {
	user   string
	groups []string
	names  []string
	ips    []net.IP
}

// newAuthority makes an authority, and writes its certificate to ca.crt.
func newAuthority(dir string) (*authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	certificate, err := cert.NewSelfSignedCACert(cert.Config{CommonName: "rollcall-e2e"}, key)
	if err != nil {
		return nil, err
	}
	a := &authority{dir: dir, certificate: certificate, key: key}
	return a, a.write("ca.crt", certificate)
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// issue writes a key and a certificate to <name>.key and <name>.crt.
func (a *authority) issue(name string, who identity) error {
	key, err := a.writeKey(name)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: who.user, Organization: who.groups},
		DNSNames:     who.names,
		IPAddresses:  who.ips,
		NotBefore:    a.certificate.NotBefore,
		NotAfter:     time.Now().Add(lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	return a.write(name+".crt", certificate)
}

func (a *authority) write(name string, certificate *x509.Certificate) error {
	pem, err := cert.EncodeCertificates(certificate)
	if err != nil {
		return err
	}
	return cert.WriteCert(a.path(name), pem)
}

// writeKey makes a private key and writes it to <name>.key.
func (a *authority) writeKey(name string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	pem, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return nil, err
	}
	return key, keyutil.WriteKey(a.path(name+".key"), pem)
}
