package outage

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/kubernetes/scheme"
)

// notReadyRetry is after how many seconds a request is sent again which an API server has refused that is not ready yet.
const notReadyRetry = 1

// maxStatus bounds what is read of an answer that refuses, before the client library reads it.
const maxStatus = 64 << 10

const retryAfter = "Retry-After"

// Transport returns next as one with a breaker for each resource. It repeats no request but that of an Event, which tells of what has
// been: what another carries may be old by the time the API server answers, so its error goes back to whoever makes the next one
// from what is so by then.
//
// The client library repeats requests where the API server answers that it is not ready (503) and when to come again. Here that is
// after a second at most, since an API server that is starting asks for five and is mostly ready much sooner; a write is not repeated.
// It fits rest.Config.Wrap.
func (o *Outage) Transport(next http.RoundTripper) http.RoundTripper { return &transport{o, next} }

type transport struct {
	outage *Outage
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	resource, held := held(r)
	if !held {
		response, err := t.next.RoundTrip(r)
		if err == nil {
			hasten(response)
		}
		return response, err
	}
	for {
		response, wrong, err := t.send(r, resource)
		if resource.Resource != "events" || r.GetBody == nil || !Unanswered(wrong) || r.Context().Err() != nil {
			return response, err
		}
		if response != nil {
			_ = response.Body.Close()
		}
		r = r.Clone(r.Context())
		if r.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
}

// send sends a request when it is its turn. What the client library will make of the answer is in wrong; nil: no error.
func (t *transport) send(r *http.Request, resource schema.GroupResource) (response *http.Response, wrong, err error) {
	b := t.outage.breaker(resource)
	if err := b.wait(r.Context()); err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err, err
	}
	response, err = t.next.RoundTrip(r)
	if err != nil {
		wrong = &url.Error{Op: r.Method, URL: r.URL.String(), Err: err}
		b.ended(wrong)
		return nil, wrong, err
	}
	wrong = refusal(r, resource, response)
	b.ended(wrong)
	hasten(response)
	if r.Method != http.MethodGet && Unanswered(wrong) {
		response.Header.Del(retryAfter)
	}
	return response, wrong, nil
}

// WrappedRoundTripper lets the client library look inside.
func (t *transport) WrappedRoundTripper() http.RoundTripper { return t.next }

var infos = request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}

// held returns the resource that a request is for, and whether the request is held back while that is away. Lists and watches are
// not: NewInformer tries them again. Nor is the renewal of the Lease, which has a pace of its own.
func held(r *http.Request) (schema.GroupResource, bool) {
	info, err := infos.NewRequestInfo(r)
	if err != nil || !info.IsResourceRequest || info.Verb == "list" || info.Verb == "watch" {
		return schema.GroupResource{}, false
	}
	return schema.GroupResource{Group: info.APIGroup, Resource: info.Resource}, info.Resource != "leases"
}

// hasten has the client library come again sooner where the API server is not ready.
func hasten(response *http.Response) {
	if response.StatusCode != http.StatusServiceUnavailable {
		return
	}
	if seconds, err := strconv.Atoi(response.Header.Get(retryAfter)); err == nil && seconds > notReadyRetry {
		response.Header.Set(retryAfter, strconv.Itoa(notReadyRetry))
	}
}

// refusal returns the error that the client library will make of an answer, nil if none. It leaves the body as it was.
func refusal(r *http.Request, resource schema.GroupResource, response *http.Response) error {
	if response.StatusCode < http.StatusBadRequest {
		return nil
	}
	head, err := io.ReadAll(io.LimitReader(response.Body, maxStatus))
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), response.Body), response.Body}
	if err != nil {
		return &url.Error{Op: r.Method, URL: r.URL.String(), Err: err}
	}
	if decoded, err := runtime.Decode(scheme.Codecs.UniversalDeserializer(), head); err == nil {
		if status, ok := decoded.(*metav1.Status); ok {
			return apierrors.FromObject(status)
		}
	}
	return apierrors.NewGenericServerResponse(response.StatusCode, r.Method, resource, "", string(head), 0, true)
}
