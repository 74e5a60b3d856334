// Package testrig runs the whole manager for a test, in a namespace of its own, and looks at what it does through the
// Kubernetes API.
package testrig

import (
	"context"
	"flag"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/manager"
	"github.com/rollcall-dev/rollcall/internal/testenv"
)

// Main is testenv.Main for tests that use a Rig. What managers log is shown by go test -v.
func Main(m *testing.M, env **testenv.Env, options ...testenv.Option) {
	flag.Parse()
	log := logr.Discard()
	if testing.Verbose() {
		log = zap.New()
	}
	ctrl.SetLogger(log)
	testenv.Main(m, env, options...)
}

// Rig is a namespace of its own on an API server that a package's tests share.
type Rig struct {
	*testing.T
	API       client.Client
	Namespace string

	config *rest.Config
}

// New returns a Rig with a new namespace.
func New(t *testing.T, env *testenv.Env) *Rig {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, rollcallv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	api, err := client.New(env.Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return &Rig{T: t, API: api, Namespace: env.Namespace(t), config: env.Config}
}

// Create creates an object.
func (r *Rig) Create(o client.Object) {
	r.Helper()
	if err := r.API.Create(r.Context(), o); err != nil {
		r.Fatal(err)
	}
}

// Within polls until the condition holds, and returns how long that took. The test fails if it takes longer than limit.
func (r *Rig) Within(limit time.Duration, what string, holds func() bool) time.Duration {
	r.Helper()
	return Within(r.T, limit, what, holds)
}

// Throughout looks again and again whether something holds all the time.
func (r *Rig) Throughout(d time.Duration, what string, holds func() bool) {
	r.Helper()
	Throughout(r.T, d, what, holds)
}

// Condition returns a condition of a NodeRegistry as "status/reason", and its message; both are empty if it has none.
func (r *Rig) Condition(registry, kind string) (state, message string) {
	r.Helper()
	object := &rollcallv1alpha1.NodeRegistry{}
	if err := r.API.Get(r.Context(), client.ObjectKey{Namespace: r.Namespace, Name: registry}, object); err != nil {
		r.Fatal(err)
	}
	c := meta.FindStatusCondition(object.Status.Conditions, kind)
	if c == nil {
		return "", ""
	}
	return string(c.Status) + "/" + c.Reason, c.Message
}

// AcceptExpiry waits until a NodeRegistry says that it holds silent nodes, and accepts that they go, as a person does.
func (r *Rig) AcceptExpiry(limit time.Duration, registry string) {
	r.Helper()
	object := &rollcallv1alpha1.NodeRegistry{}
	r.Within(limit, "status.held", func() bool {
		if err := r.API.Get(r.Context(), client.ObjectKey{Namespace: r.Namespace, Name: registry}, object); err != nil {
			r.Fatal(err)
		}
		return object.Status.Held != nil
	})
	before := object.DeepCopy()
	object.Annotations = map[string]string{rollcallv1alpha1.AnnotationAcceptExpiry: object.Status.Held.Since.UTC().Format(time.RFC3339)}
	if err := r.API.Patch(r.Context(), object, client.MergeFrom(before)); err != nil {
		r.Fatal(err)
	}
}

// Manager is a running manager.
type Manager struct {
	*Writes

	rig    *Rig
	cancel context.CancelFunc
	done   chan error
}

// Loopback allows the servers of this machine, which a manager refuses otherwise.
func Loopback() []string { return []string{"127.0.0.0/8", "::1"} }

// making is held while a manager is made: it makes its metrics known in place of those of the manager before it.
var making sync.Mutex

// Start starts a manager, as main.go would, that works in the rig's namespace alone. It is stopped when the test ends at
// the latest.
func (r *Rig) Start(change ...func(*rest.Config, *manager.Options)) *Manager {
	r.Helper()
	writes := &Writes{}
	conf := rest.CopyConfig(r.config)
	conf.Wrap(writes.wrap)
	options := manager.Options{
		Namespaces: []string{r.Namespace}, MetricsAddress: "0", ProbeAddress: "0", AllowedServers: Loopback(),
		Controller: config.Controller{SkipNameValidation: new(true)},
	}
	for _, f := range change {
		f(conf, &options)
	}
	ctx, cancel := context.WithCancel(context.Background())
	making.Lock()
	m, err := manager.New(ctx, conf, options)
	making.Unlock()
	if err != nil {
		cancel()
		r.Fatal(err)
	}
	running := &Manager{Writes: writes, rig: r, cancel: cancel, done: make(chan error, 1)}
	go func() { running.done <- m.Start(ctx) }()
	r.Cleanup(running.Stop)
	return running
}

// Stop ends the manager, as SIGTERM would, and waits until it has ended.
func (m *Manager) Stop() {
	m.rig.Helper()
	m.cancel()
	err := <-m.done
	if err != nil {
		m.rig.Errorf("the manager ended: %v", err)
	}
	m.done <- nil
}

// Quiet waits until the manager has written nothing for three seconds.
func (m *Manager) Quiet(limit time.Duration) {
	m.rig.Helper()
	last := time.Now()
	m.rig.Within(limit, "the manager to have nothing more to write", func() bool {
		if len(m.Take()) > 0 {
			last = time.Now()
		}
		return time.Since(last) > 3*time.Second
	})
}

// Writes are the requests of a manager that change something, but for Events and Leases. It is safe for concurrent use.
type Writes struct {
	mu  sync.Mutex
	all []string
}

// Take returns the requests since the last call, each as "METHOD path".
func (w *Writes) Take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.all
	w.all = nil
	return all
}

func (w *Writes) wrap(next http.RoundTripper) http.RoundTripper {
	return RoundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/events") && !strings.Contains(r.URL.Path, "/leases") {
			w.mu.Lock()
			w.all = append(w.all, r.Method+" "+r.URL.Path)
			w.mu.Unlock()
		}
		return next.RoundTrip(r)
	})
}

// RoundTripper is a function that implements http.RoundTripper.
type RoundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f RoundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
