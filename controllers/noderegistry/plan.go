package noderegistry

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/controllers/mirror"
	"github.com/rollcall-dev/rollcall/controllers/record"
	"github.com/rollcall-dev/rollcall/discovery/kv"
)

// plan is what a session is made for. A change of it takes another session.
type plan struct {
	connection   rollcallv1alpha1.Connection
	bucket       kv.BucketConfig
	keyPrefix    string
	includeLocal bool
	record       rollcallv1alpha1.Record
}

func planOf(registry *rollcallv1alpha1.NodeRegistry) plan {
	spec := registry.Spec.DeepCopy()
	return plan{
		connection:   spec.Connection,
		bucket:       bucketConfigOf(spec),
		keyPrefix:    ptr.Deref(spec.Bucket.KeyPrefix, ""),
		includeLocal: spec.IncludeLocalPods,
		record:       spec.Record,
	}
}

// bucketConfigOf returns the bucket that a spec asks for. What the spec does not set is not set there either.
func bucketConfigOf(spec *rollcallv1alpha1.NodeRegistrySpec) kv.BucketConfig {
	b := &spec.Bucket
	config := kv.BucketConfig{
		Name:      b.Name,
		TTL:       duration(b.TTL),
		History:   int(ptr.Deref(b.History, 0)),
		Replicas:  int(ptr.Deref(b.Replicas, 0)),
		MarkerTTL: duration(b.MarkerTTL),
		Create:    b.CreationPolicy != rollcallv1alpha1.CreateNever,
		Domain:    spec.Connection.JetStreamDomain,
		APIPrefix: spec.Connection.APIPrefix,
	}
	switch b.Storage {
	case rollcallv1alpha1.StorageFile:
		config.Storage = new(jetstream.FileStorage)
	case rollcallv1alpha1.StorageMemory:
		config.Storage = new(jetstream.MemoryStorage)
	}
	return config
}

// policyOf returns the policy of the registry's Mirror. CIDRs were validated when the NodeRegistry was admitted. The mapping
// is nil if spec.record is invalid; then nothing is read.
func policyOf(registry *rollcallv1alpha1.NodeRegistry, mapping *record.Mapping, o Options) mirror.Policy {
	spec := registry.Spec.DeepCopy()
	p := mirror.Policy{
		StaleAfter:       staleAfter(spec),
		RetainExpired:    duration(spec.Liveness.RetainExpired),
		ReconnectGrace:   duration(spec.Liveness.ReconnectGrace),
		FallbackTTL:      cmp.Or(duration(spec.Bucket.TTL), kv.DefaultTTL),
		MaxSilentPercent: int(ptr.Deref(spec.Liveness.MaxSilentPercent, 100)),
		MinNodes:         int(ptr.Deref(spec.Liveness.MinNodes, 0)),
		Partial:          spec.View == rollcallv1alpha1.ViewProblems,
		MaxNodes:         int(ptr.Deref(spec.MaxNodes, 0)),
		Record: record.Policy{
			KeyPrefix:    ptr.Deref(spec.Bucket.KeyPrefix, ""),
			Labels:       spec.Labels,
			Cluster:      o.Cluster,
			IncludeLocal: spec.IncludeLocalPods,
			Refused:      o.Refused,
			DeniedToAll:  o.Denied,
		},
	}
	if mapping != nil {
		p.Record.Reader = mapping
	}
	if spec.AddressPolicy != nil {
		p.Record.Allowed = prefixes(spec.AddressPolicy.AllowedCIDRs)
		p.Record.Denied = prefixes(spec.AddressPolicy.DeniedCIDRs)
	}
	return p
}

func prefixes(cidrs []string) []netip.Prefix {
	parsed := make([]netip.Prefix, 0, len(cidrs))
	for _, cidr := range cidrs {
		if prefix, err := netip.ParsePrefix(cidr); err == nil {
			parsed = append(parsed, prefix)
		}
	}
	return parsed
}

// leastDuration is what the API asks of durations, for an object that was stored before it did.
const leastDuration = time.Second

// staleAfter returns spec.liveness.staleAfter; zero: it is not set.
func staleAfter(spec *rollcallv1alpha1.NodeRegistrySpec) time.Duration {
	if set := duration(spec.Liveness.StaleAfter); set > 0 {
		return max(set, leastDuration)
	}
	return 0
}

func duration(d *metav1.Duration) time.Duration { return ptr.Deref(d, metav1.Duration{}).Duration }
