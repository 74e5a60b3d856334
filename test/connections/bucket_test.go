package connections

import (
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

func seconds(n int) *metav1.Duration {
	return &metav1.Duration{Duration: time.Duration(n) * time.Second}
}

// A bucket that others keep is compared with what the spec sets alone, and stays as it is.
func TestBucketAsRequested(t *testing.T) {
	t.Parallel()
	type spec = rollcallv1alpha1.NodeRegistrySpec
	nothing := func(*spec) {}
	natsAdd := jetstream.KeyValueConfig{History: 1}                 // nats kv add catga_nodes
	goMicro := jetstream.KeyValueConfig{History: 1, TTL: time.Hour} // the store of go-micro
	small := jetstream.KeyValueConfig{TTL: 5 * time.Minute, History: 5, LimitMarkerTTL: time.Minute, MaxValueSize: 100}
	for name, test := range map[string]struct {
		config      jetstream.KeyValueConfig
		change      func(*spec)
		asRequested string
		says        []string
		degraded    string
		warns       []string
	}{
		"nats kv add":             {natsAdd, nothing, "True/AsRequested", nil, "True/NoExpiry", []string{"no TTL", "set staleAfter"}},
		"nats kv add, staleAfter": {natsAdd, func(s *spec) { s.Liveness.StaleAfter = seconds(30) }, "True/AsRequested", nil, "False/AsExpected", nil},
		"go-micro":                {goMicro, nothing, "True/AsRequested", nil, "False/AsExpected", nil},
		"other TTL":               {goMicro, func(s *spec) { s.Bucket.TTL = seconds(60) }, "False/BucketDiffers", []string{"spec.bucket.ttl is 1m0s, and the bucket's is 1h0m0s"}, "False/AsExpected", nil},
		"other history":           {goMicro, func(s *spec) { s.Bucket.History = new(int32(5)) }, "False/BucketDiffers", []string{"spec.bucket.history is 5, and the bucket's is 1"}, "False/AsExpected", nil},
		"staleAfter over the TTL": {goMicro, func(s *spec) { s.Liveness.StaleAfter = seconds(3600) }, "False/BucketDiffers", []string{"never takes effect"}, "False/AsExpected", nil},
		"small values":            {small, nothing, "True/AsRequested", nil, "True/BucketUnfit", []string{"at most 100 bytes", "markers"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			js, err := jetstream.New(r.nats.Connect(t))
			must(t, err)
			test.config.Bucket = bucket
			_, err = js.CreateKeyValue(t.Context(), test.config)
			must(t, err)
			stream, err := js.Stream(t.Context(), "KV_"+bucket)
			must(t, err)
			before := stream.CachedInfo().Config

			r.registry("catga", test.change)
			r.await("catga", "BucketAsRequested", test.asRequested, test.says...)
			r.await("catga", "Degraded", test.degraded, test.warns...)
			r.await("catga", "Ready", "True/Ready")
			after, err := stream.Info(t.Context())
			must(t, err)
			if !reflect.DeepEqual(before, after.Config) {
				t.Errorf("the bucket was altered from %+v to %+v", before, after.Config)
			}
		})
	}
}

// A bucket that somebody edits is compared as it is now.
func TestBucketThatIsEdited(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	js, err := jetstream.New(r.nats.Connect(t))
	must(t, err)
	_, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket, History: 1})
	must(t, err)
	edit := func(f func(*jetstream.StreamConfig)) {
		stream, err := js.Stream(t.Context(), "KV_"+bucket)
		must(t, err)
		config := stream.CachedInfo().Config
		f(&config)
		_, err = js.UpdateStream(t.Context(), config)
		must(t, err)
	}
	r.registry("catga", func(s *rollcallv1alpha1.NodeRegistrySpec) {
		s.Bucket.History, s.Bucket.TTL = new(int32(5)), seconds(300)
		s.Bucket.MarkerTTL = seconds(60)
	})
	r.await("catga", "BucketAsRequested", "False/BucketDiffers", "spec.bucket.ttl", "spec.bucket.history", "spec.bucket.markerTTL")
	r.await("catga", "Degraded", "True/NoExpiry")
	edit(func(c *jetstream.StreamConfig) {
		c.MaxAge, c.MaxMsgsPerSubject = 5*time.Minute, 5
		c.AllowMsgTTL, c.SubjectDeleteMarkerTTL = true, time.Minute
	})
	r.await("catga", "BucketAsRequested", "True/AsRequested")
	r.await("catga", "Degraded", "False/AsExpected")
	edit(func(c *jetstream.StreamConfig) { c.SubjectDeleteMarkerTTL = time.Hour })
	r.await("catga", "BucketAsRequested", "False/BucketDiffers", "spec.bucket.markerTTL is 1m0s, and the bucket's is 1h0m0s")
	edit(func(c *jetstream.StreamConfig) { c.MaxMsgSize = 100 })
	r.await("catga", "Degraded", "True/BucketUnfit")
	r.await("catga", "Ready", "True/Ready")
}

// What the spec leaves open is chosen for a bucket that is created.
func TestBucketThatIsCreated(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*rollcallv1alpha1.NodeRegistrySpec)
		want   jetstream.KeyValueConfig
	}{
		"nothing": {func(*rollcallv1alpha1.NodeRegistrySpec) {}, jetstream.KeyValueConfig{TTL: 5 * time.Minute, History: 5}},
		"all": {func(s *rollcallv1alpha1.NodeRegistrySpec) {
			s.Bucket.TTL, s.Bucket.History, s.Bucket.MarkerTTL = seconds(60), new(int32(2)), seconds(30)
			s.Bucket.Storage = rollcallv1alpha1.StorageMemory
		}, jetstream.KeyValueConfig{TTL: time.Minute, History: 2, LimitMarkerTTL: 30 * time.Second, Storage: jetstream.MemoryStorage}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			r.registry("catga", test.change)
			r.await("catga", "BucketAsRequested", "True/AsRequested")
			js, err := jetstream.New(r.nats.Connect(t))
			must(t, err)
			// Another client can declare the same bucket.
			test.want.Bucket = bucket
			_, err = js.CreateOrUpdateKeyValue(t.Context(), test.want)
			must(t, err)
			stream, err := js.Stream(t.Context(), "KV_"+bucket)
			must(t, err)
			if c := stream.CachedInfo().Config; c.MaxAge != test.want.TTL || c.MaxMsgsPerSubject != int64(test.want.History) ||
				c.SubjectDeleteMarkerTTL != test.want.LimitMarkerTTL || c.Storage != test.want.Storage {
				t.Errorf("the bucket is %+v", c)
			}
		})
	}
}

func TestCreationPolicyNever(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.registry("catga", func(s *rollcallv1alpha1.NodeRegistrySpec) { s.Bucket.CreationPolicy = rollcallv1alpha1.CreateNever })
	r.await("catga", "Synced", "False/BucketNotFound", "creationPolicy")
	r.await("catga", "Ready", "False/BucketNotFound")
	js, err := jetstream.New(r.nats.Connect(t))
	must(t, err)
	if _, err := js.KeyValue(t.Context(), bucket); err == nil {
		t.Fatal("the bucket was created")
	}
	_, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket, TTL: 5 * time.Minute, History: 5, LimitMarkerTTL: time.Minute})
	must(t, err)
	r.await("catga", "Ready", "True/Ready")
}
