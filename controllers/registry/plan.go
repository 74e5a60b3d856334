package registry

import (
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
	storage := jetstream.FileStorage
	if spec.Bucket.Storage == rollcallv1alpha1.StorageMemory {
		storage = jetstream.MemoryStorage
	}
	return plan{
		connection: spec.Connection,
		bucket: kv.BucketConfig{
			Name:     spec.Bucket.Name,
			TTL:      duration(spec.Bucket.TTL),
			History:  int(ptr.Deref(spec.Bucket.History, 1)),
			Storage:  storage,
			Replicas: int(ptr.Deref(spec.Bucket.Replicas, 1)),
			Create:   spec.Bucket.CreationPolicy != rollcallv1alpha1.CreateNever,
			Domain:   spec.Connection.JetStreamDomain,
		},
		keyPrefix:    ptr.Deref(spec.Bucket.KeyPrefix, ""),
		includeLocal: spec.IncludeLocalPods,
		record:       spec.Record,
	}
}

// policyOf returns the policy of the registry's Mirror. CIDRs were validated when the NodeRegistry was admitted. The mapping
// is nil if spec.record is invalid; then nothing is read.
func policyOf(registry *rollcallv1alpha1.NodeRegistry, mapping *record.Mapping, o Options) mirror.Policy {
	spec := registry.Spec.DeepCopy()
	p := mirror.Policy{
		StaleAfter:       duration(spec.Liveness.StaleAfter),
		RetainExpired:    duration(spec.Liveness.RetainExpired),
		ReconnectGrace:   duration(spec.Liveness.ReconnectGrace),
		FallbackTTL:      duration(spec.Bucket.TTL),
		MaxSilentPercent: int(ptr.Deref(spec.Liveness.MaxSilentPercent, 100)),
		MinNodes:         int(ptr.Deref(spec.Liveness.MinNodes, 0)),
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

func duration(d *metav1.Duration) time.Duration { return ptr.Deref(d, metav1.Duration{}).Duration }
