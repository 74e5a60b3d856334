package noderegistry

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// Only what the spec sets is compared, with the bucket as it is now.
func TestBucketAsRequested(t *testing.T) {
	foreign := kv.Bucket{Name: "b", TTL: time.Hour, History: 1, Storage: jetstream.MemoryStorage, Replicas: 3, ServerVersion: "2.15.2"}
	old := foreign
	old.ServerVersion = "2.10.29"
	minute := &metav1.Duration{Duration: time.Minute}
	type spec = rollcallv1alpha1.NodeRegistrySpec
	for name, test := range map[string]struct {
		change func(*spec)
		bucket kv.Bucket
		want   string // the status
		says   []string
	}{
		"not seen yet":       {func(*spec) {}, kv.Bucket{}, "Unknown", []string{"not read yet"}},
		"nothing set":        {func(*spec) {}, foreign, "True", nil},
		"another TTL":        {func(s *spec) { s.Bucket.TTL = minute }, foreign, "False", []string{"spec.bucket.ttl is 1m0s, and the bucket's is 1h0m0s"}},
		"the same TTL":       {func(s *spec) { s.Bucket.TTL = &metav1.Duration{Duration: time.Hour} }, foreign, "True", nil},
		"another history":    {func(s *spec) { s.Bucket.History = new(int32(5)) }, foreign, "False", []string{"spec.bucket.history is 5, and the bucket's is 1"}},
		"another storage":    {func(s *spec) { s.Bucket.Storage = rollcallv1alpha1.StorageFile }, foreign, "False", []string{"spec.bucket.storage is File, and the bucket's is Memory"}},
		"the same storage":   {func(s *spec) { s.Bucket.Storage = rollcallv1alpha1.StorageMemory }, foreign, "True", nil},
		"fewer replicas":     {func(s *spec) { s.Bucket.Replicas = new(int32(1)) }, foreign, "False", []string{"spec.bucket.replicas is 1, and the bucket's is 3"}},
		"no markers":         {func(s *spec) { s.Bucket.MarkerTTL = minute }, foreign, "False", []string{"spec.bucket.markerTTL is 1m0s, and the bucket's is 0s: "}},
		"no markers, old":    {func(s *spec) { s.Bucket.MarkerTTL = minute }, old, "False", []string{"older than 2.11"}},
		"two differences":    {func(s *spec) { s.Bucket.TTL, s.Bucket.History = minute, new(int32(5)) }, foreign, "False", []string{"spec.bucket.ttl", "spec.bucket.history"}},
		"staleAfter too big": {func(s *spec) { s.Liveness.StaleAfter = &metav1.Duration{Duration: time.Hour} }, foreign, "False", []string{"staleAfter is 1h0m0s", "never takes effect"}},
		"staleAfter":         {func(s *spec) { s.Liveness.StaleAfter = minute }, foreign, "True", nil},
		"staleAfter, no TTL": {func(s *spec) { s.Liveness.StaleAfter = minute }, kv.Bucket{Name: "b"}, "True", nil},
	} {
		o := healthy()
		test.change(o.spec)
		o.mirror.Bucket = test.bucket
		is := map[string]metav1.Condition{}
		for _, c := range statusOf(&rollcallv1alpha1.NodeRegistry{}, o).Conditions {
			is[c.Type] = c
		}
		c := is[rollcallv1alpha1.ConditionBucketAsRequested]
		if string(c.Status) != test.want {
			t.Errorf("%s: it is %s: %s", name, c.Status, c.Message)
		}
		for _, part := range test.says {
			if !strings.Contains(c.Message, part) {
				t.Errorf("%s: %q does not say %q", name, c.Message, part)
			}
		}
		// It informs, and no more.
		if ready, degraded := is[rollcallv1alpha1.ConditionReady], is[rollcallv1alpha1.ConditionDegraded]; ready.Status != metav1.ConditionTrue ||
			degraded.Status == metav1.ConditionTrue && degraded.Reason != rollcallv1alpha1.ReasonNoExpiry {
			t.Errorf("%s: Ready is %s, Degraded %s/%s", name, ready.Status, degraded.Status, degraded.Reason)
		}
	}
}
