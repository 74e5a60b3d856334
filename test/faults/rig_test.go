//go:build faults

package faults

import (
	"context"
	"fmt"
	"io"
	"maps"
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

// The bounds of what shows where nothing is broken. The short run shares its machine with other tests.
func limits() (endpoints, nodes bounds) {
	allowance := time.Duration(times(2, 0)) * time.Second
	endpoints = bounds{arrive: time.Second + allowance, leave: time.Second + allowance, expire: time.Second + allowance}
	nodes = bounds{arrive: 5 * time.Second, leave: 5 * time.Second, expire: 5 * time.Second}
	return endpoints, nodes
}

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

	dir       string
	namespace string
	api       client.WithWatch
	nats      *natsServer
	proxy     *natstest.Proxy
	fleet     *fleet
	observer  *observer
	manager   *process
	ttl       time.Duration
	probes    int
	metrics   string

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
		r.nats.start()
		s.url = r.nats.url()
		url = r.throughProxy()
	}
	r.fleet = newFleet(r.T, s.url, r.rnd, s.ttl/4)
	r.createBucket(s)
	r.observer = observe(r.T, r.api, r.namespace)
	r.createObjects(s, url)
	if s.idle {
		return
	}
	starting := r.broken(window{})
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
	must(r, r.api.Create(r.Context(), service))
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
	return spawn(r.T, filepath.Join(r.dir, "manager.log"), r.env, r.binary, args...)
}

// broken opens a window: from now on something is broken.
func (r *rig) broken(w window) *window {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.from = time.Now()
	r.windows = append(r.windows, &w)
	return &w
}

// mending notes that from now on a window may end at any time. There may be no window.
func (r *rig) mending(w *window, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w != nil {
		w.back = at
	}
}

// mended closes a window, if there is one.
func (r *rig) mended(w *window, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w != nil {
		w.to = at
	}
}

// outageSettle is how long an outage of NATS may go on to blind the manager after the server answers again. That it is much
// less nearly always is judged over all outages, see blindness.
const outageSettle = 2500 * time.Millisecond

// outage opens a window in which the bucket can't be read.
func (r *rig) outage() *window {
	return r.broken(window{holds: true, grace: r.ttl, settle: outageSettle + limitsAllowance()})
}

func limitsAllowance() time.Duration { return time.Duration(times(2, 0)) * time.Second }

// over ends an outage: it waits until the server acknowledges a write again, which ends the window, and measures how long
// it then takes until that write shows in a slice.
func (r *rig) over(w *window) time.Duration {
	r.Helper()
	id, address := r.probe()
	began := time.Now()
	r.mending(w, began)
	_, err := r.fleet.put(r.Context(), id, address)
	must(r, err)
	answered := time.Now()
	r.fleet.adopt(id, address, began, answered, 0)
	r.mended(w, answered)
	poll(r.T, patience, "a change after the outage to show", func() bool { return r.observer.endpoints.shows(entity(id, address)) })
	blind := time.Since(answered)
	r.row.blind = append(r.row.blind, blind)
	must(r, r.fleet.unregister(id))
	return blind
}

// probe returns the ID and address of a node that only shows that changes are seen.
func (r *rig) probe() (id, address string) {
	r.probes++
	return fmt.Sprintf("%s%d", probePrefix, r.probes), fmt.Sprintf("10.200.%d.%d", r.probes>>8, r.probes&255)
}

// started waits until the manager that was just started shows a change, which ends the window. That has to be soon.
func (r *rig) started(w *window, since time.Time, within time.Duration) {
	r.Helper()
	r.mending(w, since)
	id, address := r.probe()
	must(r, r.fleet.register(id, address))
	shown := wait(patience, func() bool { return r.observer.endpoints.shows(entity(id, address)) })
	r.mended(w, time.Now())
	took := time.Since(since)
	if r.row.blind = append(r.row.blind, took); !shown || took > within {
		r.Errorf("it took %s until a manager that was started showed a change", took)
	}
	must(r, r.fleet.unregister(id))
}

// settle waits until everything shows as it is.
func (r *rig) settle() {
	r.Helper()
	if !wait(patience, func() bool { return r.shown(r.observer.endpoints) && r.shown(r.observer.nodes) }) {
		alive := r.fleet.alive()
		r.Errorf("after %s not everything shows as it is: %s", patience,
			differences(alive, r.observer.endpoints.present(), "endpoint")+differences(alive, r.observer.nodes.present(), "DiscoveredNode"))
	}
}

// shown says whether everything shows as it is. The counts are compared first: a large fleet takes its time.
func (r *rig) shown(v *view) bool {
	return v.count() == r.fleet.count() && maps.Equal(v.present(), r.fleet.alive())
}

// differences says what is not shown, and what is that should not be.
func differences(want, got map[string]bool, kind string) string {
	var text strings.Builder
	for e := range want {
		if !got[e] {
			fmt.Fprintf(&text, "\n%s %s is missing", kind, e)
		}
	}
	for e := range got {
		if !want[e] {
			fmt.Fprintf(&text, "\n%s %s is still there", kind, e)
		}
	}
	return text.String()
}

// linger lets pass the time in which what is noticed late, or follows from a grace, would show.
func (r *rig) linger() { pass(r.ttl + infoInterval + time.Second) }

// judge settles, and judges all that happened.
func (r *rig) judge() {
	r.Helper()
	r.settle()
	r.verdict(limits())
}

func (r *rig) verdict(endpoints, nodes bounds) {
	r.Helper()
	for kind, v := range map[string]*view{"endpoint": r.observer.endpoints, "DiscoveredNode": r.observer.nodes} {
		h := &history{ttl: r.ttl, lives: r.fleet.lives(), seen: v.sightings(), until: time.Now()}
		b := endpoints
		if kind == "DiscoveredNode" {
			b = nodes
		}
		h.windows = r.concerning(kind == "DiscoveredNode")
		found := judge(h, b)
		r.row.add(found)
		for i, note := range found.notes {
			if i == 20 {
				r.Errorf("… and %d more", len(found.notes)-i)
				break
			}
			r.Errorf("%s %s", kind, note)
		}
	}
}

// concerning returns the windows that concern the endpoints, or the DiscoveredNodes.
func (r *rig) concerning(nodes bool) []window {
	r.mu.Lock()
	defer r.mu.Unlock()
	var windows []window
	for _, w := range r.windows {
		if nodes || !w.nodesOnly {
			windows = append(windows, *w)
		}
	}
	return windows
}

// metricsAddress returns an address for the manager's metrics.
func (r *rig) metricsAddress() string {
	r.metrics = fmt.Sprintf("127.0.0.1:%d", freePorts(r.T, 1)[0])
	return r.metrics
}

// goroutines returns how many goroutines the manager says that it has.
func (r *rig) goroutines() int {
	r.Helper()
	response, err := http.Get("http://" + r.metrics + "/metrics")
	must(r, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(r, err)
	found := goroutineCount.FindSubmatch(text)
	if found == nil {
		r.Fatalf("the manager does not say how many goroutines it has: %s, %.300s", response.Status, text)
	}
	n, err := strconv.Atoi(string(found[1]))
	must(r, err)
	return n
}

var goroutineCount = regexp.MustCompile(`(?m)^go_goroutines (\d+)$`)
