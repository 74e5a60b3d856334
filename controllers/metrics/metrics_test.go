package metrics

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/podregistration/roster"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

type connections map[types.NamespacedName]bool

func (c connections) Connections() map[types.NamespacedName]bool { return c }

type pods map[types.NamespacedName]roster.Tally

func (p pods) Tallies() map[types.NamespacedName]roster.Tally { return p }

var catga = types.NamespacedName{Namespace: "fleet", Name: "catga"}

// rig is a Store with the registry catga, whose server is an hour ahead of this machine.
type rig struct {
	*testing.T
	*Metrics
	clock    *clocktesting.FakeClock
	store    *mirror.Store
	mirror   *mirror.Mirror
	up       connections
	served   *prometheus.Registry
	revision uint64
}

func newRig(t *testing.T) *rig {
	t.Helper()
	clock := clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	r := &rig{T: t, Metrics: New(), clock: clock, store: mirror.NewStore(clock, nil), up: connections{}, served: prometheus.NewPedanticRegistry()}
	if err := r.Register(r.served, r.store, r.up, pods{}); err != nil {
		t.Fatal(err)
	}
	r.mirror = r.store.Add(catga, mirror.Policy{
		Record: record.Policy{KeyPrefix: "node."}, MinNodes: 2, MaxSilentPercent: 50,
	}, nil, nil)
	go r.mirror.Read(t.Context())
	return r
}

func (r *rig) serverTime() time.Time { return r.clock.Now().Add(time.Hour) }

func (r *rig) list(cause kv.Cause) {
	r.mirror.Listing(cause)
	r.mirror.Synced(kv.Bucket{Name: "b", TTL: time.Minute, ServerTime: r.serverTime(), ReceivedAt: r.clock.Now()})
}

func (r *rig) beat(id string) *mirror.Node {
	r.revision++
	r.mirror.Entry(kv.Entry{
		Key: "node." + id, Value: []byte(`{"NodeId":"` + id + `","Endpoint":"http://10.0.0.` + id + `:80"}`),
		Revision: r.revision, Written: r.serverTime(), Operation: kv.Put,
	})
	var node *mirror.Node
	read := func(context.Context) (bool, error) {
		node = r.mirror.Node("catga." + id)
		return node != nil && node.Revision == r.revision, nil
	}
	if err := wait.PollUntilContextTimeout(r.Context(), time.Millisecond, 10*time.Second, true, read); err != nil {
		r.Fatalf("what node %s wrote is not read: %v", id, err)
	}
	return node
}

// scrape returns every sample that is served, by name and labels.
func (r *rig) scrape() map[string]string {
	r.Helper()
	recorder := httptest.NewRecorder()
	promhttp.HandlerFor(r.served, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}).
		ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if recorder.Code != http.StatusOK {
		r.Fatal(recorder.Body)
	}
	samples := map[string]string{}
	for line := range strings.Lines(recorder.Body.String()) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), "} "); found && !strings.HasPrefix(line, "#") {
			samples[name+"}"] = value
		} else if name, value, found := strings.Cut(strings.TrimSpace(line), " "); found && !strings.HasPrefix(line, "#") {
			samples[name] = value
		}
	}
	return samples
}

func (r *rig) want(samples map[string]string) {
	r.Helper()
	got := r.scrape()
	for name, value := range samples {
		if got[name] != value {
			r.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
}

const of = `{namespace="fleet",registry="catga"}`

func with(label, value string) string {
	if label < "namespace" {
		return "{" + label + `="` + value + `",namespace="fleet",registry="catga"}`
	}
	if label < "registry" {
		return `{namespace="fleet",` + label + `="` + value + `",registry="catga"}`
	}
	return `{namespace="fleet",registry="catga",` + label + `="` + value + `"}`
}

func TestARegistryThatWasNeverListed(t *testing.T) {
	r := newRig(t)
	r.want(map[string]string{
		"rollcall_registry_connected" + of:                       "0",
		"rollcall_registry_synced" + of:                          "0",
		"rollcall_registry_nodes" + with("phase", "Ready"):       "0",
		"rollcall_registry_nodes" + with("phase", "Expired"):     "0",
		"rollcall_watch_listings_total" + with("cause", "Start"): "0",
	})
	if at, there := r.scrape()["rollcall_registry_last_sync_timestamp_seconds"+of]; there {
		t.Errorf("the time of the last sync is %s", at)
	}
}

func TestWhatIsSaidOfARegistry(t *testing.T) {
	r := newRig(t)
	r.up[catga] = true
	r.list(kv.CauseStart)
	r.beat("1")
	r.beat("1")
	r.beat("2")
	r.mirror.Entry(kv.Entry{Key: "node.2", Operation: kv.Unregister, Written: r.serverTime()})
	r.beat("3")
	r.want(map[string]string{
		"rollcall_registry_connected" + of:                              "1",
		"rollcall_registry_synced" + of:                                 "1",
		"rollcall_registry_last_sync_timestamp_seconds" + of:            "1.7672256e+09",
		"rollcall_registry_nodes" + with("phase", "Ready"):              "2",
		"rollcall_registry_nodes" + with("phase", "Stale"):              "0",
		"rollcall_registry_nodes" + with("phase", "Draining"):           "0",
		"rollcall_registry_nodes" + with("phase", "Expired"):            "0",
		"rollcall_registry_nodes" + with("phase", "Invalid"):            "0",
		"rollcall_registry_guard_active" + of:                           "0",
		"rollcall_registry_refused_records" + of:                        "0",
		"rollcall_registry_never_accepted_entries" + of:                 "0",
		"rollcall_watch_events_total" + with("operation", "Put"):        "4",
		"rollcall_watch_events_total" + with("operation", "Unregister"): "1",
		"rollcall_watch_events_total" + with("operation", "Expire"):     "0",
		"rollcall_watch_listings_total" + with("cause", "Start"):        "1",
		"rollcall_watch_listings_total" + with("cause", "SequenceGap"):  "0",
	})

	// Both fall silent.
	for range 2 * 70 {
		r.clock.Step(time.Second / 2)
		r.mirror.Arrived(r.clock.Now())
	}
	r.up[catga] = false
	r.mirror.Disconnected(kv.ErrConnectionLost)
	r.want(map[string]string{
		"rollcall_registry_connected" + of:                 "0",
		"rollcall_registry_synced" + of:                    "0",
		"rollcall_registry_guard_active" + of:              "1",
		"rollcall_registry_guard_held_nodes" + of:          "2",
		"rollcall_registry_nodes" + with("phase", "Stale"): "2",
	})

	r.store.Remove(catga)
	for name := range r.scrape() {
		if strings.Contains(name, `registry="catga"`) {
			t.Errorf("the registry is gone, and there is %s", name)
		}
	}
}

func TestWhatIsSaidOfRecords(t *testing.T) {
	m, out := New(), make(chan prometheus.Metric, 10)
	s := series{Metrics: m, out: out, registry: catga}
	s.sendRecords(&mirror.Records{Refused: 1, NeverAccepted: 2, Remarked: 3, Superseded: 4, Shared: 5, Flapping: 6})
	close(out)
	got := map[string]float64{}
	for metric := range out {
		var sample dto.Metric
		if err := metric.Write(&sample); err != nil {
			t.Fatal(err)
		}
		for name, desc := range m.descs {
			if desc == metric.Desc() {
				got[name] = sample.GetGauge().GetValue()
			}
		}
	}
	want := map[string]float64{
		"rollcall_registry_refused_records": 1, "rollcall_registry_never_accepted_entries": 2, "rollcall_registry_remarked_nodes": 3,
		"rollcall_registry_superseded_nodes": 4, "rollcall_registry_shared_keys": 5, "rollcall_registry_flapping_keys": 6,
	}
	if !maps.Equal(got, want) {
		t.Errorf("the records are %v, want %v", got, want)
	}
}

func TestLatencies(t *testing.T) {
	r := newRig(t)
	early := r.beat("1")
	r.clock.Step(time.Second)
	r.list(kv.CauseStart)
	r.NodeWritten(early) // The listing found it.
	r.SliceWritten("fleet", early.Changed)
	r.clock.Step(time.Minute)

	node := r.beat("2")
	r.clock.Step(30 * time.Millisecond)
	r.SliceWritten("fleet", node.Changed)
	r.clock.Step(300 * time.Millisecond)
	r.NodeWritten(node)
	ahead := *node
	ahead.Changed = r.serverTime().Add(time.Second)
	r.NodeWritten(&ahead)
	r.NodeWritten(&mirror.Node{Namespace: "fleet", Registry: "gone", Changed: r.serverTime()})
	r.want(map[string]string{
		"rollcall_slice_latency_seconds_count":              `1`,
		"rollcall_slice_latency_seconds_sum":                `0.03`,
		`rollcall_slice_latency_seconds_bucket{le="0.025"}`: `0`,
		`rollcall_slice_latency_seconds_bucket{le="0.05"}`:  `1`,
		"rollcall_node_latency_seconds_count":               `2`,
		"rollcall_node_latency_seconds_sum":                 `0.33`,
		`rollcall_node_latency_seconds_bucket{le="0.001"}`:  `1`,
		`rollcall_node_latency_seconds_bucket{le="60"}`:     `2`,
	})
}

func TestALaterManagerTakesThePlace(t *testing.T) {
	r := newRig(t)
	later := New()
	if err := later.Register(r.served, mirror.NewStore(r.clock, nil), connections{}, pods{}); err != nil {
		t.Fatal(err)
	}
	if _, there := r.scrape()["rollcall_registry_connected"+of]; there {
		t.Error("the metrics of the manager before are still served")
	}
}

// failing is a client all of whose writes end with an error.
func failing(err *error) client.WithWatch {
	return interceptor.NewClient(nil, interceptor.Funcs{
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return *err },
		Update: func(context.Context, client.WithWatch, client.Object, ...client.UpdateOption) error { return *err },
		Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			return *err
		},
		Apply: func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
			return *err
		},
		Delete:      func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error { return *err },
		DeleteAllOf: func(context.Context, client.WithWatch, client.Object, ...client.DeleteAllOfOption) error { return *err },
		SubResourceCreate: func(context.Context, client.Client, string, client.Object, client.Object, ...client.SubResourceCreateOption) error {
			return *err
		},
		SubResourceUpdate: func(context.Context, client.Client, string, client.Object, ...client.SubResourceUpdateOption) error {
			return *err
		},
		SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
			return *err
		},
		SubResourceApply: func(context.Context, client.Client, string, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
			return *err
		},
	})
}

func TestWritesAreCounted(t *testing.T) {
	r := newRig(t)
	var err error
	c := r.counting(failing(&err))
	write := func(writes ...error) {
		t.Helper()
		for _, got := range writes {
			if !errors.Is(got, err) {
				t.Errorf("a write ended with %v, not %v", got, err)
			}
		}
	}
	ctx, service := t.Context(), &corev1.Service{}
	write(c.Create(ctx, &rollcallv1alpha1.DiscoveredNode{}), c.Update(ctx, &discoveryv1.EndpointSlice{}), c.Patch(ctx, service, nil))
	write(c.Status().Create(ctx, service, service), c.Status().Update(ctx, service), c.Status().Patch(ctx, service, nil))
	write(c.Apply(ctx, applycorev1.Pod("p", "ns")), c.Status().Apply(ctx, applycorev1.Pod("p", "ns")))
	write(c.Delete(ctx, &corev1.Secret{}), c.DeleteAllOf(ctx, &corev1.ConfigMap{}))
	counts := map[string]string{
		`{kind="DiscoveredNode",result="success",verb="create"}`:  "1",
		`{kind="EndpointSlice",result="success",verb="update"}`:   "1",
		`{kind="Service",result="success",verb="create"}`:         "1",
		`{kind="Service",result="success",verb="update"}`:         "1",
		`{kind="Service",result="success",verb="patch"}`:          "2",
		`{kind="Pod",result="success",verb="apply"}`:              "2",
		`{kind="other",result="success",verb="delete"}`:           "1",
		`{kind="other",result="success",verb="deletecollection"}`: "1",
	}
	things, what := schema.GroupResource{Resource: "things"}, errors.New("why")
	for result, errs := range map[string][]error{
		"conflict": {apierrors.NewConflict(things, "x", what), apierrors.NewAlreadyExists(things, "x"), apierrors.NewNotFound(things, "x")},
		"refused":  {apierrors.NewForbidden(things, "x", what), apierrors.NewInvalid(schema.GroupKind{}, "x", nil)},
		"error":    {what, context.DeadlineExceeded, apierrors.NewTooManyRequests("wait", 1), apierrors.NewInternalError(what)},
	} {
		for _, err = range errs {
			write(c.Update(ctx, service))
		}
		counts[`{kind="Service",result="`+result+`",verb="update"}`] = strconv.Itoa(len(errs))
	}
	for labels, n := range maps.Clone(counts) {
		counts["rollcall_api_writes_total"+labels] = n
		delete(counts, labels)
	}
	r.want(counts)
}

func TestDefinitions(t *testing.T) {
	r := newRig(t)
	r.list(kv.CauseStart)
	r.writes.WithLabelValues("Service", "patch", "success").Inc()
	served := map[string]string{}
	families, err := r.served.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		served[family.GetName()] = strings.ToLower(family.GetType().String())
	}
	convention := regexp.MustCompile(`^rollcall_(registry|watch|slice|node|api|pod)_[a-z_]+$`)
	for _, d := range Definitions() {
		if served[d.Name] != d.Type {
			t.Errorf("%s is defined as a %s and served as %q", d.Name, d.Type, served[d.Name])
		}
		delete(served, d.Name)
		if !convention.MatchString(d.Name) || (d.Type == counter) != strings.HasSuffix(d.Name, "_total") {
			t.Errorf("the name of the %s %s breaks the convention", d.Type, d.Name)
		}
		if d.Help == "" || d.Action == "" {
			t.Errorf("%s is not explained", d.Name)
		}
	}
	for name := range served {
		t.Errorf("%s is served, but not defined", name)
	}
}
