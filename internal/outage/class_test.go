package outage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var nodes = schema.GroupResource{Group: "rollcall.dev", Resource: "discoverednodes"}

// of returns the error of a write that failed for that reason before there was an answer.
func of(err error) error { return &url.Error{Op: "Put", URL: "https://10.0.0.1/apis", Err: err} }

// answered returns the error that the client library makes of an answer without a Status.
func answered(code int) error {
	return apierrors.NewGenericServerResponse(code, "POST", nodes, "", "page not found", 0, true)
}

// internal returns the error of an answer with a Status of the code 500.
func internal(message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Message: message}}
}

func tooNew() error {
	err := apierrors.NewTimeoutError("Too large resource version: 100, current: 90", 1)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge}}
	return err
}

func TestClasses(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for name, test := range map[string]struct {
		err                  error
		unanswered, unserved bool
	}{
		"none":                        {},
		"refused":                     {err: of(dial), unanswered: true},
		"refused, wrapped":            {err: fmt.Errorf("update endpoint slice web: %w", of(dial)), unanswered: true},
		"refused, one of two":         {err: errors.Join(of(dial), errors.New("other")), unanswered: true},
		"reset":                       {err: of(syscall.ECONNRESET), unanswered: true},
		"unknown host":                {err: of(&net.DNSError{Err: "no such host", IsNotFound: true}), unanswered: true},
		"end of a body":               {err: fmt.Errorf("unexpected error when reading response body: %w", io.ErrUnexpectedEOF), unanswered: true},
		"HTTP/2 connection lost":      {err: errors.New("http2: client connection lost"), unanswered: true},
		"timeout of the client":       {err: of(context.DeadlineExceeded), unanswered: true},
		"the manager ends":            {err: of(context.Canceled)},
		"503":                         {err: apierrors.NewServiceUnavailable("not ready"), unanswered: true},
		"503 of a load balancer":      {err: answered(http.StatusServiceUnavailable), unanswered: true},
		"502 of a load balancer":      {err: answered(http.StatusBadGateway), unanswered: true},
		"504":                         {err: apierrors.NewTimeoutError("request did not complete", 0), unanswered: true},
		"504, resource version":       {err: tooNew()},
		"500, etcd slow":              {err: internal("etcdserver: request timed out"), unanswered: true},
		"500, etcd away":              {err: internal("rpc error: code = Unavailable desc = connection refused"), unanswered: true},
		"500, webhook":                {err: apierrors.NewInternalError(errors.New("failed calling webhook \"x\": connection refused"))},
		"503 of a webhook":            {err: apierrors.NewServiceUnavailable("admission webhook \"x\" denied the request: later")},
		"410":                         {err: apierrors.NewResourceExpired("too old resource version")},
		"429":                         {err: apierrors.NewTooManyRequests("later", 1)},
		"403":                         {err: apierrors.NewForbidden(nodes, "catga.web-1", errors.New("no right"))},
		"403 of a quota":              {err: apierrors.NewForbidden(nodes, "x", errors.New("exceeded quota: small"))},
		"403, definition terminating": {err: apierrors.NewForbidden(nodes, "x", errors.New("create not allowed while custom resource definition is terminating")), unserved: true},
		"404 of an object":            {err: apierrors.NewNotFound(nodes, "catga.web-1")},
		"404 of the resource":         {err: answered(http.StatusNotFound), unserved: true},
		"405":                         {err: apierrors.NewMethodNotSupported(nodes, "create"), unserved: true},
		"not sent":                    {err: of(fmt.Errorf("%w: %s", errWaited, "404")), unanswered: true},
		"no match":                    {err: &meta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "DiscoveredNode"}}, unserved: true},
		"409":                         {err: apierrors.NewConflict(nodes, "catga.web-1", errors.New("changed"))},
		"422":                         {err: apierrors.NewInvalid(schema.GroupKind{Kind: "DiscoveredNode"}, "catga.web-1", nil)},
		"of our own":                  {err: errors.New("no such registry")},
	} {
		if Unanswered(test.err) != test.unanswered || Unserved(test.err) != test.unserved {
			t.Errorf("%s: unanswered %t, unserved %t: %v", name, Unanswered(test.err), Unserved(test.err), test.err)
		}
	}
}
