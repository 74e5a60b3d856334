package podregistration

import (
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rollcallv1alpha1 "github.com/rollcall-dev/rollcall/api/v1alpha1"
	"github.com/rollcall-dev/rollcall/internal/expression"
)

// The defaults of the API, for an object that was stored before the fields had them.
const (
	defaultNodeID   = "pod.metadata.namespace + '.' + pod.metadata.name"
	defaultInterval = 10 * time.Second
)

// fault is a reason and a message that says what is wrong and what to do about it.
type fault struct{ reason, message string }

func faulty(reason, format string, args ...any) *fault {
	return &fault{reason: reason, message: fmt.Sprintf(format, args...)}
}

// plan is a PodRegistration ready for use. It is never changed once it is made.
type plan struct {
	name       types.NamespacedName
	uid        types.UID
	generation int64
	registry   types.NamespacedName
	// prefix is the registry's key prefix, cluster this cluster's name.
	prefix, cluster string
	selector        labels.Selector
	nodeID          *expression.PodText
	metadata        []member
	ports           []string
	interval        time.Duration
	// refused says that the PodRegistration registers nothing, for there never was a spec that could be used, deferred that
	// it does not yet, since the bucket and its TTL are not known.
	refused, deferred bool
}

// member is one entry of the metadata.
type member struct {
	name string
	text *expression.PodText
}

// newPlan compiles a PodRegistration. With a fault, the plan says no more than which pods are matched.
func newPlan(p *rollcallv1alpha1.PodRegistration, registry *rollcallv1alpha1.NodeRegistry, cluster string) (*plan, *fault) {
	selector, err := metav1.LabelSelectorAsSelector(&p.Spec.Selector)
	made := &plan{
		name: client.ObjectKeyFromObject(p), uid: p.UID, generation: p.Generation,
		registry: types.NamespacedName{Namespace: p.Namespace, Name: p.Spec.RegistryName},
		cluster:  cluster, selector: selector, ports: p.Spec.Ports, interval: defaultInterval, refused: true,
	}
	if err != nil {
		made.selector = labels.Nothing()
		return made, faulty(rollcallv1alpha1.ReasonInvalidSelector, "spec.selector is no label selector: %v", err)
	}
	if registry == nil {
		return made, faulty(rollcallv1alpha1.ReasonRegistryNotFound,
			"there is no NodeRegistry %q in this namespace: create it, or correct spec.registryName", p.Spec.RegistryName)
	}
	if prefix := registry.Spec.Bucket.KeyPrefix; prefix != nil {
		made.prefix = *prefix
	}
	if set := p.Spec.HeartbeatInterval; set != nil && set.Duration > 0 {
		made.interval = set.Duration
	}
	if wrong := made.compile(&p.Spec); wrong != nil {
		return made, wrong
	}
	made.refused = false
	return made, nil
}

func (p *plan) compile(spec *rollcallv1alpha1.PodRegistrationSpec) *fault {
	source := spec.NodeID
	if source == "" {
		source = defaultNodeID
	}
	var err error
	if p.nodeID, err = expression.CompilePodText("spec.nodeID", source); err != nil {
		return faulty(rollcallv1alpha1.ReasonInvalidExpression, "%v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Metadata)) {
		text, err := expression.CompilePodText("spec.metadata["+name+"]", spec.Metadata[name])
		if err != nil {
			return faulty(rollcallv1alpha1.ReasonInvalidExpression, "%v", err)
		}
		p.metadata = append(p.metadata, member{name: name, text: text})
	}
	return nil
}

// tooSlow says that an interval is more than a third of the bucket's TTL; nil if it is not, or there is no TTL.
func (p *plan) tooSlow(ttl time.Duration) *fault {
	if ttl <= 0 || p.interval*3 <= ttl {
		return nil
	}
	return faulty(rollcallv1alpha1.ReasonHeartbeatTooSlow,
		"spec.heartbeatInterval is %s, more than a third of the bucket's TTL of %s: use at most %s, or a bucket with a TTL of at least %s",
		p.interval, ttl, (ttl / 3).Round(time.Millisecond), 3*p.interval)
}

// same reports whether two plans make the same of every pod.
func (p *plan) same(o *plan) bool {
	return o != nil && p.uid == o.uid && p.generation == o.generation && p.prefix == o.prefix && p.refused == o.refused && p.deferred == o.deferred && p.registry == o.registry
}
