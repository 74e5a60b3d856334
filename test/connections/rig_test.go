// Package connections tests the way to NATS through the front door: the whole manager, on a real API server, against
// NATS servers that demand what the test is about. Whatever a test does, at its end no secret may be in the logs, a status,
// an Event or the metrics, and Secrets may have been read one at a time and by name only.
package connections

import (
	"bytes"
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap/zapcore"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/yaml"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/manager"
	"github.com/rollcall-dev/rollcall/internal/natstest"
	"github.com/rollcall-dev/rollcall/internal/testenv"
	"github.com/rollcall-dev/rollcall/internal/testrig"
)

var (
	env  *testenv.Env
	logs logBook
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Everything is logged, so that everything can be searched.
	ctrl.SetLogger(zap.New(zap.WriteTo(&logs), zap.Level(zapcore.Level(-10))))
	testenv.Main(m, &env)
}

// logBook keeps what is logged.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// contains says whether a text was logged.
func (l *logBook) contains(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.text.Bytes(), []byte(text))
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

const (
	// patience is how long anything may take that is to happen at once; it is generous for the sake of a loaded machine.
	patience = time.Minute
	bucket   = "catga_nodes"
)

// rig is a namespace of its own, and the manager and the NATS server of a test.
type rig struct {
	*testrig.Rig
	nats *natstest.Server

	mu      sync.Mutex
	hidden  []string // what must not be seen anywhere
	shown   strings.Builder
	touched []string // the requests for Secrets and ConfigMaps
}

// newRig returns a rig with a running manager and a NATS server with those options.
func newRig(t *testing.T, configure func(*server.Options), change ...func(*rest.Config)) *rig {
	t.Helper()
	return newRigWith(t, configure, func(c *rest.Config, _ *manager.Options) {
		for _, f := range change {
			f(c)
		}
	})
}

// newRigWith is newRig with another change.
func newRigWith(t *testing.T, configure func(*server.Options), change func(*rest.Config, *manager.Options)) *rig {
	t.Helper()
	r := &rig{Rig: testrig.New(t, env)}
	r.nats = natstest.Start(t, func(o *natstest.Options) { o.Configure = configure })
	t.Cleanup(r.check)
	r.Start(func(c *rest.Config, o *manager.Options) {
		change(c, o)
		c.Wrap(r.record)
	})
	t.Cleanup(r.showMetrics) // While the manager runs.
	return r
}

var secretsOrConfigMaps = regexp.MustCompile(`/(secrets|configmaps)(/|$)`)

func (r *rig) record(next http.RoundTripper) http.RoundTripper {
	return testrig.RoundTripper(func(request *http.Request) (*http.Response, error) {
		if secretsOrConfigMaps.MatchString(request.URL.Path) {
			r.mu.Lock()
			r.touched = append(r.touched, request.Method+" "+request.URL.RequestURI())
			r.mu.Unlock()
		}
		return next.RoundTrip(request)
	})
}

// check looks for what must never be: a secret that is shown, and a Secret that is read in another way than by its name.
func (r *rig) check() {
	for _, list := range []client.ObjectList{
		&eventsv1.EventList{}, &corev1.EventList{}, &rollcallv1alpha1.NodeRegistryList{}, &rollcallv1alpha1.DiscoveredNodeList{},
		&rollcallv1alpha1.PodRegistrationList{}, &corev1.ServiceList{}, &discoveryv1.EndpointSliceList{}, &corev1.PodList{},
	} {
		if err := r.API.List(context.Background(), list, client.InNamespace(r.Namespace)); err != nil {
			r.Error(err)
		}
		r.show(list)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, secret := range r.hidden {
		if strings.Contains(r.shown.String(), secret) || logs.contains(secret) {
			r.Errorf("a secret that ends with %q is in the logs, a status, an Event or the metrics", secret[len(secret)-4:])
		}
	}
	byName := regexp.MustCompile(`^GET /api/v1/namespaces/` + r.Namespace + `/(secrets|configmaps)/[^/?]+$`)
	for _, request := range r.touched {
		if !byName.MatchString(request) {
			r.Errorf("the manager sent %s", request)
		}
	}
}

// showMetrics remembers what the metrics say.
func (r *rig) showMetrics() {
	families, err := metrics.Registry.Gather()
	if err != nil {
		r.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, family := range families {
		r.shown.WriteString(family.String())
	}
}

// show remembers what anybody can see of an object, or of a list of them.
func (r *rig) show(o any) {
	r.Helper()
	text, err := yaml.Marshal(o)
	if err != nil {
		r.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shown.Write(text)
}

// hide names values that must not be seen anywhere.
func (r *rig) hide(values ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hidden = append(r.hidden, values...)
}

// secret creates a Secret, or replaces what it holds. All of its lines are secrets, but for user names and certificates.
func (r *rig) secret(name string, data map[string]string) {
	r.Helper()
	for key, value := range data {
		if key == "username" || strings.HasSuffix(key, ".crt") {
			continue
		}
		for line := range strings.SplitSeq(value, "\n") {
			if len(line) > 8 && !strings.HasPrefix(line, "--") {
				r.hide(line, base64.StdEncoding.EncodeToString([]byte(line)))
			}
		}
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: name}, StringData: data}
	if err := r.API.Create(r.Context(), secret); err == nil {
		return
	}
	must(r, r.API.Update(r.Context(), secret))
}

// registry creates a NodeRegistry of the bucket catga_nodes on the rig's server.
func (r *rig) registry(name string, change ...func(*rollcallv1alpha1.NodeRegistrySpec)) *rollcallv1alpha1.NodeRegistry {
	r.Helper()
	registry := &rollcallv1alpha1.NodeRegistry{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: name},
		Spec: rollcallv1alpha1.NodeRegistrySpec{
			Connection: rollcallv1alpha1.Connection{Servers: []string{r.nats.URL()}},
			Labels:     map[string]string{"role": "role"},
		},
	}
	for _, f := range change {
		f(&registry.Spec)
	}
	must(r, r.API.Create(r.Context(), registry))
	return registry
}

// change changes the spec of a NodeRegistry.
func (r *rig) change(name string, f func(*rollcallv1alpha1.NodeRegistrySpec)) {
	r.Helper()
	registry := r.get(name)
	before := registry.DeepCopy()
	f(&registry.Spec)
	must(r, r.API.Patch(r.Context(), registry, client.MergeFrom(before)))
}

func (r *rig) get(name string) *rollcallv1alpha1.NodeRegistry {
	r.Helper()
	registry := &rollcallv1alpha1.NodeRegistry{}
	must(r, r.API.Get(r.Context(), client.ObjectKey{Namespace: r.Namespace, Name: name}, registry))
	r.show(registry)
	return registry
}

// condition returns a condition of a NodeRegistry as "status/reason", and its message.
func (r *rig) condition(name, kind string) (string, string) {
	r.Helper()
	for _, c := range r.get(name).Status.Conditions {
		if c.Type == kind {
			return string(c.Status) + "/" + c.Reason, c.Message
		}
	}
	return "", ""
}

// await waits until a condition of a NodeRegistry is as wanted and its message names all of that.
func (r *rig) await(name, kind, want string, names ...string) {
	r.Helper()
	began := time.Now()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		got, message := r.condition(name, kind)
		if got == want && !slices.ContainsFunc(names, func(s string) bool { return !strings.Contains(message, s) }) {
			return
		}
		if time.Since(began) > patience {
			r.Fatalf("%s of %s is %s: %q, want %s with %q", kind, name, got, message, want, names)
		}
		<-ticker.C
	}
}

// put registers a node through a connection of the test's own.
func (r *rig) put(nc *nats.Conn, nodes ...string) {
	r.Helper()
	js, err := jetstream.New(nc)
	must(r, err)
	kv, err := js.KeyValue(r.Context(), bucket)
	must(r, err)
	for i, node := range nodes {
		_, err := kv.PutString(r.Context(), "node."+node, fmt.Sprintf(
			`{"NodeId":%q,"Endpoint":"http://10.1.0.%d:8080","Metadata":{"role":"web"}}`, node, i+1))
		must(r, err)
	}
}

// service creates the Service web, which selects all nodes with the role web.
func (r *rig) service() {
	r.Helper()
	must(r, r.API.Create(r.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: "web", Annotations: map[string]string{
			rollcallv1alpha1.AnnotationNodeSelector: "role=web",
		}},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}}},
	}))
}

// endpoints counts the ready endpoints of the Service web.
func (r *rig) endpoints() int {
	r.Helper()
	list := &discoveryv1.EndpointSliceList{}
	must(r, r.API.List(r.Context(), list, client.InNamespace(r.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: "web"}))
	ready := 0
	for _, slice := range list.Items {
		for _, endpoint := range slice.Endpoints {
			if ptr.Deref(endpoint.Conditions.Ready, true) {
				ready++
			}
		}
	}
	return ready
}

// keeps watches that there are that many ready endpoints all the time, until the function that it returns is called.
func (r *rig) keeps(count int) (end func()) {
	r.Helper()
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-over:
				return
			case <-ticker.C:
				list := &discoveryv1.EndpointSliceList{}
				if err := r.API.List(context.Background(), list, client.InNamespace(r.Namespace)); err != nil {
					r.Error(err)
					return
				}
				now := 0
				for _, slice := range list.Items {
					now += len(slice.Endpoints)
				}
				if now != count {
					r.Errorf("there are %d endpoints, %d have to stay", now, count)
					return
				}
			}
		}
	}()
	stop := sync.OnceFunc(func() {
		close(over)
		<-done
	})
	r.Cleanup(stop)
	return func() {
		r.Helper()
		stop()
		if got := r.endpoints(); got != count {
			r.Errorf("%d endpoints are ready in the end, want %d", got, count)
		}
	}
}

// must ends the test if there is an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
