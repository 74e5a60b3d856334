package outage

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
)

const (
	nodesPath  = "/apis/rollcall.dev/v1alpha1/namespaces/fleet/discoverednodes"
	slicesPath = "/apis/discovery.k8s.io/v1/namespaces/fleet/endpointslices"
)

func TestWhatIsHeldBack(t *testing.T) {
	for request, want := range map[string]string{
		"POST " + slicesPath:                                  "endpointslices.discovery.k8s.io",
		"PUT " + slicesPath + "/web-1":                        "endpointslices.discovery.k8s.io",
		"DELETE " + slicesPath + "/web-1":                     "endpointslices.discovery.k8s.io",
		"GET " + slicesPath + "/web-1":                        "endpointslices.discovery.k8s.io",
		"PATCH " + nodesPath + "/x/status":                    "discoverednodes.rollcall.dev",
		"PATCH /api/v1/namespaces/fleet/pods/web-1/status":    "pods",
		"GET /api/v1/namespaces/fleet/secrets/login":          "secrets",
		"GET " + slicesPath:                                   "",
		"GET " + slicesPath + "?watch=true&resourceVersion=7": "",
		"GET /apis":   "",
		"GET /readyz": "",
		"PUT /apis/coordination.k8s.io/v1/namespaces/a/leases/leader": "",
		"POST /apis/events.k8s.io/v1/namespaces/fleet/events":         "events.events.k8s.io",
	} {
		method, path, _ := strings.Cut(request, " ")
		if resource, held := held(httptest.NewRequest(method, path, http.NoBody)); held != (want != "") || held && resource.String() != want {
			t.Errorf("%s: held %t, as %s", request, held, resource)
		}
	}
}

// inJSON and inProtobuf encode an error's Status as an API server does.
func inJSON(t *testing.T, err error) string {
	t.Helper()
	encoded, err := json.Marshal(statusOf(err))
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

func inProtobuf(t *testing.T, err error) string {
	t.Helper()
	encoder := scheme.Codecs.EncoderForVersion(protobuf.NewSerializer(scheme.Scheme, scheme.Scheme), corev1.SchemeGroupVersion)
	encoded, err := runtime.Encode(encoder, statusOf(err))
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// What an answer means is in its body, which the client library has to find as it was. When to come again, it is not told of a write.
func TestAnAnswerOpensTheBreakerByItsBody(t *testing.T) {
	slow, missing := internal("etcdserver: request timed out"), apierrors.NewNotFound(nodes, "x")
	gone := apierrors.NewForbidden(nodes, "x", errors.New("create not allowed while custom resource definition is terminating"))
	const date = "Mon, 23 Nov 2026 00:00:00 GMT"
	for name, test := range map[string]struct {
		method, path string
		code         int
		body         string
		open         bool
		retry, want  string
	}{
		"200":                              {code: 200, body: "{}"},
		"404 of the resource":              {code: 404, body: "404 page not found\n", open: true},
		"404 of an object":                 {code: 404, body: inJSON(t, missing)},
		"404 of an object, in protobuf":    {code: 404, body: inProtobuf(t, missing)},
		"409, cut off":                     {code: 409, open: true, body: "cut"},
		"429":                              {code: 429, retry: "5", want: "5"},
		"500, etcd slow":                   {code: 500, body: inJSON(t, slow), open: true},
		"500, etcd slow, in protobuf":      {code: 500, body: inProtobuf(t, slow), open: true},
		"500, a webhook":                   {code: 500, body: inJSON(t, apierrors.NewInternalError(errors.New(`failed calling webhook "x"`)))},
		"503 of a load balancer":           {code: 503, body: "<html>" + strings.Repeat("x", 2*maxStatus), open: true, retry: "5"},
		"503, a read":                      {code: 503, open: true, method: http.MethodGet, retry: "5", want: "1"},
		"503, a list":                      {code: 503, method: http.MethodGet, path: nodesPath, retry: "5", want: "1"},
		"503, a list, at once":             {code: 503, method: http.MethodGet, path: nodesPath, retry: "0", want: "0"},
		"503, a list, at a time":           {code: 503, method: http.MethodGet, path: nodesPath, retry: date, want: date},
		"403, a definition is terminating": {code: 403, body: inJSON(t, gone), open: true},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if test.body == "cut" {
					w.Header().Set("Content-Length", "100")
				}
				if test.retry != "" {
					w.Header().Set(retryAfter, test.retry)
				}
				w.WriteHeader(test.code)
				_, _ = io.WriteString(w, test.body)
			}))
			defer server.Close()
			away, _ := newOutage()
			url := server.URL + cmp.Or(test.path, nodesPath+"/x")
			request, err := http.NewRequestWithContext(t.Context(), cmp.Or(test.method, http.MethodPut), url, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			response, err := (&http.Client{Transport: away.Transport(http.DefaultTransport)}).Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			if string(body) != test.body || response.StatusCode != test.code || (err != nil) != (test.body == "cut") {
				t.Errorf("the answer arrived as %d %.50q, %v", response.StatusCode, body, err)
			}
			if err := response.Body.Close(); err != nil {
				t.Error(err)
			}
			if cause := away.breaker(nodes).cause; (cause != nil) != test.open {
				t.Errorf("the breaker is open for %v", cause)
			}
			if got := response.Header.Get(retryAfter); got != test.want {
				t.Errorf("asked to come again after %q", got)
			}
		})
	}
}
