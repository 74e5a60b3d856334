package hostile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"sync"
	"time"
)

// secureInfo is plainInfo of a server that wants TLS.
const secureInfo = `{"server_id":"HOSTILE","server_name":"h","version":"2.15.2","proto":1,"headers":true,"max_payload":1048576,"jetstream":true,"tls_required":true}`

// identity is a certificate for 127.0.0.1 and its key, made once.
var identity = sync.OnceValues(func() (tls.Certificate, error) { return certify(nil) })

// CA returns the certificate that a client has to trust for the scripts whose scheme is secure, in PEM.
func CA() (string, error) {
	c, err := identity()
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})), nil
}

// certify signs a certificate with itself; padding makes it longer.
func certify(padding []byte) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "hostile"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	if len(padding) > 0 {
		template.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3, 4}, Value: padding}}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

func secured(c net.Conn) (net.Conn, error) {
	own, err := identity()
	if err != nil {
		return nil, err
	}
	return tls.Server(c, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}}), nil
}

// serveSecurely has an act done behind TLS, for which INFO asks.
func serveSecurely(a act) func(*Server, net.Conn) {
	return func(s *Server, c net.Conn) {
		if _, err := c.Write([]byte("INFO " + secureInfo + "\r\n")); err != nil {
			return
		}
		if c, err := secured(c); err == nil {
			newPeer(s, c, &a).obey()
		}
	}
}

// serveRawTLS has f done once INFO has asked for TLS and the client's first record is there.
func serveRawTLS(f func(*peer)) func(*Server, net.Conn) {
	return func(s *Server, c net.Conn) {
		p := newPeer(s, c, &act{})
		p.say("INFO %s\r\n", secureInfo)
		if _, err := p.in.Peek(5); err != nil {
			return
		}
		p.server.strike()
		p.server.done.Go(p.drain)
		f(p)
	}
}
