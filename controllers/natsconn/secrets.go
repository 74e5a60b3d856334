package natsconn

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"maps"
	"time"

	"github.com/nats-io/nats.go"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

//+kubebuilder:rbac:groups="",resources=secrets;configmaps,verbs=get

// credentials are what the Secrets and ConfigMaps of a connection hold, ready for use.
type credentials struct {
	// auth logs in; nil: without a login.
	auth nats.Option
	// tls secures the connection; nil: as the server and its URL ask for.
	tls *tls.Config
	// expires is when the server ends a connection with that login; zero: it does not.
	expires time.Time
	// digest is that of everything that was read: equal credentials have equal digests.
	digest [sha256.Size]byte
}

// SpecError says what is wrong with spec.connection, or with a Secret or ConfigMap that it names. Of these it has the name and
// the key, and never any of their content; for the same reason it wraps no error of a parser.
type SpecError struct {
	Reason, Message string
	// away says that the API server did not answer, so that nobody knows what the Secret holds.
	away bool
}

// lost reports whether the error says that a Secret, a ConfigMap or a key in it is gone.
func lost(err error) bool {
	wrong, ok := errors.AsType[*SpecError](err)
	return ok && wrong.Reason == rollcallv1alpha1.ReasonSecretNotFound
}

// Error implements error.
func (e *SpecError) Error() string { return e.Message }

func fault(reason, format string, args ...any) error {
	return &SpecError{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return fault(rollcallv1alpha1.ReasonSecretInvalid, format, args...)
}

// source is where the credentials of a connection come from.
type source struct {
	// reader must not be a cache: a cache would list and keep every Secret of the cluster.
	reader     client.Reader
	namespace  string
	connection rollcallv1alpha1.Connection
}

// read reads the credentials. The error is a *SpecError if somebody has to correct something, else that of the API
// server.
func (s *source) read(ctx context.Context) (*credentials, error) {
	r := &reading{ctx: ctx, source: s, objects: map[reference]map[string][]byte{}, digest: sha256.New()}
	auth, err := r.auth(s.connection.Auth)
	if err != nil {
		return nil, err
	}
	secured, err := r.tls(s.connection.TLS)
	if err != nil {
		return nil, err
	}
	return &credentials{auth: auth, tls: secured, expires: r.expires, digest: [sha256.Size]byte(r.digest.Sum(nil))}, nil
}

type reference struct {
	kind rollcallv1alpha1.CAKind
	name string
}

// reading is one pass over the references. It gets each object once, so that two keys of a Secret belong together.
type reading struct {
	ctx     context.Context
	source  *source
	objects map[reference]map[string][]byte
	digest  hash.Hash
	expires time.Time
}

// value returns what a key holds.
func (r *reading) value(ref reference, key string) ([]byte, error) {
	data, got := r.objects[ref]
	if !got {
		var err error
		if data, err = r.get(ref); err != nil {
			return nil, err
		}
		r.objects[ref] = data
	}
	value, found := data[key]
	if !found {
		return nil, fault(rollcallv1alpha1.ReasonSecretNotFound, "%s %q has no key %q", ref.kind, ref.name, key)
	}
	r.digest.Write(binary.BigEndian.AppendUint64(nil, uint64(len(value))))
	r.digest.Write(value)
	return value, nil
}

func (r *reading) secret(name, key string) ([]byte, error) {
	return r.value(reference{rollcallv1alpha1.CASecret, name}, key)
}

func (r *reading) get(ref reference) (map[string][]byte, error) {
	name := client.ObjectKey{Namespace: r.source.namespace, Name: ref.name}
	var secret corev1.Secret
	var configMap corev1.ConfigMap
	var err error
	if ref.kind == rollcallv1alpha1.CAConfigMap {
		err = r.source.reader.Get(r.ctx, name, &configMap)
	} else {
		err = r.source.reader.Get(r.ctx, name, &secret)
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil, fault(rollcallv1alpha1.ReasonSecretNotFound, "%s %q does not exist in this namespace", ref.kind, ref.name)
	case apierrors.IsForbidden(err):
		return nil, fault(rollcallv1alpha1.ReasonSecretUnreadable, "Rollcall has no right to get %s %q", ref.kind, ref.name)
	case err != nil:
		return nil, fmt.Errorf("get %s %q: %w", ref.kind, ref.name, err)
	case ref.kind == rollcallv1alpha1.CAConfigMap:
		return dataOf(&configMap), nil
	}
	return secret.Data, nil
}

func dataOf(configMap *corev1.ConfigMap) map[string][]byte {
	data := map[string][]byte{}
	for key, value := range configMap.Data {
		data[key] = []byte(value)
	}
	maps.Copy(data, configMap.BinaryData)
	return data
}

func (r *reading) auth(a *rollcallv1alpha1.Auth) (nats.Option, error) {
	switch {
	case a == nil:
		return nil, nil
	case a.Credentials != nil:
		return r.login(a.Credentials, credentialsFile, "a credentials file with a user's JWT and seed, as nsc writes it")
	case a.NKey != nil:
		return r.login(a.NKey, nkey, "the seed of a user NKey, which begins with SU")
	case a.Token != nil:
		return r.login(a.Token, token, "a token")
	case a.UserPassword != nil:
		return r.userPassword(a.UserPassword.Name)
	}
	return nil, nil
}

// login reads a key and lets parse make a login of it, which returns nil if that can't be done.
func (r *reading) login(ref *rollcallv1alpha1.SecretKeyReference, parse func([]byte) nats.Option, want string) (nats.Option, error) {
	value, err := r.secret(ref.Name, ref.Key)
	if err != nil {
		return nil, err
	}
	if option := parse(value); option != nil {
		r.expires = expiry(value)
		return option, nil
	}
	return nil, invalid("key %q of Secret %q must hold %s", ref.Key, ref.Name, want)
}

// The keys of a Secret of the type kubernetes.io/basic-auth.
const (
	keyUsername = corev1.BasicAuthUsernameKey
	keyPassword = corev1.BasicAuthPasswordKey
)

func (r *reading) userPassword(name string) (nats.Option, error) {
	user, err := r.secret(name, keyUsername)
	if err != nil {
		return nil, err
	}
	password, err := r.secret(name, keyPassword)
	if err != nil {
		return nil, err
	}
	if user = line(user); len(user) == 0 {
		return nil, invalid("key %q of Secret %q must hold a user name", keyUsername, name)
	}
	return nats.UserInfo(string(user), string(line(password))), nil
}

func (r *reading) tls(t *rollcallv1alpha1.TLS) (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != nil {
		bundle, err := r.value(reference{t.CA.Kind, t.CA.Name}, t.CA.Key)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(bundle) {
			return nil, invalid("key %q of %s %q must hold certificates in PEM", t.CA.Key, t.CA.Kind, t.CA.Name)
		}
	}
	if t.ClientCertificate != nil {
		name := t.ClientCertificate.Name
		certificate, err := r.secret(name, corev1.TLSCertKey)
		if err != nil {
			return nil, err
		}
		key, err := r.secret(name, corev1.TLSPrivateKeyKey)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(certificate, key)
		if err != nil {
			return nil, invalid("the keys %q and %q of Secret %q must hold a certificate and its private key in PEM", corev1.TLSCertKey, corev1.TLSPrivateKeyKey, name)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// line returns a value without the line end that a Secret made from a file often has.
func line(value []byte) []byte { return bytes.TrimRight(value, "\r\n") }
