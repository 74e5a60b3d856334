package outage

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// Unanswered says whether a request failed because the API server is away, is not ready, or has lost its etcd: the very
// same request is answered once it is back. A refusal is an answer, and so is the demand to come again later (429), which
// the client library obeys.
func Unanswered(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if Withheld(err) {
		return true
	}
	if answer := apierrors.APIStatus(nil); errors.As(err, &answer) {
		status := answer.Status()
		if strings.Contains(status.Message, webhook) {
			return false
		}
		return status.Code > http.StatusInternalServerError && !apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) ||
			status.Code == http.StatusInternalServerError && ofStorage(status.Message)
	}
	return cut(err)
}

// webhook is in what the API server says of an admission webhook that refused an object, with a code of the webhook's own, or
// that failed: the object's own trouble.
const webhook = "webhook \""

// cut says whether a request ended without an answer. What http.Client itself returns is never of the API server's making;
// the rest is for an answer that ends halfway.
func cut(err error) bool {
	if _, ok := errors.AsType[*url.Error](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || utilnet.IsProbableEOF(err) || utilnet.IsTimeout(err) ||
		utilnet.IsConnectionReset(err) || utilnet.IsConnectionRefused(err) || utilnet.IsHTTP2ConnectionLost(err)
}

// ofStorage says whether an internal error is etcd's. Others, such as that of a webhook, are about one object and say
// nothing of the rest.
func ofStorage(message string) bool {
	return strings.Contains(message, "etcdserver: ") || strings.Contains(message, "rpc error: code = Unavailable")
}

// terminating is what the API server says of a create while the resource's definition is being deleted. The answer has no
// other mark.
const terminating = "custom resource definition is terminating"

// Withheld says whether a request was not sent, since others before it got no answer.
func Withheld(err error) bool { return errors.Is(err, errWaited) }

// unauthorized says whether the API server did not know who asks, or what they may do: one that is just starting knows neither. An
// admission that forbids an object, a quota or a namespace that ends is an answer.
func unauthorized(err error) bool {
	return apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err) && strings.Contains(err.Error(), `" cannot `)
}

// Unserved says whether a request failed because the API server does not serve the resource: its definition is gone or
// about to go. That a single object is not found is something else.
func Unserved(err error) bool {
	switch {
	case err == nil:
		return false
	case apierrors.IsNotFound(err):
		return apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
	case apierrors.IsForbidden(err):
		return strings.Contains(err.Error(), terminating)
	default:
		return meta.IsNoMatchError(err) || apierrors.IsMethodNotSupported(err)
	}
}
