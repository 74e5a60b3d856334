package faults

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/rollcall-dev/rollcall/internal/testenv"
)

func rawVersion(list metav1.ListInterface) *metav1.ListOptions {
	return &metav1.ListOptions{ResourceVersion: list.GetResourceVersion(), AllowWatchBookmarks: true}
}

// liar is a reverse proxy in front of the API server that can refuse requests and break watches. It speaks HTTP without
// TLS, so that a manager whose clock is wrong is not stopped by a certificate.
type liar struct {
	server *httptest.Server

	mu sync.Mutex
	// refuse returns the code with which a request is refused; 0 lets it through.
	refuse func(*http.Request) int
	// watches are the open watches by what they watch, and expired those that are to be told so.
	watches map[*http.Request]context.CancelFunc
	expired map[string]int
	refused int
}

func newLiar(t *testing.T, env *testenv.Env) *liar {
	t.Helper()
	target, err := url.Parse(env.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	if target.Scheme == "" {
		target = &url.URL{Scheme: "https", Host: env.Config.Host}
	}
	transport, err := rest.TransportFor(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1,
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	l := &liar{watches: map[*http.Request]context.CancelFunc{}, expired: map[string]int{}}
	l.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { l.serve(proxy, w, r) }))
	t.Cleanup(func() {
		l.expire()
		l.server.CloseClientConnections()
		l.server.Close()
	})
	return l
}

func (l *liar) serve(proxy http.Handler, w http.ResponseWriter, r *http.Request) {
	watching := r.URL.Query().Get("watch") == "true"
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	r = r.WithContext(ctx)
	if code := l.admit(r, watching, cancel); code != 0 {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d,"message":"a fault of the test's own"}`,
			reasons[code], code)
		return
	}
	proxy.ServeHTTP(w, r)
	l.mu.Lock()
	delete(l.watches, r)
	l.mu.Unlock()
}

var reasons = map[int]metav1.StatusReason{
	http.StatusTooManyRequests: metav1.StatusReasonTooManyRequests, http.StatusConflict: metav1.StatusReasonConflict,
	http.StatusGone: metav1.StatusReasonExpired, http.StatusServiceUnavailable: metav1.StatusReasonServiceUnavailable,
}

// admit returns the code with which the request is to be refused, or 0.
func (l *liar) admit(r *http.Request, watching bool, cancel context.CancelFunc) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse != nil {
		if code := l.refuse(r); code != 0 {
			l.refused++
			return code
		}
	}
	if !watching {
		return 0
	}
	if l.expired[r.URL.Path] > 0 {
		l.expired[r.URL.Path]--
		return http.StatusGone
	}
	l.watches[r] = cancel
	return 0
}

// refusing refuses requests from now on; nil lets all through.
func (l *liar) refusing(refuse func(*http.Request) int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = refuse
}

// expire ends all watches, and answers the next of each with 410 Gone: it has to list anew.
func (l *liar) expire() (watches int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for r, cancel := range l.watches {
		l.expired[r.URL.Path] = 1
		cancel()
		watches++
	}
	clear(l.watches)
	return watches
}

// kubeconfig writes a kubeconfig that leads through the proxy.
func (l *liar) kubeconfig(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","clusters":[{"name":"c","cluster":{"server":%q}}],`+
		`"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],"users":[{"name":"u","user":{}}]}`, l.server.URL)
	must(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}
