package hostile

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// The names of the Secrets that the NodeRegistries of a tenant read.
const (
	authority = "hostile-ca"
	login     = "hostile-login"
)

// Secrets returns what the NodeRegistries of a namespace read: whom they trust, and a password.
func Secrets(namespace string) ([]*corev1.Secret, error) {
	ca, err := CA()
	if err != nil {
		return nil, err
	}
	secret := func(name string, data map[string]string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: data}
	}
	return []*corev1.Secret{
		secret(authority, map[string]string{"ca.crt": ca}),
		secret(login, map[string]string{"username": "tenant", "password": "tenants-own"}),
	}, nil
}

// Registry returns a NodeRegistry of the server. It may have few nodes: how many there are at most is the tenant's, and not the
// server's.
func (s *Server) Registry(namespace, name string) *rollcallv1alpha1.NodeRegistry {
	connection := rollcallv1alpha1.Connection{
		Servers: []string{s.URL()},
		Auth:    &rollcallv1alpha1.Auth{UserPassword: &rollcallv1alpha1.SecretReference{Name: login}},
	}
	if s.script.secure() {
		connection.TLS = &rollcallv1alpha1.TLS{CA: &rollcallv1alpha1.CAReference{Kind: rollcallv1alpha1.CASecret, Name: authority, Key: "ca.crt"}}
	}
	return &rollcallv1alpha1.NodeRegistry{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       rollcallv1alpha1.NodeRegistrySpec{Connection: connection, MaxNodes: new(int32(100))},
	}
}
