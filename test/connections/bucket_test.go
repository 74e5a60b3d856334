package connections

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
)

func seconds(n int) *metav1.Duration {
	return &metav1.Duration{Duration: time.Duration(n) * time.Second}
}

// What a bucket lacks is said in words, and the bucket stays as it is.
func TestBucketSettings(t *testing.T) {
	for name, test := range map[string]struct {
		config jetstream.KeyValueConfig
		says   []string
	}{
		"other history": {jetstream.KeyValueConfig{TTL: 5 * time.Minute, History: 2, LimitMarkerTTL: time.Minute}, []string{"History is 2, not 5"}},
		"other TTL":     {jetstream.KeyValueConfig{TTL: time.Minute, History: 5, LimitMarkerTTL: time.Minute}, []string{"TTL is 1m0s, not 5m0s"}},
		"no TTL":        {jetstream.KeyValueConfig{History: 5, LimitMarkerTTL: time.Minute}, []string{"no TTL", "stays until somebody deletes its key"}},
		"no markers":    {jetstream.KeyValueConfig{TTL: 5 * time.Minute, History: 5}, []string{"no marker", "Rollcall times nodes out by itself"}},
		"small values": {
			jetstream.KeyValueConfig{TTL: 5 * time.Minute, History: 5, LimitMarkerTTL: time.Minute, MaxValueSize: 100},
			[]string{"at most 100 bytes", "markers"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			js, err := jetstream.New(r.nats.Connect(t))
			must(t, err)
			test.config.Bucket = bucket
			_, err = js.CreateKeyValue(t.Context(), test.config)
			must(t, err)
			stream, err := js.Stream(t.Context(), "KV_"+bucket)
			must(t, err)
			before := stream.CachedInfo().Config

			r.registry("catga")
			r.await("catga", "Degraded", "True/BucketSettings", test.says...)
			r.await("catga", "Ready", "True/Ready")
			after, err := stream.Info(t.Context())
			must(t, err)
			if before.MaxAge != after.Config.MaxAge || before.MaxMsgsPerSubject != after.Config.MaxMsgsPerSubject ||
				before.SubjectDeleteMarkerTTL != after.Config.SubjectDeleteMarkerTTL || before.MaxMsgSize != after.Config.MaxMsgSize {
				t.Errorf("the bucket was altered from %+v to %+v", before, after.Config)
			}
		})
	}
}

func TestCreationPolicyNever(t *testing.T) {
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
