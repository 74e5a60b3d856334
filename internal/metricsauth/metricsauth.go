// Package metricsauth says how the manager serves its metrics: over TLS, and only to those who may read them.
package metricsauth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"

	authorizationv1 "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// The rules of config/rbac/metrics_auth_role.yaml: who asks for the metrics, and may they?
//
//+kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
//+kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

var needed = []authorizationv1.ResourceAttributes{
	{Group: "authentication.k8s.io", Resource: "tokenreviews", Verb: "create"},
	{Group: "authorization.k8s.io", Resource: "subjectaccessreviews", Verb: "create"},
}

const (
	certFile = "tls.crt"
	keyFile  = "tls.key"
)

// Server returns the options of a metrics server that answers over TLS, and only to a token of the cluster whose owner may
// get the path /metrics. The certificate and its key are the files tls.crt and tls.key of a directory, and are read again
// when they change; with no directory, the certificate is self-signed. The error says that they can't be used.
func Server(address, directory string) (metricsserver.Options, error) {
	if directory != "" {
		// The server would serve with a self-signed certificate if they were not there, and nobody would know.
		if _, err := tls.LoadX509KeyPair(filepath.Join(directory, certFile), filepath.Join(directory, keyFile)); err != nil {
			return metricsserver.Options{}, fmt.Errorf("read the certificate of the metrics endpoint: %w", err)
		}
	}
	return metricsserver.Options{
		BindAddress:    address,
		SecureServing:  true,
		FilterProvider: filters.WithAuthenticationAndAuthorization,
		CertDir:        directory,
		CertName:       certFile,
		KeyName:        keyFile,
		// A scraper needs no HTTP/2, so its ways to keep a server busy are not offered.
		TLSOpts: []func(*tls.Config){func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }},
	}, nil
}

// Check asks the API server whether this client may find out who asks for the metrics, and whether they may have them.
// Without that right the metrics server answers nobody; the error says which right it is.
func Check(ctx context.Context, c client.Client) error {
	var missing []error
	for _, attributes := range needed {
		review := &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &attributes},
		}
		if err := c.Create(ctx, review); err != nil {
			return err
		}
		if !review.Status.Allowed {
			missing = append(missing, fmt.Errorf("no right to %s %s.%s", attributes.Verb, attributes.Resource, attributes.Group))
		}
	}
	return errors.Join(missing...)
}
