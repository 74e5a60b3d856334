package connections

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

// listings returns how often the buckets of the rig's registries were listed, by cause.
func (r *rig) listings() map[string]float64 {
	r.Helper()
	families, err := metrics.Registry.Gather()
	must(r, err)
	all := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "rollcall_watch_listings_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			if labels["namespace"] == r.Namespace {
				all[labels["cause"]] += metric.GetCounter().GetValue()
			}
		}
	}
	return all
}

// A user JWT that lives for a few seconds is renewed in its Secret again and again. That is no gap: nobody is disconnected, no
// node loses or keeps its traffic for it, and the dead ones go in time.
func TestAJWTIsRenewedInTime(t *testing.T) {
	const life, renewal, ttl = 9 * time.Second, 4 * time.Second, 5 * time.Second
	o := newOperator(t)
	r := newRig(t, o.configure(t))
	creds := filepath.Join(t.TempDir(), "user.creds")
	must(t, os.WriteFile(creds, []byte(o.user(t)), 0o600))
	fleet := r.nats.Connect(t, nats.UserCredentials(creds))
	js, err := jetstream.New(fleet)
	must(t, err)
	_, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket, TTL: ttl, History: 5, LimitMarkerTTL: ttl})
	must(t, err)
	r.secret("login", map[string]string{"user.creds": o.userFor(t, life)})
	renewed := time.Now()
	r.registry("catga", func(s *rollcallv1alpha1.NodeRegistrySpec) {
		s.Connection.Auth = &rollcallv1alpha1.Auth{Credentials: &rollcallv1alpha1.SecretKeyReference{Name: "login", Key: "user.creds"}}
		s.Bucket.TTL = seconds(int(ttl / time.Second))
	})
	r.service()
	r.await("catga", "Ready", "True/Ready")
	all := []string{"web-1", "web-2", "web-3", "web-4", "web-5"}
	r.put(fleet, all...)
	r.Within(patience, "all endpoints", func() bool { return r.endpoints() == len(all) })

	quiet, before := len(logs.String()), r.listings()
	// live lets those nodes heartbeat and the Secret be renewed for d, or until the condition holds.
	live := func(d time.Duration, nodes []string, until func() bool) {
		for began := time.Now(); time.Since(began) < d && !until(); {
			r.put(fleet, nodes...)
			if time.Since(renewed) > renewal {
				r.secret("login", map[string]string{"user.creds": o.userFor(t, life)})
				renewed = time.Now()
			}
			if connected, _ := r.condition("catga", "Connected"); connected != "True/Connected" {
				t.Fatalf("Connected is %s", connected)
			}
			select {
			case <-time.After(500 * time.Millisecond):
			case <-t.Context().Done():
			}
		}
	}
	end := r.keeps(len(all))
	live(2*life, all, func() bool { return false })
	end()
	died := time.Now()
	live(ttl+5*time.Second, all[:3], func() bool { return r.endpoints() == 3 })
	if got := r.endpoints(); got != 3 {
		t.Errorf("%s after two of five nodes died there are %d endpoints", time.Since(died), got)
	}
	t.Logf("the dead nodes went after %s", time.Since(died))

	after := r.listings()
	if after["Planned"] < before["Planned"]+3 {
		t.Errorf("the listings were %v and are %v: the connection was not replaced", before, after)
	}
	for cause, n := range after {
		if cause != "Planned" && cause != "Periodic" && n != before[cause] {
			t.Errorf("%v listings for %s, before the renewals %v", n, cause, before[cause])
		}
	}
	if text := logs.String()[quiet:]; strings.Contains(text, "can't be read") || strings.Contains(text, "WARN") {
		t.Errorf("a renewal is logged: %.3000s", text)
	}
	r.Within(patience, "the server to have the fleet and one connection", func() bool { return r.nats.NATS().NumClients() == 2 })
}
