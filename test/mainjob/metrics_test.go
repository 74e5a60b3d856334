package mainjob

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/manager"
	"github.com/rollcall-dev/rollcall/internal/natstest"
)

// scraped is what a manager serves at /metrics: the samples of Rollcall's own metrics, by name and labels.
type scraped map[string]float64

// serveMetrics makes a manager serve its metrics, and returns what reads them.
func (r *rig) serveMetrics() (change func(*rest.Config, *manager.Options), scrape func() scraped) {
	r.Helper()
	address := natstest.FreeAddress(r)
	return func(_ *rest.Config, o *manager.Options) { o.MetricsAddress = address }, func() scraped {
		r.Helper()
		response, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return nil // The manager has not come so far.
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			r.Fatalf("%s, %v: %s", response.Status, err, body)
		}
		return parse(r.T, string(body), r.Namespace)
	}
}

func parse(t *testing.T, text, namespace string) scraped {
	t.Helper()
	samples := scraped{}
	for line := range strings.Lines(text) {
		at := strings.LastIndex(line, " ")
		if !strings.HasPrefix(line, "rollcall_") || at < 0 {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		samples[strings.ReplaceAll(line[:at], `namespace="`+namespace+`",`, "")] = value
	}
	return samples
}

func TestMetrics(t *testing.T) {
	r := newRig(t)
	r.bucket(time.Hour)
	registry := r.registry()
	r.service("web")
	change, scrape := r.serveMetrics()
	began := time.Now()
	manager := r.Start(change)
	is := func(name string, value float64) func() bool {
		return func() bool { return scrape()[name] == value }
	}
	want := func(samples scraped) {
		t.Helper()
		for name, value := range samples {
			r.Within(patience, fmt.Sprintf("%s to be %v", name, value), func() bool {
				n, there := scrape()[name]
				return there && n == value
			})
		}
	}
	r.Within(patience, "the registry to be synced", is(`rollcall_registry_synced{registry="catga"}`, 1))

	// Three nodes join.
	r.beatAll(0, 3)
	r.Within(patience, "three endpoints", r.serves(0, 3))
	r.Within(patience, "three nodes", is("rollcall_node_latency_seconds_count", 3))
	want(scraped{
		`rollcall_registry_connected{registry="catga"}`:                                   1,
		`rollcall_registry_nodes{phase="Ready",registry="catga"}`:                         3,
		`rollcall_registry_nodes{phase="Invalid",registry="catga"}`:                       0,
		`rollcall_registry_guard_active{registry="catga"}`:                                0,
		`rollcall_registry_guard_held_nodes{registry="catga"}`:                            0,
		`rollcall_watch_events_total{operation="Put",registry="catga"}`:                   3,
		`rollcall_watch_listings_total{cause="Start",registry="catga"}`:                   1,
		`rollcall_watch_listings_total{cause="Reconnect",registry="catga"}`:               0,
		`rollcall_api_writes_total{kind="DiscoveredNode",result="success",verb="create"}`: 3,
		`rollcall_api_writes_total{kind="EndpointSlice",result="success",verb="create"}`:  1,
	})
	latencies := scrape()
	for name, n := range map[string]float64{
		"rollcall_slice_latency_seconds": latencies["rollcall_slice_latency_seconds_count"], "rollcall_node_latency_seconds": 3,
	} {
		// The server's time is an estimate, by which an age may be zero.
		if sum := latencies[name+"_sum"]; n < 1 || sum < 0 || sum > n*time.Since(began).Seconds() {
			t.Errorf("the sum of %v %s is %v", n, name, sum)
		}
	}

	// Heartbeats, and a change that is not the node's.
	manager.Quiet(patience)
	before := scrape()
	for range 5 {
		r.beatAll(0, 3)
	}
	node := r.node(0)
	node.Labels["role"] = "db"
	if err := r.API.Update(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	const updates = `rollcall_api_writes_total{kind="DiscoveredNode",result="success",verb="update"}`
	r.Within(patience, "the label to be put back", is(updates, before[updates]+1))
	want(scraped{
		`rollcall_watch_events_total{operation="Put",registry="catga"}`: 18,
		"rollcall_node_latency_seconds_count":                           3,
		"rollcall_slice_latency_seconds_count":                          before["rollcall_slice_latency_seconds_count"],
	})

	// One unregisters.
	r.unregister(2)
	r.Within(patience, "two endpoints", r.serves(0, 2))
	r.Within(patience, "its DiscoveredNode to go", is(`rollcall_api_writes_total{kind="DiscoveredNode",result="success",verb="delete"}`, 1))
	r.Within(patience, "its latency", is("rollcall_slice_latency_seconds_count", before["rollcall_slice_latency_seconds_count"]+1))
	want(scraped{
		`rollcall_watch_events_total{operation="Unregister",registry="catga"}`: 1,
		`rollcall_registry_nodes{phase="Ready",registry="catga"}`:              2,
	})
	synced := scrape()[`rollcall_registry_last_sync_timestamp_seconds{registry="catga"}`]
	if synced < float64(began.Unix()) {
		t.Errorf("the last sync was at %v, before the start", synced)
	}

	// NATS is away, and comes back.
	r.nats.Stop()
	r.Within(patience, "the connection to be down", is(`rollcall_registry_connected{registry="catga"}`, 0))
	want(scraped{
		`rollcall_registry_synced{registry="catga"}`:              0,
		`rollcall_registry_nodes{phase="Ready",registry="catga"}`: 2,
	})
	if err := r.nats.Restart(); err != nil {
		t.Fatal(err)
	}
	r.Within(patience, "the registry to be synced again", is(`rollcall_registry_synced{registry="catga"}`, 1))
	want(scraped{
		`rollcall_registry_connected{registry="catga"}`:                     1,
		`rollcall_watch_listings_total{cause="Start",registry="catga"}`:     1,
		`rollcall_watch_listings_total{cause="Reconnect",registry="catga"}`: 1,
	})
	if again := scrape()[`rollcall_registry_last_sync_timestamp_seconds{registry="catga"}`]; again <= synced {
		t.Errorf("the last sync was at %v, still", again)
	}
	documented(t, scrape())

	// The registry goes, and its series with it.
	if err := r.API.Delete(t.Context(), registry); err != nil {
		t.Fatal(err)
	}
	r.Within(patience, "the series of the registry to go", func() bool {
		for name := range scrape() {
			if strings.Contains(name, `registry="catga"`) {
				return false
			}
		}
		return true
	})
}

// documented compares the names of the metrics that are served with those that the reference explains.
func documented(t *testing.T, samples scraped) {
	t.Helper()
	page, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, heading := range regexp.MustCompile("(?m)^## `(rollcall_[a-z_]+)`$").FindAllStringSubmatch(string(page), -1) {
		names[heading[1]] = false
	}
	for sample := range samples {
		name, _, _ := strings.Cut(sample, "{")
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			if family := strings.TrimSuffix(name, part); strings.HasSuffix(family, "_latency_seconds") {
				name = family
			}
		}
		if _, found := names[name]; !found {
			t.Errorf("%s is not documented", name)
		}
		names[name] = true
	}
	for name, served := range names {
		if !served {
			t.Errorf("%s is documented, but not served", name)
		}
	}
}

func TestGuardMetrics(t *testing.T) {
	const count = 12
	r := newRig(t)
	r.bucket(2 * time.Second)
	r.registry(func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Bucket.TTL = seconds(2) })
	change, scrape := r.serveMetrics()
	r.startReady(change)
	r.Within(patience, "all nodes", r.keepTrying(0, count, func() bool { return len(r.nodes()) == count }))
	r.Within(patience, "the guard to hold all nodes", func() bool {
		got := scrape()
		return got[`rollcall_registry_guard_active{registry="catga"}`] == 1 && got[`rollcall_registry_guard_held_nodes{registry="catga"}`] == count
	})
	r.AcceptExpiry(patience, "catga")
	r.Within(patience, "the guard to let go", func() bool {
		got := scrape()
		return got[`rollcall_registry_guard_active{registry="catga"}`] == 0 && got[`rollcall_registry_nodes{phase="Expired",registry="catga"}`] == count
	})
}
