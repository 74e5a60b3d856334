package outage

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
)

func TestWhatIsHeldBack(t *testing.T) {
	const slices = "/apis/discovery.k8s.io/v1/namespaces/fleet/endpointslices"
	for _, test := range []struct {
		method, path string
		want         schema.GroupResource
		held         bool
	}{
		{http.MethodPost, slices, schema.GroupResource{Group: "discovery.k8s.io", Resource: "endpointslices"}, true},
		{http.MethodPut, slices + "/web-1", schema.GroupResource{Group: "discovery.k8s.io", Resource: "endpointslices"}, true},
		{http.MethodDelete, slices + "/web-1", schema.GroupResource{Group: "discovery.k8s.io", Resource: "endpointslices"}, true},
		{http.MethodGet, slices + "/web-1", schema.GroupResource{Group: "discovery.k8s.io", Resource: "endpointslices"}, true},
		{http.MethodPatch, "/api/v1/namespaces/fleet/pods/web-1/status", schema.GroupResource{Resource: "pods"}, true},
		{http.MethodPatch, "/apis/rollcall.dev/v1alpha1/namespaces/fleet/noderegistries/catga/status", schema.GroupResource{Group: "rollcall.dev", Resource: "noderegistries"}, true},
		{http.MethodGet, "/api/v1/namespaces/fleet/secrets/login", schema.GroupResource{Resource: "secrets"}, true},
		{http.MethodGet, slices, schema.GroupResource{}, false},
		{http.MethodGet, "/apis/discovery.k8s.io/v1/endpointslices?limit=500", schema.GroupResource{}, false},
		{http.MethodGet, "/apis/discovery.k8s.io/v1/endpointslices?watch=true&resourceVersion=7", schema.GroupResource{}, false},
		{http.MethodGet, "/apis", schema.GroupResource{}, false},
		{http.MethodGet, "/readyz", schema.GroupResource{}, false},
		{http.MethodPut, "/apis/coordination.k8s.io/v1/namespaces/rollcall-system/leases/rollcall-manager", schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}, false},
		{http.MethodPost, "/apis/events.k8s.io/v1/namespaces/fleet/events", schema.GroupResource{Group: "events.k8s.io", Resource: "events"}, false},
		{http.MethodPost, "/api/v1/namespaces/fleet/events", schema.GroupResource{Resource: "events"}, false},
	} {
		if got, held := held(httptest.NewRequest(test.method, test.path, http.NoBody)); got != test.want || held != test.held {
			t.Errorf("%s %s: held %t, as %s", test.method, test.path, held, got)
		}
	}
}

// inProtobuf and inJSON encode a Status as an API server does.
func inProtobuf(t *testing.T, status *metav1.Status) string {
	t.Helper()
	encoded, err := runtime.Encode(scheme.Codecs.EncoderForVersion(protobuf.NewSerializer(scheme.Scheme, scheme.Scheme), corev1.SchemeGroupVersion), status)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

func inJSON(t *testing.T, status *metav1.Status) string {
	t.Helper()
	encoded, err := json.Marshal(status)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// What an answer means is in its body, which the client library has to find as it was.
func TestAnAnswerOpensTheBreakerByItsBody(t *testing.T) {
	slow := internal("etcdserver: request timed out")
	gone := apierrors.NewForbidden(nodes, "x", errors.New("create not allowed while custom resource definition is terminating"))
	for name, test := range map[string]struct {
		code int
		body string
		open bool
	}{
		"200":                              {code: 200, body: "{}"},
		"404 of the resource":              {code: 404, body: "404 page not found\n", open: true},
		"404 of an object":                 {code: 404, body: inJSON(t, statusOf(apierrors.NewNotFound(nodes, "x")))},
		"404 of an object, in protobuf":    {code: 404, body: inProtobuf(t, statusOf(apierrors.NewNotFound(nodes, "x")))},
		"409":                              {code: 409, body: inJSON(t, statusOf(apierrors.NewConflict(nodes, "x", errors.New("changed"))))},
		"500, etcd slow":                   {code: 500, body: inJSON(t, statusOf(slow)), open: true},
		"500, etcd slow, in protobuf":      {code: 500, body: inProtobuf(t, statusOf(slow)), open: true},
		"500, a webhook":                   {code: 500, body: inJSON(t, statusOf(apierrors.NewInternalError(errors.New(`failed calling webhook "x"`))))},
		"503 of a load balancer":           {code: 503, body: "<html>" + strings.Repeat("x", 2*maxStatus), open: true},
		"403, a definition is terminating": {code: 403, body: inJSON(t, statusOf(gone)), open: true},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.code)
				_, _ = io.WriteString(w, test.body)
			}))
			defer server.Close()
			away, _ := newOutage()
			path := server.URL + "/apis/rollcall.dev/v1alpha1/namespaces/fleet/discoverednodes/x"
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			response, err := (&http.Client{Transport: away.Transport(http.DefaultTransport)}).Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			if err != nil || string(body) != test.body || response.StatusCode != test.code {
				t.Errorf("the answer arrived as %d %.50q, %v", response.StatusCode, body, err)
			}
			if err := response.Body.Close(); err != nil {
				t.Error(err)
			}
			if cause := away.breaker(nodes).cause; (cause != nil) != test.open {
				t.Errorf("the breaker is open for %v", cause)
			}
		})
	}
}

func TestAnAnswerThatEndsHalfwayIsNone(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusConflict)
	}))
	defer server.Close()
	away, _ := newOutage()
	response, err := (&http.Client{Transport: away.Transport(http.DefaultTransport)}).Get(server.URL + "/apis/rollcall.dev/v1alpha1/namespaces/fleet/discoverednodes/x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(response.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the body ends with %v", err)
	}
	_ = response.Body.Close()
	if away.breaker(nodes).cause == nil {
		t.Error("the breaker is closed")
	}
}

func TestAServerThatIsNotReadyIsAskedAgainAfterASecond(t *testing.T) {
	const list, update = "GET /api/v1/services", "PUT /api/v1/namespaces/fleet/services/web"
	for name, test := range map[string]struct {
		code        int
		request     string
		asked, want string
	}{
		"not ready":           {code: http.StatusServiceUnavailable, request: list, asked: "5", want: "1"},
		"not ready, soon":     {code: http.StatusServiceUnavailable, request: list, asked: "0", want: "0"},
		"not ready, no hint":  {code: http.StatusServiceUnavailable, request: list},
		"not ready, a write":  {code: http.StatusServiceUnavailable, request: update, asked: "5"},
		"not ready, a read":   {code: http.StatusServiceUnavailable, request: "GET /api/v1/namespaces/fleet/services/web", asked: "5", want: "1"},
		"too many requests":   {code: http.StatusTooManyRequests, request: list, asked: "5", want: "5"},
		"too many writes":     {code: http.StatusTooManyRequests, request: update, asked: "5", want: "5"},
		"not ready, at a day": {code: http.StatusServiceUnavailable, request: list, asked: "Mon, 23 Nov 2026 00:00:00 GMT", want: "Mon, 23 Nov 2026 00:00:00 GMT"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if test.asked != "" {
				w.Header().Set(retryAfter, test.asked)
			}
			w.WriteHeader(test.code)
		}))
		away, _ := newOutage()
		method, path, _ := strings.Cut(test.request, " ")
		request, err := http.NewRequestWithContext(context.Background(), method, server.URL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := (&http.Client{Transport: away.Transport(http.DefaultTransport)}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if got := response.Header.Get(retryAfter); got != test.want {
			t.Errorf("%s: asked to come again after %q", name, got)
		}
		_ = response.Body.Close()
		server.Close()
	}
}
