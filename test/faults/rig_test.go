package faults

import (
	"cmp"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

const (
	registryName = "catga"
	serviceName  = "web"
	// patience is how long anything may take that is no figure.
	patience = 90 * time.Second
	// startBound is how long after its start a manager may take until it shows a change.
	startBound = 10 * time.Second
)

// rig is the processes of one row, and all that happens to them.
type rig struct {
	*testing.T
	row    *row
	rnd    *rand.Rand
	binary string
	// env are variables of the manager's environment, kubeconfig its way to the API server.
	env         []string
	kubeconfig  string
	managerArgs []string
	// allowed are the servers that the manager may dial; nil: those on this machine.
	allowed []string

	dir       string
	namespace string
	api       client.WithWatch
	nats      *natsServer
	proxy     *natstest.Proxy
	fleet     *fleet
	observer  *observer
	manager   *process
	ttl       time.Duration
	// silence is for how long a node may be silent that has traffic; zero: the TTL.
	silence time.Duration
	probes  int
	metrics string

	mu      sync.Mutex
	windows []*window
}

// setting is what differs between rows.
type setting struct {
	nodes int
	ttl   time.Duration
	// bucket and registry change what is usual.
	bucket   func(*jetstream.KeyValueConfig)
	registry func(*rollcallv1alpha1.NodeRegistrySpec)
	// url is where the fleet and, through no proxy, the manager connect to. Empty: to a server of the rig's own, the manager
	// through a proxy.
	url string
	// server changes the rig's own server before it starts.
	server func(*natsServer)
	// write is how the nodes write their records at first, interval how often; zero: four times within the TTL.
	write    writing
	interval time.Duration
	// named says what is judged; nil: every node at its address.
	named naming
	// service changes the Service.
	service func(*corev1.Service)
	// idle starts no manager.
	idle bool
}

// usual is a fleet of a size at which the disruption guard is in force, with a TTL that lets much happen in a short time.
func usual() setting { return setting{nodes: 40, ttl: 4 * time.Second} }

// must ends the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// poll waits until the condition holds.
func poll(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	if !wait(limit, holds) {
		t.Fatalf("waited %s for %s", limit, what)
	}
}

// wait waits until the condition holds, and says whether it came to hold.
func wait(limit time.Duration, holds func() bool) bool {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(limit); !holds(); <-ticker.C {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// pass lets time pass while something is broken.
func pass(d time.Duration) { <-time.After(d) }

// prepare makes folder, namespace and client, once.
func (r *rig) prepare() {
	r.Helper()
	if r.namespace != "" {
		return
	}
	if r.dir = *keep; r.dir == "" {
		r.dir = r.TempDir()
	}
	r.dir = filepath.Join(r.dir, strings.NewReplacer("/", "-", " ", "-").Replace(r.row.name))
	must(r, os.MkdirAll(r.dir, 0o700))
	scheme := runtime.NewScheme()
	must(r, clientgoscheme.AddToScheme(scheme))
	must(r, rollcallv1alpha1.AddToScheme(scheme))
	var err error
	r.api, err = client.NewWithWatch(env.Config, client.Options{Scheme: scheme})
	must(r, err)
	r.namespace = env.Namespace(r.T)
	if r.kubeconfig == "" {
		r.kubeconfig = filepath.Join(r.TempDir(), "kubeconfig")
		must(r, env.WriteKubeconfig(r.kubeconfig))
	}
}

// set starts everything, and returns once the whole fleet shows.
func (r *rig) set(s setting) {
	r.Helper()
	r.ttl = s.ttl
	r.prepare()
	url := s.url
	if url == "" {
		r.nats = newNATS(r.T, r.TempDir(), "n0", "", "")
		if s.server != nil {
			s.server(r.nats)
		}
		r.nats.start()
		s.url = r.nats.url()
		url = r.throughProxy()
	}
	r.fleet = newFleet(r.T, s.url, r.rnd, cmp.Or(s.interval, s.ttl/4), s.named)
	r.fleet.writes(s.write)
	r.createBucket(s)
	r.observer = observe(r.T, r.api, r.namespace, s.named)
	r.createObjects(s, url)
	if s.idle {
		return
	}
	starting := r.broken(firstStart(time.Now(), r.ttl))
	r.begin()
	r.fleet.join(s.nodes)
	r.settle()
	r.mended(starting, time.Now())
}

// throughProxy starts a proxy in front of the rig's own server and returns its URL.
func (r *rig) throughProxy() string {
	r.Helper()
	var err error
	r.proxy, err = natstest.RunProxy(r.nats.address())
	must(r, err)
	r.Cleanup(r.proxy.Stop)
	return r.proxy.URL()
}

// createBucket makes the bucket as a fleet without Rollcall would.
func (r *rig) createBucket(s setting) {
	r.Helper()
	config := jetstream.KeyValueConfig{Bucket: bucketName, TTL: s.ttl, History: 5, LimitMarkerTTL: s.ttl, Storage: jetstream.FileStorage}
	if s.bucket != nil {
		s.bucket(&config)
	}
	poll(r.T, patience, "the bucket", func() bool {
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		_, err := r.fleet.js.CreateKeyValue(ctx, config)
		return err == nil
	})
}

// createObjects makes the NodeRegistry, and the Service over all its nodes.
func (r *rig) createObjects(s setting, url string) {
	r.Helper()
	r.createObjectsIn(r.namespace, s, url)
}

func (r *rig) createObjectsIn(namespace string, s setting, url string) {
	r.Helper()
	spec := rollcallv1alpha1.NodeRegistrySpec{
		Connection: rollcallv1alpha1.Connection{Servers: strings.Split(url, ",")},
		Bucket:     rollcallv1alpha1.Bucket{Name: bucketName, TTL: &metav1.Duration{Duration: s.ttl}},
		Labels:     map[string]string{"role": "role"},
		Liveness:   rollcallv1alpha1.Liveness{RetainExpired: &metav1.Duration{Duration: 2 * time.Second}},
	}
	if s.registry != nil {
		s.registry(&spec)
	}
	must(r, r.api.Create(r.Context(), &rollcallv1alpha1.NodeRegistry{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: registryName}, Spec: spec}))
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: serviceName}, Spec: corev1.ServiceSpec{
		Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}},
	}}
	service.Annotations = map[string]string{rollcallv1alpha1.AnnotationNodeSelector: rollcallv1alpha1.LabelRegistry + "=" + registryName + ",role=web"}
	if s.service != nil {
		s.service(service)
	}
	must(r, r.api.Create(r.Context(), service))
}

// edit changes the spec of the NodeRegistry.
func (r *rig) edit(change func(*rollcallv1alpha1.NodeRegistrySpec)) {
	r.Helper()
	registry := &rollcallv1alpha1.NodeRegistry{}
	must(r, r.api.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: registryName}, registry))
	before := registry.DeepCopy()
	change(&registry.Spec)
	must(r, r.api.Patch(r.Context(), registry, client.MergeFrom(before)))
}

// begin starts a manager, as its user would.
func (r *rig) begin() {
	r.Helper()
	r.manager = r.spawnManager()
}

func (r *rig) spawnManager() *process {
	r.Helper()
	args := append([]string{
		"--kubeconfig", r.kubeconfig, "--namespace", r.namespace, "--cluster-name", r.namespace,
		"--metrics-bind-address=0", "--health-probe-bind-address=0",
	}, r.managerArgs...)
	allowed := r.allowed
	if allowed == nil {
		allowed = []string{"127.0.0.0/8", "::1"}
	}
	for _, server := range allowed {
		args = append(args, "--allowed-server="+server)
	}
	return spawn(r.T, filepath.Join(r.dir, "manager.log"), r.env, r.binary, args...)
}

// metricsAddress returns an address for the manager's metrics.
func (r *rig) metricsAddress() string {
	r.metrics = natstest.FreeAddress(r.T)
	return r.metrics
}

// goroutines returns how many goroutines the manager says that it has.
func (r *rig) goroutines() int {
	r.Helper()
	n, err := strconv.Atoi(r.metric(goroutineCount))
	must(r, err)
	return n
}

// metric returns the value that a line of the manager's metrics has; empty if there is none.
func (r *rig) metric(line *regexp.Regexp) string {
	r.Helper()
	response, err := http.Get("http://" + r.metrics + "/metrics")
	must(r, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(r, err)
	if found := line.FindSubmatch(text); found != nil {
		return string(found[1])
	}
	return ""
}

var goroutineCount = regexp.MustCompile(`(?m)^go_goroutines (\d+)$`)
